# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import NotInRegistry, RegistryDenied, RegistryError
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse
from ansible_collections.stowage.oci.plugins.module_utils._registry import limits, listing
from ansible_collections.stowage.oci.plugins.module_utils._registry.listing import Listing, NotOffered
from ansible_collections.stowage.oci.plugins.module_utils._registry.limits import Limited
from ansible_collections.stowage.oci.plugins.module_utils._registry.transport import Answer
from ansible_collections.stowage.oci.tests.unit.fakes.search import FakeSearch, fixed
from ansible_collections.stowage.oci.tests.unit.sessions import session

pytestmark = pytest.mark.usefixtures("alone")

NAMES = ["p/x%03d" % number for number in range(250)]


@pytest.fixture
def registry():
    with FakeSearch() as found:
        yield found


def lists(**options):
    return Listing(session(**dict({"retries": 0}, **options)))


def catalog(registry, **options):
    return [name for page in lists(**options).catalog(registry.host) for name in page]


def tags(registry, repository, **options):
    return lists(**options).tags(parse("%s/%s" % (registry.host, repository)))


def asked(registry):
    return [call.query for call in registry.calls if "/v2/" in call.path]


# The catalog


def test_a_small_catalog_is_one_request(registry):
    for name in ("b", "a/c"):
        registry.have(name, "1")
    assert catalog(registry) == ["a/c", "b"]
    assert asked(registry) == [{"n": "1000"}]


@pytest.mark.parametrize("links", [True, False])
def test_a_catalog_is_read_page_by_page(registry, monkeypatch, links):
    monkeypatch.setattr(listing, "PAGE", 100)
    registry.links = links
    for name in NAMES:
        registry.have(name, "1")
    assert catalog(registry) == NAMES
    assert [query.get("last") for query in asked(registry)] == [None, "p/x099", "p/x199"]


@pytest.mark.parametrize("links", [True, False])
def test_a_registry_may_want_to_be_asked_for_fewer(registry, links):
    registry.links, registry.most, registry.unasked = links, 5, 5
    for name in NAMES[:12]:
        registry.have(name, "1")
    assert catalog(registry) == NAMES[:12]
    assert asked(registry)[:2] == [{"n": "1000"}, {}]


def test_no_page_is_asked_for_before_it_is_wanted(registry, monkeypatch):
    monkeypatch.setattr(listing, "PAGE", 100)
    for name in NAMES:
        registry.have(name, "1")
    assert next(lists().catalog(registry.host)) == NAMES[:100]
    assert len(registry.calls) == 1


def test_an_empty_page_with_a_link_is_not_the_end(registry):
    def answer(call):
        if "last" in call.query:
            return fixed(200, {"repositories": ["mine"]})(call)
        return fixed(200, {"repositories": []}, {"Link": '</v2/_catalog?last=z&n=1000>; rel="next"'})(call)

    registry.play("/v2/_catalog", answer)
    assert catalog(registry) == ["mine"]


@pytest.mark.parametrize("link", ["http://elsewhere.example.com/v2/_catalog?last=a", "//elsewhere.example.com/v2/_catalog?last=a", "_catalog?last=a"])
def test_a_link_leads_to_no_other_host(registry, link):
    def answer(call):
        if "last" in call.query:
            return fixed(200, {"repositories": ["b"]})(call)
        return fixed(200, {"repositories": ["a"]}, {"Link": "<%s>; rel=next" % link})(call)

    registry.play("/v2/_catalog", answer)
    assert catalog(registry) == ["a", "b"]
    assert [call.path for call in registry.calls] == ["/v2/_catalog"] * 2


def test_a_link_of_another_relation_is_none(registry):
    registry.play("/v2/_catalog", fixed(200, {"repositories": ["a"]}, {"Link": '</v2/_catalog?last=a>; rel="prev"'}))
    assert catalog(registry) == ["a"]


def test_a_registry_that_knows_no_last(registry, monkeypatch):
    """As crane's: any n names of the catalog, and all without n."""
    monkeypatch.setattr(listing, "PAGE", 100)
    registry.play("/v2/_catalog", lambda call: fixed(200, {"repositories": NAMES[: int(call.query.get("n", 10000))]})(call))
    assert catalog(registry) == NAMES
    assert asked(registry) == [{"n": "100"}, {"n": "100", "last": "p/x099"}, {}]


def test_links_in_a_circle_come_to_an_end(registry):
    registry.play("/v2/_catalog", fixed(200, {"repositories": ["a"]}, {"Link": '</v2/_catalog?last=a>; rel="next"'}))
    with pytest.raises(RegistryError, match="^the catalog of %s: %s sends us round in circles" % (registry.host, registry.host)):
        catalog(registry)
    assert len(registry.calls) == 2


def test_links_without_end_come_to_an_end(registry, monkeypatch):
    monkeypatch.setattr(listing, "MOST_PAGES", 7)

    def answer(call):
        number = len(registry.calls)
        return fixed(200, {"repositories": ["a%d" % number]}, {"Link": '</v2/_catalog?last=a%d>; rel="next"' % number})(call)

    registry.play("/v2/_catalog", answer)
    with pytest.raises(RegistryError, match="has more than 7 pages"):
        catalog(registry)
    assert len(registry.calls) == 7


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_registry_without_a_catalog(registry, status):
    registry.play("/v2/_catalog", fixed(status, b""))
    with pytest.raises(NotOffered, match=r"does not list its repositories \(HTTP %d\): set api" % status):
        catalog(registry)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"repositories":"a"}', b'{"repositories":[1]}', b"[" * 100000])
def test_what_is_no_list(registry, body):
    registry.play("/v2/_catalog", fixed(200, body))
    with pytest.raises(NotOffered, match="answers something else than was asked for"):
        catalog(registry)


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_catalog_for_those_who_are_known(auth):
    with FakeSearch(auth) as registry:
        registry.have("a", "1")
        message = r"wants credentials \(.*\): none were given, and there are none for it in .*: give username and password, or log in$"
        with pytest.raises(RegistryDenied, match=message):
            catalog(registry)
        with pytest.raises(RegistryDenied, match="refuses the credentials from username and password .*: they are wrong, or give no access to that$"):
            catalog(registry, username="ann", password="guess")
        assert catalog(registry, username="ann", password="secret") == ["a"]


def test_tls_where_plain_http_is_asked(registry):
    registry.play("/v2/_catalog", fixed(400, b"Client sent an HTTP request to an HTTPS server."))
    with pytest.raises(RegistryError, match="refuses to be asked without TLS"):
        catalog(registry)


# Tags


@pytest.mark.parametrize("links", [True, False])
def test_all_tags_of_a_repository(registry, monkeypatch, links):
    monkeypatch.setattr(listing, "PAGE", 2)
    registry.links = links
    registry.have("team/app", "1", "2", "3")
    assert sorted(tags(registry, "team/app")) == ["1", "2", "3"]
    # Who sends more than was asked for has sent all.
    assert len(registry.calls) == (1 if links else 2)


def test_as_many_tags_as_were_asked_for_may_be_all(registry, monkeypatch):
    monkeypatch.setattr(listing, "PAGE", 2)
    registry.have("app", "2", "1")
    assert tags(registry, "app") == ["2", "1"]
    assert asked(registry) == [{"n": "2"}, {"n": "2", "last": "1"}, {}]


def test_a_repository_without_tags(registry):
    registry.have("app")
    assert tags(registry, "app") == []


def test_no_such_repository(registry):
    with pytest.raises(NotInRegistry, match="has no such image .*NAME_UNKNOWN"):
        tags(registry, "app")


# Limits


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "(HTTP 429): try again later; logging in often raises the limit"),
        ({"Retry-After": "42"}, "(HTTP 429): try again in 42 seconds; "),
        ({"X-RateLimit-Reset": "30"}, "(HTTP 429): try again in 30 seconds; "),
        ({"Retry-After": "42", "X-RateLimit-Reset": "30"}, "try again in 42 seconds; "),
        ({"X-Retry-After": "nonsense"}, "try again later; "),
        ({"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "0;w=21600"}, "(HTTP 429, 0 of 100 requests left in 360 minutes): "),
        ({"ratelimit-remaining": "0"}, "(HTTP 429, 0 requests left): "),
    ],
)
def test_says_when_to_come_again(headers, words):
    error = limits.limited("app", "docker.io", Answer(429, headers, b"Too Many Requests", "https://x"))
    assert isinstance(error, Limited)
    assert str(error).startswith("app: docker.io takes no more requests for now (") and words in str(error)


def test_a_moment_is_told_as_a_span(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1700000000.0)
    for name, moment, seconds in (("X-RateLimit-Reset", 1700000090, 90), ("X-Retry-After", 1700000090, 90), ("X-RateLimit-Reset", 1600000000, 0)):
        error = limits.limited("app", "docker.io", Answer(429, {name: str(moment)}, b"", "https://x"))
        assert "try again in %d seconds" % seconds in str(error)


def test_a_list_that_is_refused_for_now(registry):
    registry.answer("GET", "/v2/.*", 429, {"Retry-After": "300"})
    with pytest.raises(Limited, match="app: %s takes no more requests .*: try again in 300 seconds" % registry.host):
        tags(registry, "app")
