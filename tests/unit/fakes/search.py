# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry that also lists what it has, and plays the search APIs of others from recorded shapes.

    with FakeSearch() as registry:
        registry.offer("team/app:1.0", image([...]))               # in the catalog and in the tags of team/app
        registry.have("team/other", "1", "2")                      # there too, without a manifest
        registry.play("/api/v2.0/search", harbor_search(["p/app"]))

A player answers a Call; each says where its shape comes from.
"""

from __future__ import annotations

import fnmatch
import json
import re
import typing as t
import urllib.parse

from ansible_collections.stowage.oci.tests.unit.fakes.registry import Answer, Call, FakeRegistry, _error

Player = t.Callable[[Call], Answer]
Rows = t.Sequence[t.Dict[str, t.Any]]

SHA = "sha256:" + "ab" * 32


class FakeSearch(FakeRegistry):
    """``links``: pages have a Link, as docker-registry's; without, n and last alone, as crane's registry does it with tags.

    ``most`` names may be asked for at once, and come at once where nobody says how many.
    """

    links = True
    most = 1000
    unasked = 100

    def __init__(self, auth: str = "", **how: t.Any) -> None:
        self._had: t.Dict[str, t.Optional[t.List[str]]] = {}
        self._played: t.Dict[str, Player] = {}
        super().__init__(auth, **how)

    def have(self, repository: str, *tags: str) -> None:
        """With no tags: docker-registry's null, as after the last one is deleted."""
        self._had[repository] = list(tags) or None

    def play(self, path: str, player: Player) -> None:
        self._played[path] = player

    def names(self) -> t.List[str]:
        return sorted(set(self._had) | {key.partition("@")[0] for key in self._manifests})

    def _route(self, call: Call, body: bytes) -> Answer:
        if call.path in self._played:
            return self._played[call.path](call)
        if call.path == "/v2/_catalog":
            return self._challenge(call, "registry:catalog:*") or self._listed(call, "repositories", self.names(), {})
        match = re.fullmatch("/v2/(.+)/tags/list", call.path)
        if match:
            return self._challenge(call, "repository:%s:pull" % match.group(1)) or self._tags_of(call, match.group(1))
        return super()._route(call, body)

    def _tags_of(self, call: Call, repository: str) -> Answer:
        if repository not in self.names():
            return _error(404, "NAME_UNKNOWN", "repository name not known to registry")
        offered = [key.partition("@")[2] for key in self._manifests if key.startswith(repository + "@") and ":" not in key]
        tags = offered + (self._had.get(repository) or [])
        if self.links:
            # Measured with 2.8.2: n and last are ignored, the order is that of a folder.
            return _json({"name": repository, "tags": tags or None})
        return self._listed(call, "tags", sorted(tags), {"name": repository})

    def _listed(self, call: Call, key: str, names: t.List[str], more: t.Dict[str, t.Any]) -> Answer:
        """Measured with docker-registry 2.8.2, and without ``links`` the tags with crane 0.20.7."""
        size = int(call.query.get("n", self.unasked))
        if size > self.most:
            return _error(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested")
        left = [name for name in names if name > call.query.get("last", "")]
        page = left[: min(size, self.most)]
        headers = {}
        if self.links and len(page) < len(left):
            headers["Link"] = '<%s?last=%s&n=%d>; rel="next"' % (call.path, urllib.parse.quote(page[-1], safe=""), min(size, self.most))
        return _json(dict(more, **{key: page}), headers)


def fixed(status: int, document: t.Any = None, headers: t.Optional[t.Mapping[str, str]] = None) -> Player:
    """The same for everybody; bytes as they are."""
    return lambda call: Answer(status, headers or {}, document if isinstance(document, bytes) else json.dumps(document).encode())


def docker_hub(rows: Rows) -> Player:
    """GET hub.docker.com/v2/search/repositories/, recorded 2026-05-03 by zeabur/zbplan, registryutil test.

    The last page has an empty ``next``; official names come without library/.
    """

    def answer(call: Call) -> Answer:
        page, size = int(call.query.get("page", 1)), int(call.query["page_size"])
        more = page * size < len(rows)
        following = "https://hub.docker.com/v2/search/repositories/?page=%d&page_size=%d&query=%s" % (page + 1, size, call.query["query"])
        return _json({"count": len(rows), "next": following if more else "", "previous": "", "results": list(rows[(page - 1) * size: page * size])})

    return answer


def hub_row(name: str, stars: int = 0, official: bool = False) -> t.Dict[str, t.Any]:
    return {
        "repo_name": name, "short_description": "About %s." % name, "star_count": stars, "pull_count": 12981954060, "repo_owner": "",
        "is_automated": False, "is_official": official,
    }


def v1(rows: Rows) -> Player:
    """GET /v1/search: the frame recorded from quay.io/v1/search, the results from index.docker.io as engines read them."""

    def answer(call: Call) -> Answer:
        page, size = int(call.query.get("page", 1)), int(call.query["n"])
        pages = max(1, -(-len(rows) // size))
        results = list(rows[(page - 1) * size: page * size])
        return _json({"num_pages": pages, "num_results": len(rows), "page_size": size, "page": page, "query": call.query["q"], "results": results})

    return answer


def v1_row(name: str, stars: int = 0, official: bool = False) -> t.Dict[str, t.Any]:
    return {"name": name, "description": "About %s." % name, "star_count": stars, "is_official": official, "is_automated": False, "is_trusted": False}


def quay(names: t.Sequence[str], stars: int = 3) -> Player:
    """GET /api/v1/find/repositories, from quay/quay, endpoints/api/search.py: pages of ten; things that are no repositories too."""

    def row(name: str) -> t.Dict[str, t.Any]:
        namespace, _slash, title = name.partition("/")
        owner = {"title": "org", "kind": "organization", "avatar": {}, "name": namespace, "score": 1, "href": "/organization/" + namespace}
        return {
            "kind": "repository", "title": "repo", "namespace": owner, "name": title, "description": "About %s." % name, "is_public": True,
            "score": 4, "href": "/repository/" + name, "last_modified": 1590821178, "stars": stars, "popularity": 12.0,
        }

    def answer(call: Call) -> Answer:
        page = int(call.query.get("page", 1))
        results = [row(name) for name in names[(page - 1) * 10: page * 10]]
        if page == 1:
            results.append(dict(row("apps/chart"), kind="application"))
        return _json({"results": results, "has_additional": page * 10 < len(names), "page": page, "page_size": 10, "start_index": (page - 1) * 10})

    return answer


def harbor_search(names: t.Sequence[str]) -> Player:
    """GET /api/v2.0/search, from goharbor/harbor's swagger and harbor-api-client, docs/SearchRepository.md."""
    rows = [
        {
            "project_id": 3, "project_name": name.partition("/")[0], "project_public": True, "repository_name": name, "pull_count": 1,
            "artifact_count": 1,
        }
        for name in names
    ]
    return lambda call: _json({"project": [], "repository": [row for row in rows if call.query.get("q", "") in row["repository_name"]], "chart": []})


def harbor_project(names: t.Sequence[str]) -> Player:
    """GET /api/v2.0/projects/P/repositories, from goharbor/harbor's swagger: X-Total-Count and Link."""
    rows = [
        {"id": number, "name": name, "project_id": 3, "description": "About %s." % name, "artifact_count": 1, "pull_count": 1}
        for number, name in enumerate(names)
    ]

    def answer(call: Call) -> Answer:
        page, size = int(call.query["page"]), int(call.query["page_size"])
        headers = {"X-Total-Count": str(len(rows))}
        if page * size < len(rows):
            headers["Link"] = '<%s?page=%d&page_size=%d>; rel="next"' % (call.path, page + 1, size)
        return _json(rows[(page - 1) * size: page * size], headers)

    return answer


def gitlab(host: str, names: t.Sequence[str]) -> Player:
    """GET /api/v4/projects/ID/registry/repositories, from gitlabhq, doc/api/container_registry.md; the registry is at ``host``."""
    rows = [
        {
            "id": number, "name": "", "path": name, "project_id": 9, "location": "%s/%s" % (host, name), "created_at": "2019-01-10T13:38:57.391Z",
            "cleanup_policy_started_at": "2020-08-17T03:12:35.489Z", "status": None,
        }
        for number, name in enumerate(names)
    ]

    def answer(call: Call) -> Answer:
        page, size = int(call.query["page"]), int(call.query["per_page"])
        following = str(page + 1) if page * size < len(rows) else ""
        return _json(rows[(page - 1) * size: page * size], {"X-Next-Page": following, "X-Total": str(len(rows))})

    return answer


def nexus(images: t.Sequence[t.Tuple[str, str]], size: int = 50) -> Player:
    """GET /service/rest/v1/search, from Sonatype's REST API as public clients read it: an item for each tag, pages by token."""
    items = [
        {
            "id": "%d" % number, "repository": "docker-local", "format": "docker", "group": None, "name": name, "version": tag,
            "assets": [{
                "downloadUrl": "https://nexus.example.com/repository/docker-local/v2/%s/manifests/%s" % (name, tag),
                "path": "v2/%s/manifests/%s" % (name, tag), "id": "a%d" % number, "repository": "docker-local", "format": "docker",
                "checksum": {"sha1": "cd" * 20, "sha256": SHA[7:]},
                "contentType": "application/vnd.docker.distribution.manifest.v2+json", "lastModified": "2024-01-01T00:00:00.000+00:00",
            }],
        }
        for number, (name, tag) in enumerate(images)
    ]

    def answer(call: Call) -> Answer:
        start = int(call.query.get("continuationToken", 0))
        found = [item for item in items if fnmatch.fnmatchcase(item["name"], call.query.get("docker.imageName", "*"))]
        more = start + size < len(found)
        return _json({"items": found[start: start + size], "continuationToken": str(start + size) if more else None})

    return answer


def artifactory(names: t.Sequence[str]) -> Player:
    """GET /api/docker/REPO/v2/_catalog, from JFrog's "List Docker Repositories"; pages by n and last, no Link."""

    def answer(call: Call) -> Answer:
        left = [name for name in names if name > call.query.get("last", "")]
        return _json({"repositories": left[: int(call.query["n"])]})

    return answer


def _json(document: t.Any, headers: t.Optional[t.Mapping[str, str]] = None) -> Answer:
    return Answer(200, dict({"Content-Type": "application/json"}, **(headers or {})), json.dumps(document).encode())
