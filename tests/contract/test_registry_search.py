# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""registry_search on real registries of two makers: catalog, tags and digests."""

from __future__ import annotations

import base64
import json
import re
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Iterator

import engines
import pytest
from ansible_collections.stowage.oci.plugins.module_utils._registry import listing
from ansible_collections.stowage.oci.plugins.modules import registry_search
from ansible_collections.stowage.oci.tests import faults
from ansible_collections.stowage.oci.tests.unit import running
from ansible_collections.stowage.oci.tests.unit.fakes.search import FakeSearch
from ansible_collections.stowage.oci.tests.unit.images import Made, MadeIndex, image, index, layer

OLD = image([layer({"app": b"1"}, "gzip")])
NEW = image([layer({"app": b"2"}, "gzip")])
ARM = image([layer({"app": b"3"}, "gzip")], platform="linux/arm64/v8")
MULTI = index([OLD, ARM])


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home without credentials."""
    for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path))


@pytest.fixture(params=["registry", "crane_registry"])
def served(request: pytest.FixtureRequest) -> engines.Registry:
    """An open registry of each maker."""
    return request.getfixturevalue(request.param)


def call(url: str, method: str, data: bytes | None = None, kind: str = "application/octet-stream", known: str = "") -> Any:
    headers = {"Content-Type": kind, **({"Authorization": "Basic " + base64.b64encode(known.encode()).decode()} if known else {})}
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, context=ssl._create_unverified_context()) as answer:
        return answer.headers


def push(registry: engines.Registry, name: str, item: Made | MadeIndex, known: str = "") -> str:
    """Put an image or index into a registry, as a tag or without one; its digest."""
    repository, _colon, tag = name.partition(":")
    base = f"{registry.url}/v2/{repository}"
    parts = [*getattr(item, "children", ()), item]
    manifests = {one.digest: item.blobs[one.digest] for one in parts}
    for digest, data in item.blobs.items():
        if digest not in manifests:
            place = call(f"{base}/blobs/uploads/", "POST", b"", known=known)["Location"]
            place = place if "://" in place else registry.url + place
            call(f"{place}{'&' if '?' in place else '?'}digest={digest}", "PUT", data, known=known)
    for one in parts:
        reference = tag if one is item and tag else one.digest
        call(f"{base}/manifests/{reference}", "PUT", manifests[one.digest], one.descriptor()["mediaType"], known)
    return item.digest


@pytest.fixture(params=["real", "fake"])
def either(request: pytest.FixtureRequest) -> Iterator[Any]:
    """docker-registry, and what plays it in unit tests, with the repositories either/r0 to r3."""
    if request.param == "real":
        registry = request.getfixturevalue("registry")
        for number in range(4):
            push(registry, f"either/r{number}:1", OLD)
        yield registry
    else:
        with FakeSearch() as fake:
            for number in range(4):
                fake.offer(f"either/r{number}:1", OLD)
            yield fake


def get(url: str) -> tuple[int, Any, Any]:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, json.load(answer), answer.headers["Link"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["errors"][0]["code"], None


def test_the_fake_lists_as_docker_registry_does(either):
    catalog = f"{either.url}/v2/_catalog"
    assert get(f"{catalog}?n=2&last=either/r0") == (
        200, {"repositories": ["either/r1", "either/r2"]}, '</v2/_catalog?last=either%2Fr2&n=2>; rel="next"'
    )
    assert get(f"{catalog}?n=1000&last=either/r2")[1]["repositories"][0] == "either/r3"
    assert get(f"{catalog}?n=1000")[2] is None
    assert get(f"{catalog}?n=1001") == (400, "PAGINATION_NUMBER_INVALID", None)
    assert get(f"{either.url}/v2/either/r0/tags/list?n=1") == (200, {"name": "either/r0", "tags": ["1"]}, None)
    assert get(f"{either.url}/v2/either/none/tags/list") == (404, "NAME_UNKNOWN", None)


def params(registry: Any, query: str, **more: Any) -> dict[str, Any]:
    return {"registry": registry.host, "query": query, "plain_http": True, "retries": 0, **more}


def search(registry: Any, query: str, **more: Any) -> dict[str, Any]:
    """Four times the same, and nothing changes; the result."""
    results = [running.run(registry_search, check, **params(registry, query, **more)) for check in (True, False, True, False)]
    assert all(result == results[0] for result in results) and not results[0]["changed"]
    return results[0]


def refused(pattern: str, registry: Any, query: str, **more: Any) -> dict[str, Any]:
    for check in (True, False, True, False):
        result = running.fail(registry_search, check, **params(registry, query, **more))
        assert re.search(pattern, result["msg"]), result["msg"]
    return result


def names(result: dict[str, Any]) -> list[str]:
    return [one["name"] for one in result["repositories"]]


def test_catalog_tags_and_digests(served):
    old, new, multi = (push(served, f"offer/app:{tag}", item) for tag, item in (("1.9", OLD), ("1.10", NEW), ("latest", MULTI)))
    push(served, "offer/web:1.10-rc1", NEW)
    result = search(served, "offer/", digests=True, parallel=8)
    assert (result["api"], result["truncated"], names(result)) == ("catalog", False, ["offer/app", "offer/web"])
    assert result["repositories"][0]["reference"] == f"{served.host}/offer/app"
    assert [(tag["name"], tag["digest"]) for tag in result["repositories"][0]["tags"]] == [("1.10", new), ("1.9", old), ("latest", multi)]

    result = search(served, "offer/*", tag_range=">=1.2 <2", tag_limit=1)
    assert [one["tags"] for one in result["repositories"]] == [[{"name": "1.10", "digest": None}], []]
    assert names(search(served, "offer/w?b")) == ["offer/web"]


def test_pages_of_a_catalog_and_of_tags(served, monkeypatch):
    monkeypatch.setattr(listing, "PAGE", 5)
    for number in range(12):
        push(served, f"paged/app{number:02}:1", OLD)
        push(served, f"paged/app00:{number + 1}", OLD)
    result = search(served, "paged/", tags=True, limit=0)
    assert names(result) == [f"paged/app{number:02}" for number in range(12)]
    assert [tag["name"] for tag in result["repositories"][0]["tags"]] == [str(number) for number in range(12, 0, -1)]


def test_no_more_of_a_catalog_than_is_wanted(registry):
    for number in range(9):
        push(registry, f"limited/app{number}:1", OLD)
    result = search(registry, "limited/", limit=7)
    assert (names(result), result["truncated"]) == ([f"limited/app{number}" for number in range(7)], True)


def test_one_repository_alone(served):
    push(served, "exact/app:1", OLD)
    push(served, "x/exact/app:1", NEW)
    result = search(served, "exact/app", exact=True, digests=True)
    assert (result["api"], [(one["name"], one["tags"]) for one in result["repositories"]]) == (
        "catalog", [("exact/app", [{"name": "1", "digest": OLD.digest}])]
    )
    for absent in ("exact", "app"):
        assert search(served, absent, exact=True, tags=True)["repositories"] == []


def test_a_repository_whose_tags_are_gone(registry):
    digest = push(registry, "gone/app:1", OLD)
    call(f"{registry.url}/v2/gone/app/manifests/{digest}", "DELETE")
    assert search(registry, "gone/", digests=True)["repositories"][0]["tags"] == []


def test_a_repository_that_never_had_a_tag(registry):
    push(registry, "bare/app", OLD)
    assert search(registry, "bare/", tags=True)["repositories"][0]["tags"] == []


def test_a_tag_of_a_signature_is_left_out(served):
    digest = push(served, "signed/app:1", OLD)
    push(served, f"signed/app:{digest.replace(':', '-')}.sig", NEW)
    push(served, f"signed/app:{digest.replace(':', '-')}", NEW)
    assert search(served, "signed/", digests=True)["repositories"][0]["tags"] == [{"name": "1", "digest": digest}]


def test_a_registry_that_wants_a_password(secured):
    push(secured.registry, "secured/app:1", OLD, "ann:secret-ann")
    tls = {"plain_http": False, "ca_cert": secured.options["ca_cert"]}
    refused("^the catalog of .* wants credentials.*: give username and password, or log in", secured, "secured/", **tls)
    refused("^the catalog of .* refuses the credentials from username and password", secured, "", username="ann", password="x", **tls)
    refused("^the catalog of .* the certificate of .* does not verify", secured, "secured/", **dict(secured.options, plain_http=False, ca_cert=None))
    refused("^the catalog of .* refuses to be asked without TLS", secured, "secured/", username="ann", password="secret-ann")
    found = search(secured, "secured/", digests=True, **dict(secured.options, plain_http=False))["repositories"]
    assert found[0]["tags"] == [{"name": "1", "digest": OLD.digest}]


def test_a_registry_that_wants_a_token(registry, bearer):
    push(registry, "tokens/app:1", OLD)
    refused("^the catalog of .* wants credentials", bearer, "tokens/")
    refused("^the catalog of .* refuses the credentials from username and password", bearer, "tokens/", username="bob", password="secret-bob")
    assert names(search(bearer, "tokens/app", exact=True, username="bob", password="secret-bob")) == ["tokens/app"]
    found = search(bearer, "tokens/", digests=True, parallel=4, **bearer.options)["repositories"]
    assert found[0]["tags"] == [{"name": "1", "digest": OLD.digest}]


def test_one_repository_that_fails_does_not_lose_the_others(registry, faulty):
    for name in ("a", "b", "c"):
        push(registry, f"faulty/{name}:1", OLD)
    faulty.on("GET", "/v2/faulty/b/tags/", faults.says(500), times=4)
    result = refused("/faulty/b: .* failed ", faulty, "faulty/", digests=True)
    kept = [{"name": "1", "digest": OLD.digest}]
    assert [one["tags"] for one in result["repositories"]] == [kept, None, kept]


def test_a_list_that_is_cut_is_asked_for_again(registry, faulty):
    push(registry, "cut/app:1", OLD)
    faulty.on("GET", "/v2/_catalog", faults.cut(10), times=1)
    assert names(running.run(registry_search, **params(faulty, "cut/", retries=1))) == ["cut/app"]
