# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""registry_search and crane: all repositories of a registry, with their tags, and with the digest of a tag of each.

crane tells the tags of one repository or the digest of one tag, so many run, as many side by side as registry_search asks.
"""

from __future__ import annotations

import json
import shlex
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Iterator

import bench
import content
import debs
import engines

TITLE = "search of 2,000 repositories"
REPOSITORIES = 2000
TAGS = ("1.0", "1.1", "latest")
PARALLEL = 4


def cases(folder: Path, stack: ExitStack) -> Iterator[bench.Case]:
    registry = stack.enter_context(engines.registry(folder / "registry"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: _fill(registry, f"team-{number % 20}/app-{number:04}"), range(REPOSITORIES)))
    yield _case(registry, "all tags", {"tags": True}, TAGS, "crane catalog, crane ls", "ls --full-ref NAME")
    latest = TAGS[-1:]
    asked = {"tags": f"^{latest[0]}$", "digests": True}
    yield _case(registry, f"digests of the tag {latest[0]}", asked, latest, "crane catalog, crane digest", f"digest --full-ref NAME:{latest[0]}")


def _case(registry: engines.Registry, title: str, asked: dict[str, Any], tags: tuple[str, ...], peer: str, about_each: str) -> bench.Case:
    """`tags`: what comes of each repository. `about_each`: what crane does for NAME."""
    search = bench.module("registry_search", registry=registry.host, api="catalog", limit=0, parallel=PARALLEL, plain_http=True, **asked)
    crane = f"{shlex.quote(str(debs.crane()))} --insecure"
    many = f"{crane} catalog --full-ref {registry.host} | xargs -P {PARALLEL} -I NAME {crane} {about_each}"
    return bench.Case(title, [
        bench.Contender("registry_search", lambda: search, partial(_found, tags, "digests" in asked)),
        bench.Contender(peer, lambda: bench.Command(["sh", "-c", many]), partial(_printed, tags)),
    ])


def _fill(registry: engines.Registry, repository: str) -> None:
    config = content.put(registry, repository, b"{}", "application/vnd.oci.image.config.v1+json")
    image = content.Image(json.dumps({"schemaVersion": 2, "mediaType": content.MANIFEST, "config": config, "layers": []}).encode())
    for tag in TAGS:
        content.tag(registry, f"{repository}:{tag}", image)


def _found(tags: tuple[str, ...], digests: bool, printed: str) -> dict[str, int]:
    result = json.loads(printed)
    assert not result.get("failed"), result["msg"]
    found = [tag for one in result["repositories"] for tag in one["tags"]]
    assert all(bool(tag["digest"]) == digests for tag in found), found[0]
    _complete(tags, len(found))
    return {"repositories": len(result["repositories"])}


def _printed(tags: tuple[str, ...], printed: str) -> None:
    _complete(tags, len(printed.split()))


def _complete(tags: tuple[str, ...], found: int) -> None:
    assert found == REPOSITORIES * len(tags), f"{found} tags"
