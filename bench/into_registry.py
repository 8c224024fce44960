# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_copy, crane push and skopeo copy: an image of a file in a registry. crane's is a folder: its own files keep no manifest."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from pathlib import Path
from typing import Callable, Iterator

import bench
import content
import debs
import engines

TITLE = "bundle → registry, 10 layers of 40 MB"
NAME = "bench/app:now"
ROUND = itertools.count()


def cases(folder: Path, stack: ExitStack) -> Iterator[bench.Case]:
    registry = stack.enter_context(engines.registry(folder / "registry"))
    image, changed = content.push(registry, NAME.partition(":")[0])
    content.tag(registry, NAME, image)
    tools = _tools(folder, registry.host)

    def case(title: str, have: content.Image | None) -> bench.Case:
        """`have`: the image that the registry holds already."""
        return bench.Case(title, [_contender(registry, name, make, have, image) for name, make in tools.items()])

    yield case("first run", None)
    yield case("second run", image)
    yield case("one layer changed", changed)


def _tools(folder: Path, host: str) -> dict[str, Callable[[str], bench.Command]]:
    """The command that puts the image of a file that is made here at `PREFIX/bench/app:now`."""
    crane, reference, files = str(debs.crane()), f"{host}/{NAME}", folder / "files"
    files.mkdir()
    bench.measure(bench.module("image_archive", path=f"{files}/bundle", images=[reference], plain_http=True))
    bench.measure(bench.Command([crane, "pull", "--format=oci", reference, f"{files}/crane"]))
    bench.measure(bench.skopeo(folder / "cache", f"docker://{reference}", f"oci-archive:{files}/skopeo:{NAME}"))
    return {
        "image_copy": lambda prefix: bench.module("image_copy", src=f"{files}/bundle", destination=f"{host}/{prefix}", plain_http=True),
        "crane push": lambda prefix: bench.Command([crane, "push", f"{files}/crane", f"{host}/{prefix}/{NAME}"]),
        "skopeo copy": lambda prefix: bench.skopeo(folder / "cache", f"oci-archive:{files}/skopeo:{NAME}", f"docker://{host}/{prefix}/{NAME}"),
    }


def _contender(
    registry: engines.Registry, name: str, make: Callable[[str], bench.Command], have: content.Image | None, want: content.Image
) -> bench.Contender:
    prefix = ""

    def prepare() -> bench.Command:
        nonlocal prefix
        prefix = f"round-{next(ROUND)}"
        if have:
            content.mount(registry, NAME.partition(":")[0], f"{prefix}/{NAME}", have)
        return make(prefix)

    def check(printed: str) -> dict[str, int]:
        found = bench.succeeded("sent_bytes", "held_bytes", "mounted_blobs")(printed) if name == "image_copy" else {}
        content.proved(registry, f"{prefix}/{NAME}", want)
        return found

    return bench.Contender(name, prepare, check)
