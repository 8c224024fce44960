# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import random

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidInput
from ansible_collections.stowage.oci.plugins.module_utils._plan import search, versions
from ansible_collections.stowage.oci.plugins.module_utils._plan.versions import Range

HEX = "0123456789abcdef" * 4


def wish(registry="registry.example.com", **options):
    given = {"query": "", "exact": False, "api": "auto", "scope": "", "limit": 100, "official": False, "min_stars": 0}
    given.update({"tags": False, "tag_range": None, "tag_limit": 0, "digests": False}, registry=registry)
    return search.wish(dict(given, **options))


# Whom to ask, and how


@pytest.mark.parametrize(
    ("options", "apis"),
    [
        ({"registry": "docker.io", "query": "nginx"}, ("docker_hub", "v1")),
        ({"registry": "index.docker.io", "query": "nginx"}, ("docker_hub", "v1")),
        ({"registry": "docker.io", "query": "nginx", "api": "v1"}, ("v1",)),
        ({"registry": "quay.io", "query": "nginx"}, ("quay",)),
        ({"registry": "gitlab.com", "scope": "group/project"}, ("gitlab",)),
        ({}, ("catalog", "harbor", "v1", "nexus")),
        ({"query": "app"}, ("catalog", "harbor", "quay", "v1", "nexus")),
        ({"query": "app", "scope": "project"}, ("harbor", "gitlab", "nexus", "artifactory")),
        ({"query": "app", "min_stars": 1}, ("quay", "v1")),
        ({"query": "app", "official": True}, ("v1",)),
        ({"api": "harbor", "registry": "localhost:5000"}, ("harbor",)),
        ({"registry": "quay.io", "api": "catalog"}, ("catalog",)),
    ],
)
def test_how_a_registry_is_asked(options, apis):
    assert search.apis(wish(**options)) == apis


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"registry": "https://registry.example.com"}, r"name a host with an optional port, .* \(leave out https://, a registry without TLS"),
        ({"registry": "ann:secret@registry.example.com"}, r"registry ann:\*\*\*@registry.example.com: .* \(credentials do not belong in it"),
        ({"registry": "registry.example.com "}, "leave out the blanks"),
        ({"registry": "registry.example.com/team"}, "name a host with an optional port"),
        ({"registry": "registry"}, "name a host with an optional port"),
        ({"registry": ""}, "name a host with an optional port"),
        ({"registry": "docker.io"}, "docker.io: api docker_hub is searched, and lists nothing: give a query"),
        ({"registry": "docker.io", "query": "*"}, "give a query with a part that has no wildcards"),
        ({"registry": "quay.io"}, "api quay is searched"),
        ({"registry": "gitlab.com"}, "api gitlab needs scope, the path or number of a project or group"),
        ({"api": "artifactory"}, "api artifactory needs scope"),
        ({"api": "docker_hub", "query": "app"}, "api docker_hub searches docker.io alone, and registry is registry.example.com"),
        ({"api": "catalog", "scope": "team"}, "api catalog knows no scope"),
        ({"api": "catalog", "min_stars": 5}, "api catalog tells no stars"),
        ({"api": "quay", "query": "app", "official": True}, "api quay does not tell which images are official"),
        ({"scope": "team", "min_stars": 5}, "no API that api=auto tries has this"),
        ({"query": "team/app:1"}, "query team/app:1: names of repositories are searched, .* tag or digest: write query: team/app with tags: .1.$"),
        ({"query": "app@sha256"}, "names of repositories are searched"),
        ({"query": "other.example.com:5000/app"}, "name a host with registry"),
        ({"exact": True}, "with exact give the whole name of one repository"),
        ({"query": "team/*", "exact": True}, r"query team/\*: with exact give the whole name of one repository, such as team/app$"),
        ({"query": "Team/App", "exact": True}, "with exact give the whole name"),
        ({"limit": -1}, "limit -1: give a number from 0 on"),
        ({"tag_limit": -1}, "tag_limit -1"),
        ({"min_stars": -1}, "min_stars -1"),
        ({"tags": "("}, r"tags \(: give false, true or a regular expression"),
        ({"tags": ["1"]}, "tags .*: give false, true or a regular expression"),
    ],
)
def test_what_cannot_be_asked(options, message):
    with pytest.raises(InvalidInput, match=message):
        wish(**options)


@pytest.mark.parametrize(
    ("query", "asked"), [("nginx", "nginx"), ("*nginx*", "nginx"), ("team/app-?", "team/app-"), ("a[0-9]bcd", "bcd"), ("*", ""), ("", "")]
)
def test_what_a_search_is_asked_for(query, asked):
    assert search.asked(wish(query=query)) == asked


@pytest.mark.parametrize(("registry", "query", "asked"), [
    ("docker.io", "nginx", "nginx"), ("docker.io", "library/nginx", "nginx"), ("docker.io", "team/app", "team/app"),
    ("registry.example.com", "library/nginx", "library/nginx"), ("registry.example.com", "nginx", "nginx"),
])
def test_what_a_search_for_one_repository_is_asked_for(registry, query, asked):
    assert search.asked(wish(registry, query=query, exact=True)) == asked


# Which repositories


@pytest.mark.parametrize(
    ("query", "api", "name", "wanted"),
    [
        ("", "catalog", "team/app", True),
        ("APP", "catalog", "team/app", True),
        ("m/a", "gitlab", "team/app", True),
        ("apple", "catalog", "team/app", False),
        ("apple", "harbor", "team/app", True),
        ("team/*", "catalog", "team/app/web", True),
        ("app", "catalog", "team/app", True),
        ("app*", "catalog", "team/app", False),
        ("team/ap?", "harbor", "team/app", True),
        ("team/ap?", "harbor", "team/apps", False),
        ("team/[ab]pp", "catalog", "team/app", True),
        ("team/[!ab]pp", "catalog", "team/app", False),
    ],
)
def test_which_repositories_are_wanted(query, api, name, wanted):
    assert search.wanted(wish(query=query), api, name, None, None) is wanted


@pytest.mark.parametrize("api", ["docker_hub", "catalog", "harbor"])
def test_one_repository_alone_is_wanted(api):
    wished = wish("docker.io", query="nginx", exact=True)
    names = ("library/nginx", "library/nginx-b", "a/library/nginx", "a/nginx", "nginx")
    assert [name for name in names if search.wanted(wished, api, name, None, None)] == ["library/nginx"]


@pytest.mark.parametrize(
    ("options", "told", "lack"),
    [
        ({"min_stars": 1}, [(None, None)], "tells no stars: leave min_stars away"),
        ({"min_stars": 1}, [(None, None), (0, None)], None),
        ({"min_stars": 1}, [], None),
        ({"official": True}, [(7, None)], "does not tell which images are official: leave official away"),
        ({"official": True}, [(7, False)], None),
        ({}, [(None, None)], None),
    ],
)
def test_what_a_registry_does_not_tell(options, told, lack):
    assert search.untold(wish("docker.io", query="a", **options), told) == lack


def test_a_project_of_harbor_is_a_list():
    wished = wish(query="app", scope="team")
    assert [search.wanted(wished, "harbor", name, None, None) for name in ("team/app", "team/web")] == [True, False]


def test_official_images_have_two_names():
    wished = wish("docker.io", query="ng*")
    assert [search.wanted(wished, "docker_hub", name, 0, False) for name in ("library/nginx", "bitnami/nginx")] == [True, False]
    assert search.wanted(wish("docker.io", query="library/ng*"), "docker_hub", "library/nginx", 0, True)


@pytest.mark.parametrize(
    ("options", "stars", "official", "wanted"),
    [
        ({"min_stars": 5}, 5, False, True),
        ({"min_stars": 5}, 4, True, False),
        ({"min_stars": 5}, None, None, False),
        ({"official": True}, 0, True, True),
        ({"official": True}, 9, False, False),
        ({"official": True}, 9, None, False),
    ],
)
def test_stars_and_officials(options, stars, official, wanted):
    assert search.wanted(wish("docker.io", query="a", **options), "docker_hub", "a/a", stars, official) is wanted


def test_repositories_come_by_stars_and_then_by_name():
    rows = [(None, "b"), (3, "c"), (0, "a"), (9, "z")]
    assert sorted(rows, key=lambda row: search.order(*row)) == [(9, "z"), (3, "c"), (0, "a"), (None, "b")]


# Which tags


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({"tags": True}, ["10.0", "2.0", "1.9", "latest"]),
        ({"tags": "true"}, ["10.0", "2.0", "1.9", "latest"]),
        ({"tags": r"^\d+\.\d+$"}, ["10.0", "2.0", "1.9"]),
        ({"tags": "9"}, ["1.9"]),
        ({"tag_limit": 2}, ["10.0", "2.0"]),
        ({"digests": True}, ["10.0", "2.0", "1.9", "latest"]),
        ({"tag_range": "<10"}, ["2.0", "1.9"]),
        ({"tags": "^2", "tag_range": "<10", "tag_limit": 1}, ["2.0"]),
        ({"tags": "no such"}, []),
    ],
)
def test_which_tags_are_wanted(options, chosen):
    assert search.chosen(wish(**options), ["latest", "1.9", "10.0", "2.0", "2.0"]) == chosen


@pytest.mark.parametrize("given", [False, None, "", "false", "no", "False"])
def test_no_tags_are_wanted(given):
    assert wish(tags=given).tags is None


def test_tags_of_signatures_and_the_like_are_left_out():
    noise = ["sha256-" + HEX, "sha256-%s.sig" % HEX, "sha256-%s.att" % HEX, "sha512-" + HEX + HEX, "sha512-" + HEX]
    kept = ["sha256-" + HEX[:-1], "sha-0a1b2c3", "x-sha256-" + HEX]
    assert search.chosen(wish(tags=True), noise + kept) == sorted(kept)


NEWEST_FIRST = [
    ["10.0.0", "9.10", "9.9.9", "2", "1.27.3", "1.27.0", "1.27", "1.4", "latest", "main"],
    ["v2.0.0", "2.0.0", "v1.0"],
    ["1.27", "1.27-perl", "1.27-alpine3.20", "1.27-alpine3.9", "1.27-rc2", "1.27-rc1", "1.27-beta10", "1.27-beta9", "1.27-alpha", "1.26"],
    ["1.0.0", "1.0.0-rc.11", "1.0.0-rc.1", "1.0.0-beta.11", "1.0.0-beta.2", "1.0.0-beta", "1.0.0-alpha.beta", "1.0.0-alpha.1", "1.0.0-alpha"],
    ["3.13.1", "3.13.0", "3.13.0.final", "3.13.0rc2-slim", "3.13.0rc2", "3.13.0b1", "3.13.0a7", "3.12"],
    ["20240201", "20240101", "7.0-debian-12-r10", "7.0-debian-12-r9", "2a3f9c1", "edge", "stable-alpine"],
    ["0.1", "0.0.0", "0", "0-rc1"],
]


@pytest.mark.parametrize("tags", NEWEST_FIRST)
def test_the_newest_version_comes_first(tags):
    for seed in range(5):
        mixed = list(tags)
        random.Random(seed).shuffle(mixed)
        assert versions.newest_first(mixed) == tags


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (">=1.2 <2", ["1.2", "1.2.0", "v1.10.3", "1.9-alpine", "1.2_1"], ["1.1.9", "2", "2.0.0", "2.0.0-rc1", "1.3-rc1", "1.2-rc1", "latest"]),
        (">= 1.2, < 2", ["1.2", "1.99"], ["2"]),
        (">1.2,<=1.4", ["1.2.1", "1.4.0"], ["1.2.0", "1.4.1"]),
        ("1.4", ["1.4", "1.4.0", "v1.4", "1.4-alpine"], ["1.4.1", "1.4-rc1"]),
        ("=1.4 !=1.4", [], ["1.4"]),
        (">=1 !=1.5", ["1.4", "1.6"], ["1.5", "1.5.0"]),
        (">=2.0.0-rc.2 <3", ["2.0.0-rc.2", "2.0.0-rc.10", "2.0.0"], ["2.0.0-rc.1", "2.1.0-rc.1", "3.0.0-rc.1"]),
        (">=3.13.0b1", ["3.13.0b1", "3.13.0rc1", "3.13"], ["3.13.0a7", "3.14.0a1"]),
    ],
)
def test_ranges_of_versions(text, inside, outside):
    limits = Range(text)
    assert [tag for tag in inside + outside if tag in limits] == inside


@pytest.mark.parametrize("text", ["newest", ">=", ">=1.2 <", "1.2 || 1.4", ">=1.2-alpine", "=>1", "^1.2", "~1.2", "1.x", ">=1.2;<2"])
def test_what_is_no_range(text):
    with pytest.raises(InvalidInput, match="^tag_range .* is not a version with one of .*: write for example >=1.2 <2$"):
        Range(text)
