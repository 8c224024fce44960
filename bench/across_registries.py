# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_copy, crane copy and skopeo copy: an image of a registry in another registry, and in another repository of the same."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from pathlib import Path
from typing import Callable, Iterator

import bench
import content
import debs
import engines

TITLE = "registry → registry, 10 layers of 40 MB"
NAME = "bench/app:now"
REPOSITORY = NAME.partition(":")[0]
OTHER = "kept/app"  # not of the source's name: whoever guesses that the other registry has the same repository would be right
ROUND = itertools.count()


def cases(folder: Path, stack: ExitStack) -> Iterator[bench.Case]:
    source, other = [stack.enter_context(engines.registry(folder / name)) for name in ("source", "other")]
    image, changed = content.push(source, REPOSITORY)
    content.push(other, OTHER)
    content.tag(source, NAME, image)

    def case(title: str, destination: engines.Registry, have: content.Image | None) -> bench.Case:
        """`have`: the image that the destination holds already."""
        return bench.Case(title, [_contender(destination, name, make, have, image) for name, make in _tools(folder, source.host).items()])

    yield case("first run", other, None)
    yield case("second run", other, image)
    yield case("one layer changed", other, changed)
    yield case("another repository of the same registry", source, None)


def _tools(folder: Path, source: str) -> dict[str, Callable[[str], bench.Command]]:
    """The command that puts the image at `PREFIX/bench/app:now`, where the prefix begins with the registry."""
    crane, reference = str(debs.crane()), f"{source}/{NAME}"
    return {
        "image_copy": lambda prefix: bench.module("image_copy", src=source, images=[NAME], destination=prefix, plain_http=True),
        "crane copy": lambda prefix: bench.Command([crane, "copy", reference, f"{prefix}/{NAME}"]),
        "skopeo copy": lambda prefix: bench.skopeo(folder / "cache", f"docker://{reference}", f"docker://{prefix}/{NAME}"),
    }


def _contender(
    registry: engines.Registry, name: str, make: Callable[[str], bench.Command], have: content.Image | None, want: content.Image
) -> bench.Contender:
    prefix = ""

    def prepare() -> bench.Command:
        nonlocal prefix
        prefix = f"round-{next(ROUND)}"
        if have:
            content.mount(registry, OTHER, f"{prefix}/{NAME}", have)
        return make(f"{registry.host}/{prefix}")

    def check(printed: str) -> dict[str, int]:
        found = bench.succeeded("sent_bytes", "held_bytes", "mounted_blobs")(printed) if name == "image_copy" else {}
        content.proved(registry, f"{prefix}/{NAME}", want)
        return found

    return bench.Contender(name, prepare, check)
