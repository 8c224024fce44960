# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""registry_search, whole, against registries in memory that play the search APIs of others."""

from __future__ import annotations

import base64
import json
import re
import ssl

import pytest

from ansible_collections.stowage.oci.plugins.module_utils._flow import search as flow
from ansible_collections.stowage.oci.plugins.module_utils._registry import listing, search_docker_hub, search_v1, session
from ansible_collections.stowage.oci.plugins.modules import registry_search
from ansible_collections.stowage.oci.tests.unit import running
from ansible_collections.stowage.oci.tests.unit.certificates import Authority
from ansible_collections.stowage.oci.tests.unit.fakes import search as play
from ansible_collections.stowage.oci.tests.unit.fakes.search import SHA, FakeSearch, fixed, hub_row, v1_row
from ansible_collections.stowage.oci.tests.unit.images import image, layer

pytestmark = pytest.mark.usefixtures("alone")

APP = image([layer({"app": b"1"})])
NEW = image([layer({"app": b"2"})])
KNOWN = {"username": "ann", "password": "secret"}
BASIC = "Basic " + base64.b64encode(b"ann:secret").decode()


@pytest.fixture
def registry():
    with FakeSearch() as found:
        yield found


@pytest.fixture
def hub(registry, monkeypatch):
    """Docker Hub's search hosts, played by one server."""
    monkeypatch.setattr(search_docker_hub, "HUB", registry.url)
    monkeypatch.setattr(search_v1, "INDEX", registry.url)
    rows = [hub_row("nginx", 21268, True), hub_row("bitnami/nginx", 200), hub_row("a/nginx-b", 200)]
    registry.play("/v2/search/repositories/", play.docker_hub(rows))
    return registry


def params(registry, **more):
    return dict({"registry": registry.host, "plain_http": True, "retries": 0}, **more)


def search(registry=None, **more):
    """Four times the same, and nothing changes; the result."""
    given = params(registry, **more) if registry else dict({"retries": 0}, **more)
    results = [running.run(registry_search, check, **given) for check in (True, False, True, False)]
    assert all(result == results[0] for result in results)
    assert not results[0]["changed"] and results[0]["diff"] == {"before": {}, "after": {}}
    return results[0]


def refused(pattern, fake=None, **more):
    given = params(fake, **more) if fake else dict({"retries": 0}, **more)
    results = [running.fail(registry_search, check, **given) for check in (True, False, True, False)]
    for result in results:
        assert re.search(pattern, result["msg"]), result["msg"]
    return results[0]


def names(result):
    return [one["name"] for one in result["repositories"]]


def tags(result):
    return {one["name"]: [tag["name"] for tag in one["tags"]] for one in result["repositories"]}


def shown(registry, path):
    """The credentials that came with each request for this path."""
    return [call.headers.get("Authorization") for call in registry.found("GET", path)]


# Docker Hub


def test_searches_docker_hub(hub):
    result = search(query="nginx")
    assert result["repositories"][0] == {
        "name": "library/nginx", "reference": "docker.io/library/nginx", "description": "About nginx.", "stars": 21268, "official": True,
    }
    assert names(result) == ["library/nginx", "a/nginx-b", "bitnami/nginx"]
    assert (result["api"], result["truncated"]) == ("docker_hub", False)
    assert {call.query["query"] for call in hub.calls} == {"nginx"}


@pytest.mark.parametrize(
    ("options", "found", "truncated"),
    [
        ({"official": True}, ["library/nginx"], False),
        ({"min_stars": 200}, ["library/nginx", "a/nginx-b", "bitnami/nginx"], False),
        ({"min_stars": 201}, ["library/nginx"], False),
        ({"limit": 2}, ["library/nginx", "bitnami/nginx"], True),
        ({"limit": 3}, ["library/nginx", "a/nginx-b", "bitnami/nginx"], False),
        ({"limit": 1, "official": True}, ["library/nginx"], False),
        ({"query": "*/nginx"}, ["library/nginx", "bitnami/nginx"], False),
        ({"query": "nginx*"}, ["library/nginx"], False),
    ],
)
def test_picks_from_what_docker_hub_finds(hub, options, found, truncated):
    result = search(**dict({"query": "nginx"}, **options))
    assert (names(result), result["truncated"]) == (found, truncated)


def test_reads_docker_hub_page_by_page(hub):
    hub.play("/v2/search/repositories/", play.docker_hub([hub_row("team/app%03d" % number) for number in range(250)]))
    assert names(search(query="app", limit=0)) == ["team/app%03d" % number for number in range(250)]
    assert [call.query["page"] for call in hub.calls[:3]] == ["1", "2", "3"]
    hub.calls.clear()
    result = search(query="app", limit=20)
    assert (len(result["repositories"]), result["truncated"], len(hub.calls)) == (20, True, 4)


def test_a_search_that_has_no_end(hub, monkeypatch):
    monkeypatch.setitem(flow._APIS, "docker_hub", flow._APIS["docker_hub"]._replace(most=3))
    hub.play("/v2/search/repositories/", play.docker_hub([hub_row("team/app%03d" % number) for number in range(1000)]))
    result = search(query="app", min_stars=1)
    assert (names(result), result["truncated"], len(hub.calls)) == ([], True, 12)


def test_a_search_that_answers_the_same_page_for_ever(hub):
    hub.play("/v2/search/repositories/", fixed(200, {"next": "more", "results": [hub_row("a/app"), hub_row("b/app")]}))
    assert names(search(query="app")) == ["a/app", "b/app"]
    assert len(hub.calls) == 8


def test_odd_rows_do_no_harm(hub):
    half = {"repo_name": "a/b", "star_count": "many", "short_description": "", "is_official": "no"}
    rows = [{}, {"repo_name": "UPPER/case"}, {"repo_name": 7}, half, hub_row("a/b", 3)]
    hub.play("/v2/search/repositories/", fixed(200, {"results": rows}))
    found = search(query="a")["repositories"]
    assert [(one["name"], one["stars"], one["description"], one["official"]) for one in found] == [("a/b", None, None, None)]


@pytest.mark.parametrize("player", [fixed(404, b"<html>"), fixed(500, b""), fixed(200, b"<html>"), fixed(200, {"message": "moved"})])
def test_falls_back_on_the_old_search(hub, player):
    hub.play("/v2/search/repositories/", player)
    hub.play("/v1/search", play.v1([v1_row("nginx", 9, True), v1_row("b/nginx", 1)]))
    result = search(query="nginx")
    assert (names(result), result["api"]) == (["library/nginx", "b/nginx"], "v1")
    assert result["repositories"][0]["official"] is True


def test_neither_search_of_docker_hub_answers(hub):
    hub.play("/v2/search/repositories/", fixed(500, b""))
    refused(r"^the search of docker.io: docker.io failed \(HTTP 500\).* It was asked in vain as api v1 too$", query="nginx")


def test_the_old_search_alone(hub):
    hub.play("/v1/search", play.v1([v1_row("team/app%03d" % number) for number in range(150)]))
    assert len(names(search(query="app", api="v1", limit=0))) == 150
    assert not hub.found("GET", "/v2/.*")


def test_docker_hub_takes_no_more(hub):
    headers = {"Retry-After": "300", "X-RateLimit-Limit": "180", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000000"}
    hub.play("/v2/search/repositories/", fixed(429, b"Too Many Requests", headers))
    refused("docker.io takes no more requests for now .*: try again in 300 seconds; logging in often raises the limit", query="nginx")
    assert not hub.found("GET", "/v1/search")


def test_docker_hub_sees_no_credentials_in_its_search(hub, alone):
    search(query="nginx", **KNOWN)
    (alone / ".docker").mkdir()
    (alone / ".docker" / "config.json").write_text(json.dumps({"auths": {"https://index.docker.io/v1/": {"auth": BASIC[6:]}}}))
    search(query="nginx")
    assert set(shown(hub, ".*")) == {None}


@pytest.fixture
def secure(tmp_path, monkeypatch):
    """The registry of Docker Hub, which is never asked in the clear."""
    issued = Authority(tmp_path / "ca").issue("server", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(issued.cert), str(issued.key))
    with FakeSearch("bearer", tls=context) as found:
        monkeypatch.setattr(session, "_HUB_HOST", found.host)
        yield found


def test_tags_of_docker_hub_come_from_its_registry(hub, secure):
    digest = secure.offer("library/nginx:1.27", APP)
    secure.have("library/nginx", "1.9")
    found = search(query="nginx", official=True, tag_limit=1, digests=True, validate_certs=False, **KNOWN)["repositories"]
    assert found[0]["tags"] == [{"name": "1.27", "digest": digest}]
    assert set(shown(hub, ".*")) == {None} and BASIC in shown(secure, "/token")


def test_docker_hub_says_how_many_pulls_are_left(hub, secure):
    headers = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "0;w=21600"}
    secure.answer("GET", "/v2/.*/tags/list", 429, headers, b"You have reached your pull rate limit.", times=20)
    given = {"query": "nginx", "tags": True, "validate_certs": False, "parallel": 1}
    result = refused("docker.io takes no more requests for now .*0 of 100 requests left in 360 minutes", **given)
    assert len(result["repositories"]) == 3
    # The first refusal is for all.
    assert result["msg"].count("takes no more") == 1 and secure.count("GET", "/v2/.*/tags/list") == 4


@pytest.mark.parametrize("query", ["nginx", "library/nginx"])
def test_one_repository_of_docker_hub(hub, query):
    rows = [hub_row("bitnami/nginx", 200), hub_row("nginx", 21268, True)] + [hub_row("team/nginx%03d" % number) for number in range(200)]
    hub.play("/v2/search/repositories/", play.docker_hub(rows))
    result = search(query=query, exact=True)
    assert (names(result), result["truncated"]) == (["library/nginx"], False)
    assert [call.query["query"] for call in hub.calls] == ["nginx"] * 4


def test_a_repository_that_docker_hub_does_not_put_first(hub):
    hub.play("/v2/search/repositories/", play.docker_hub([hub_row("team/app%04d" % number) for number in range(2000)]))
    result = search(query="team/app1999", exact=True)
    assert (names(result), result["truncated"], len(hub.calls)) == ([], True, 40)


# The catalog, and what auto makes of a host


def test_lists_a_registry(registry):
    for name in ("team/web", "team/app", "base"):
        registry.have(name, "1")
    result = search(registry)
    assert names(result) == ["base", "team/app", "team/web"]
    assert result["repositories"][0] == {
        "name": "base", "reference": registry.host + "/base", "description": None, "stars": None, "official": None,
    }
    assert (result["api"], result["truncated"]) == ("catalog", False)


@pytest.mark.parametrize(
    ("options", "found", "truncated"),
    [
        ({"query": "TEAM"}, ["team/app", "team/web"], False),
        ({"query": "team/*"}, ["team/app", "team/web"], False),
        ({"query": "app*"}, [], False),
        ({"query": "?ase"}, ["base"], False),
        ({"limit": 1}, ["base"], True),
        ({"limit": 1, "query": "base"}, ["base"], False),
        ({"limit": 0}, ["base", "team/app", "team/web"], False),
    ],
)
def test_picks_from_the_catalog(registry, options, found, truncated):
    for name in ("team/web", "team/app", "base"):
        registry.have(name, "1")
    result = search(registry, **options)
    assert (names(result), result["truncated"]) == (found, truncated)


def test_reads_no_more_of_a_catalog_than_it_needs(registry, monkeypatch):
    monkeypatch.setattr(listing, "PAGE", 10)
    for number in range(100):
        registry.have("team/app%02d" % number, "1")
    assert len(names(search(registry, limit=15))) == 15
    assert len(registry.calls) == 8


@pytest.mark.parametrize("auth", ["", "basic", "bearer"])
def test_one_repository_is_asked_for_without_the_catalog(auth):
    with FakeSearch(auth) as registry:
        registry.have("other/team/app", "3")
        registry.have("team/app", "1", "2")
        result = search(registry, query="team/app", exact=True, tag_limit=1, **KNOWN)
        assert (tags(result), result["api"], result["truncated"]) == ({"team/app": ["2"]}, "catalog", False)
        assert "tags" not in search(registry, query="team/app", exact=True, **KNOWN)["repositories"][0]
        assert not registry.found("GET", "/v2/_catalog")


def test_one_repository_with_its_digests(registry):
    digest = registry.offer("team/app:1", APP)
    found = search(registry, query="team/app", exact=True, digests=True)["repositories"]
    assert found[0]["tags"] == [{"name": "1", "digest": digest}]
    assert registry.count("GET", "/v2/team/app/tags/list") == 4


def test_a_repository_that_is_not_there(registry):
    registry.have("team/app", "1")
    registry.play("/v2/", fixed(200, {}))
    for query in ("app", "team"):
        result = search(registry, query=query, exact=True, tags=True)
        assert (names(result), result["api"], result["truncated"]) == ([], "catalog", False)


def test_a_host_that_is_no_registry_is_asked_for_one_repository_in_other_ways(registry):
    registry.play("/v2/team/app/tags/list", fixed(404, b"<html>"))
    registry.play("/v2/", fixed(404, b"<html>"))
    registry.play("/service/rest/v1/search", play.nexus([("team/app", "1"), ("x/team/app", "1")]))
    result = search(registry, query="team/app", exact=True)
    assert (names(result), result["api"]) == (["team/app"], "nexus")
    assert {call.query["docker.imageName"] for call in registry.found("GET", "/service/.*")} == {"team/app"}


@pytest.mark.parametrize(
    ("api", "path", "player", "scope"),
    [
        ("v1", "/v1/search", play.v1([v1_row("x/p/app"), v1_row("p/app"), v1_row("p/apps")]), ""),
        ("quay", "/api/v1/find/repositories", play.quay(["p/apps", "p/app"]), ""),
        ("harbor", "/api/v2.0/search", play.harbor_search(["p/app", "p/apps", "x/p/app"]), ""),
        ("harbor", "/api/v2.0/projects/p/repositories", play.harbor_project(["p/apps", "p/app"]), "p"),
        ("gitlab", "/api/v4/projects/p%2Fapp/registry/repositories", play.gitlab("127.0.0.1:1", ["p/app/web", "p/app"]), "p/app"),
        ("nexus", "/service/rest/v1/search", play.nexus([("p/apps", "1"), ("p/app", "1")]), "docker-local"),
        ("artifactory", "/artifactory/api/docker/p/v2/_catalog", play.artifactory(["app", "apps", "x"]), "p"),
    ],
)
def test_one_repository_of_every_api(registry, api, path, player, scope):
    registry.play(path, player)
    result = search(registry, api=api, scope=scope, query="p/app", exact=True)
    assert (names(result), result["truncated"]) == (["p/app"], False)


def test_says_that_a_query_has_no_tag(registry):
    registry.have("team/app", "1")
    refused("^query team/app:1: names of repositories are searched, .*: write query: team/app with tags: \\^1\\$$", registry, query="team/app:1")
    refused("write registry: quay.io and query: a/app with tags: ", registry, query="quay.io/a/app:1")
    refused("choose tags with tags$", registry, query="localhost:5000/app")
    refused("such as team/app, in lower case$", registry, query="team/App", exact=True)
    assert not registry.calls


def test_says_that_a_registry_knows_no_stars(registry):
    registry.have("team/app", "1")
    words = "^%s: api catalog tells no stars: leave min_stars away, .* does not answer /api/v1/find/repositories .* in vain as api v1 too$"
    refused(words % registry.host, registry, query="app", min_stars=5)
    words = "^%s: api catalog does not tell which images are official: leave official away, .* does not answer /v1/search"
    refused(words % registry.host, registry, official=True)
    row = {"name": "team/app", "description": "", "is_public": True, "href": "/repository/team/app"}
    registry.play("/v1/search", play.v1([row]))
    refused("^%s: api catalog tells no stars: .*asked in vain as api v1 too$" % registry.host, registry, query="app", min_stars=5)
    for option, message in (("min_stars", "tells no stars: leave min_stars away"), ("official", "does not tell which images are official")):
        refused("^the search of .*, asked as api v1, %s" % message, registry, query="app", api="v1", **{option: 1})
    assert names(search(registry, query="app", api="v1")) == ["team/app"]


def test_an_empty_registry(registry):
    assert search(registry, tags=True)["repositories"] == []


@pytest.mark.parametrize(
    ("path", "player", "api"),
    [
        ("/v1/search", play.v1([v1_row("team/app")]), "v1"),
        ("/api/v2.0/search", play.harbor_search(["team/app"]), "harbor"),
        ("/api/v1/find/repositories", play.quay(["team/app"]), "quay"),
        ("/service/rest/v1/search", play.nexus([("team/app", "1")]), "nexus"),
    ],
)
@pytest.mark.parametrize("catalog", [fixed(404, b""), fixed(405, b""), fixed(401, b""), fixed(403, b""), fixed(200, b"<html>")])
def test_finds_out_how_a_host_is_asked(registry, path, player, api, catalog):
    registry.play("/v2/_catalog", catalog)
    registry.play(path, player)
    result = search(registry, query="app")
    assert (names(result), result["api"]) == (["team/app"], api)


def test_says_that_it_asked_in_vain(registry):
    registry.play("/v2/_catalog", fixed(404, b""))
    refused(r"does not list its repositories \(HTTP 404\).* It was asked in vain as api harbor, quay, v1, nexus too$", registry, query="app")
    refused(r"does not list its repositories \(HTTP 404\): set api if it is searched in another way$", registry, query="app", api="catalog")


@pytest.mark.parametrize("status", [429, 500])
def test_a_registry_that_fails_is_not_asked_in_other_ways(registry, status):
    registry.play("/v2/_catalog", fixed(status, b""))
    refused("takes no more requests" if status == 429 else r"failed \(HTTP 500\)", registry, query="app")
    assert len(registry.calls) == 4


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_catalog_for_those_who_are_known(auth):
    with FakeSearch(auth) as registry:
        registry.have("team/app", "2", "1")
        refused("the catalog of .* wants credentials.*: give username and password, or log in", registry)
        refused("the catalog of .* refuses the credentials from username and password", registry, username="ann", password="guess")
        assert tags(search(registry, tags=True, **KNOWN)) == {"team/app": ["2", "1"]}


def test_nobody_answers(registry):
    registry.close()
    refused("^the catalog of %s: no answer from http://%s .*refused" % (registry.host, registry.host), registry)


# The others' APIs


def test_searches_by_v1_with_credentials_on_challenge(registry):
    def answer(call):
        if call.headers.get("Authorization") != BASIC:
            return fixed(401, b"", {"WWW-Authenticate": 'Basic realm="v1"'})(call)
        return play.v1([v1_row("team/app", 4)])(call)

    registry.play("/v1/search", answer)
    assert search(registry, api="v1", query="app", **KNOWN)["repositories"][0]["stars"] == 4
    refused("the search of .* wants credentials", registry, api="v1", query="app")


def test_searches_quay(registry):
    every = ["prometheus/p%02d" % number for number in range(25)]
    registry.play("/api/v1/find/repositories", play.quay(every))
    result = search(registry, api="quay", query="p")
    assert names(result) == every
    assert result["repositories"][0]["stars"] == 3 and result["repositories"][0]["description"] == "About prometheus/p00."
    assert len(registry.calls) == 12


def test_quay_sees_tokens_and_no_passwords(registry):
    registry.play("/api/v1/find/repositories", play.quay(["a/b"]))
    search(registry, api="quay", query="b", **KNOWN)
    assert set(shown(registry, "/api/.*")) == {None}
    registry.calls.clear()
    search(registry, api="quay", query="b", username="$oauthtoken", password="t0ken")
    assert set(shown(registry, "/api/.*")) == {"Bearer t0ken"}


def test_searches_harbor(registry):
    registry.play("/api/v2.0/search", play.harbor_search(["p/app", "p/web", "q/app"]))
    assert names(search(registry, api="harbor", query="app")) == ["p/app", "q/app"]
    assert names(search(registry, api="harbor")) == ["p/app", "p/web", "q/app"]
    registry.calls.clear()
    search(registry, api="harbor", query="*/web", **KNOWN)
    assert registry.calls[0].query == {"q": "/web"} and set(shown(registry, "/api/.*")) == {BASIC}


@pytest.mark.parametrize("api", ["harbor", "auto"])
def test_lists_a_project_of_harbor(registry, api):
    every = ["p/app%03d" % number for number in range(250)]
    registry.play("/api/v2.0/projects/p/repositories", play.harbor_project(every))
    result = search(registry, api=api, scope="p", limit=0)
    assert (names(result), result["api"]) == (every, "harbor")
    assert result["repositories"][0]["description"] == "About p/app000."
    assert len(registry.calls) == 12


@pytest.mark.parametrize(("kind", "api"), [("projects", "gitlab"), ("groups", "gitlab"), ("groups", "auto")])
def test_lists_projects_and_groups_of_gitlab(registry, kind, api):
    every = ["group/project/app%03d" % number for number in range(250)]
    registry.play("/api/v4/%s/group%%2Fproject/registry/repositories" % kind, play.gitlab("registry.example.com:5000", every))
    result = search(registry, api=api, scope="group/project", query="app1", limit=0, username="any", password="t0ken")
    assert names(result) == every[100:200]
    assert result["repositories"][0]["reference"] == "registry.example.com:5000/group/project/app100"
    assert set(shown(registry, "/api/v4/.*")) == {"Bearer t0ken"}


def test_no_such_project_of_gitlab(registry):
    refused(r"does not answer /api/v4/groups/7/registry/repositories \(HTTP 404\): set api", registry, api="gitlab", scope="7")


def test_a_registry_that_an_answer_names_sees_no_credentials_of_another(registry, alone):
    with FakeSearch("basic") as other:
        digest = other.offer("group/app:1", APP)
        registry.play("/api/v4/projects/7/registry/repositories", play.gitlab(other.host, ["group/app"]))
        given = {"api": "gitlab", "scope": "7", "tags": True, "digests": True}
        result = refused("group/app: %s wants credentials" % other.host, registry, **given, **KNOWN)
        assert result["repositories"][0]["tags"] is None
        assert set(shown(other, ".*")) == {None}

        (alone / ".docker").mkdir()
        (alone / ".docker" / "config.json").write_text(json.dumps({"auths": {other.host: {"auth": BASIC[6:]}}}))
        found = search(registry, **given, username="any", password="t0ken")["repositories"]
        assert found[0]["tags"] == [{"name": "1", "digest": digest}]
        assert "Bearer t0ken" not in shown(other, ".*") and set(shown(registry, ".*")) == {"Bearer secret", "Bearer t0ken"}


def test_searches_nexus(registry):
    every = [("team/app%02d" % number, tag) for tag in ("1", "2") for number in range(60)] + [("other", "1")]
    registry.play("/service/rest/v1/search", play.nexus(every))
    result = search(registry, api="nexus", scope="docker-local", query="team", limit=0, tags="2", **KNOWN)
    assert names(result) == ["team/app%02d" % number for number in range(60)]
    assert result["repositories"][0]["tags"] == [{"name": "2", "digest": SHA}]
    assert registry.calls[0].query == {"format": "docker", "docker.imageName": "*team*", "repository": "docker-local"}
    assert len(registry.calls) == 12 and set(shown(registry, ".*")) == {BASIC}
    # It tells the digests without being asked.
    assert search(registry, api="nexus", query="other", digests=True)["repositories"][0]["tags"] == [{"name": "1", "digest": SHA}]
    assert not registry.found("HEAD", ".*")


def test_tokens_in_a_circle_come_to_an_end(registry):
    registry.play("/service/rest/v1/search", fixed(200, {"items": [], "continuationToken": "again"}))
    refused("does not come to an end: ask for less", registry, api="nexus")
    assert len(registry.calls) == 8


def test_items_of_nexus_without_a_tag(registry):
    registry.play("/service/rest/v1/search", play.nexus([("app", SHA), ("app", "1")]))
    assert search(registry, api="nexus", tags=True)["repositories"][0]["tags"] == [{"name": "1", "digest": SHA}]


def test_items_of_nexus_without_a_digest(registry):
    digest = registry.offer("app:1", APP)
    registry.play("/service/rest/v1/search", fixed(200, {"items": [{"name": "app", "version": "1", "assets": []}]}))
    assert search(registry, api="nexus", tags=True)["repositories"][0]["tags"] == [{"name": "1", "digest": None}]
    assert search(registry, api="nexus", digests=True)["repositories"][0]["tags"] == [{"name": "1", "digest": digest}]


def test_lists_a_repository_of_artifactory(registry, monkeypatch):
    monkeypatch.setattr(listing, "PAGE", 2)
    registry.play("/artifactory/api/docker/docker-local/v2/_catalog", play.artifactory(["alpine", "busybox", "team/centos"]))
    registry.have("docker-local/busybox", "1.36", "1.37")
    for api in ("artifactory", "auto"):
        result = search(registry, api=api, scope="docker-local", query="b", tags=True, **KNOWN)
        assert tags(result) == {"docker-local/busybox": ["1.37", "1.36"]}
        assert result["api"] == "artifactory"
    assert set(shown(registry, "/artifactory/.*")) == {BASIC}


# Tags and digests


def test_tags_come_with_the_newest_version_first(registry):
    registry.have("app", "latest", "1.9", "1.10", "2.0-rc1", "1.10-alpine", "sha256-" + "ab" * 32)
    registry.have("empty")
    assert tags(search(registry, tags=True)) == {"app": ["2.0-rc1", "1.10", "1.10-alpine", "1.9", "latest"], "empty": []}
    assert tags(search(registry, tags=r"^[\d.]+$")) == {"app": ["1.10", "1.9"], "empty": []}
    assert tags(search(registry, tag_range=">=1 <2", tag_limit=2)) == {"app": ["1.10", "1.10-alpine"], "empty": []}
    assert search(registry, tag_limit=1)["repositories"][0]["tags"] == [{"name": "2.0-rc1", "digest": None}]
    assert "tags" not in search(registry)["repositories"][0]


def test_digests_are_asked_for_by_head(registry):
    old, new = registry.offer("team/app:1.0", APP), registry.offer("team/app:1.1", NEW)
    registry.offer("team/web:1.0", APP)
    found = search(registry, digests=True, parallel=8)["repositories"]
    assert found[0]["tags"] == [{"name": "1.1", "digest": new}, {"name": "1.0", "digest": old}]
    assert found[1]["tags"] == [{"name": "1.0", "digest": old}]
    assert registry.count("HEAD", "/v2/.*/manifests/.*") == 12 and not registry.found("GET", "/v2/.*/manifests/.*")


def test_a_tag_that_names_no_image_has_no_digest(registry):
    digest = registry.offer("app:1", APP)
    registry.put("app:old", "application/vnd.docker.distribution.manifest.v1+prettyjws", b'{"schemaVersion": 1}')
    registry.have("app", "gone")
    assert search(registry, digests=True)["repositories"][0]["tags"] == [
        {"name": "1", "digest": digest}, {"name": "gone", "digest": None}, {"name": "old", "digest": None},
    ]


def test_a_repository_that_is_listed_and_has_never_had_a_tag(registry):
    registry.play("/v2/_catalog", fixed(200, {"repositories": ["app", "bare"]}))
    registry.have("app", "1")
    assert tags(search(registry, tags=True)) == {"app": ["1"], "bare": []}


def test_one_that_fails_does_not_lose_the_others(registry):
    digest = registry.offer("good:1", APP)
    for name in ("bad", "worse"):
        registry.have(name, "1")
        registry.play("/v2/%s/tags/list" % name, fixed(500, b""))
    registry.answer("HEAD", "/v2/good/.*", 500, times=0)
    result = refused(r"^%s/bad: .*failed \(HTTP 500\).*; %s/worse: .*failed \(HTTP 500\)" % (registry.host, registry.host), registry, digests=True)
    assert [one["tags"] for one in result["repositories"]] == [None, [{"name": "1", "digest": digest}], None]
    assert not result["changed"]


def test_a_digest_that_fails_does_not_lose_the_others(registry):
    digest = registry.offer("app:1", APP)
    registry.offer("app:2", NEW)
    registry.play("/v2/app/manifests/2", fixed(500, b""))
    result = refused(r"^%s/app:2: %s failed \(HTTP 500\)" % (registry.host, registry.host), registry, digests=True)
    assert result["repositories"][0]["tags"] == [{"name": "2", "digest": None}, {"name": "1", "digest": digest}]


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"registry": "https://registry.example.com"}, "registry https://registry.example.com: name a host"),
        ({}, "docker.io: api docker_hub is searched, and lists nothing: give a query"),
        ({"api": "docker"}, "value of api must be one of"),
        ({"query": "a", "tags": "("}, "tags .*: give false, true or a regular expression"),
        ({"query": "a", "tag_range": "new"}, "tag_range new: new is not a version"),
        ({"query": "a", "username": "ann"}, "username and password go together"),
    ],
)
def test_says_which_option_is_malformed(options, message):
    refused(message, **options)
