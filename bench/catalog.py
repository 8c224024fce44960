# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""registry_search and crane: all repositories of a registry, with their tags. crane lists the tags of one repository, so many run."""

from __future__ import annotations

import json
import shlex
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Iterator

import bench
import content
import debs
import engines

TITLE = "all tags of 2,000 repositories"
REPOSITORIES = 2000
TAGS = ("1.0", "1.1", "latest")
PARALLEL = 4


def cases(folder: Path, stack: ExitStack) -> Iterator[bench.Case]:
    registry = stack.enter_context(engines.registry(folder / "registry"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: _fill(registry, f"team-{number % 20}/app-{number:04}"), range(REPOSITORIES)))
    crane = f"{shlex.quote(str(debs.crane()))} --insecure"
    listing = f"{crane} catalog {registry.host} | xargs -P {PARALLEL} -I NAME {crane} ls --full-ref {registry.host}/NAME"
    search = bench.module("registry_search", registry=registry.host, api="catalog", limit=0, tags=True, parallel=PARALLEL, plain_http=True)
    yield bench.Case("catalog and tags, four at a time", [
        bench.Contender("registry_search", lambda: search, _found),
        bench.Contender("crane catalog, crane ls", lambda: bench.Command(["sh", "-c", listing]), _listed),
    ])


def _fill(registry: engines.Registry, repository: str) -> None:
    config = content.put(registry, repository, b"{}", "application/vnd.oci.image.config.v1+json")
    image = content.Image(json.dumps({"schemaVersion": 2, "mediaType": content.MANIFEST, "config": config, "layers": []}).encode())
    for tag in TAGS:
        content.tag(registry, f"{repository}:{tag}", image)


def _found(printed: str) -> dict[str, int]:
    result = json.loads(printed)
    assert not result.get("failed"), result["msg"]
    _complete(sum(len(one["tags"]) for one in result["repositories"]))
    return {"repositories": len(result["repositories"])}


def _listed(printed: str) -> None:
    _complete(len(printed.split()))


def _complete(tags: int) -> None:
    assert tags == REPOSITORIES * len(TAGS), f"{tags} tags"
