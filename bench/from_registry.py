# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_archive with `source: registry`, crane pull and skopeo copy: an image of a registry in a file or folder."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Callable, Iterator

import bench
import content
import debs
import engines

TITLE = "registry → bundle, 10 layers of 40 MB"
NAME = "bench/app:now"


def cases(folder: Path, stack: ExitStack) -> Iterator[bench.Case]:
    registry = stack.enter_context(engines.registry(folder / "registry"))
    image, changed = content.push(registry, NAME.partition(":")[0])
    tools = _tools(folder, registry.host)

    def case(title: str, have: content.Image | None, want: content.Image) -> bench.Case:
        """`have`: the image that the bundle holds already."""
        kept = folder / ("kept" if have else "none")
        if have and not kept.exists():
            kept.mkdir()
            content.tag(registry, NAME, have)
            for name, make in tools.items():
                bench.measure(make(kept / name))
        return bench.Case(title, [_contender(registry, folder, kept, name, make, want) for name, make in tools.items()])

    yield case("first run", None, image)
    yield case("second run", image, image)
    yield case("one layer changed", image, changed)


def _tools(folder: Path, host: str) -> dict[str, Callable[[Path], bench.Command]]:
    """The command that puts the image at a path."""
    crane, reference = str(debs.crane()), f"{host}/{NAME}"

    def module(form: str) -> Callable[[Path], bench.Command]:
        return lambda path: bench.module("image_archive", path=str(path), images=[reference], format=form, plain_http=True)

    def skopeo(path: Path) -> bench.Command:
        path.unlink(missing_ok=True)  # it refuses to write where something is
        return bench.skopeo(folder / "cache", f"docker://{reference}", f"oci-archive:{path}:{NAME}")

    return {
        "image_archive": module("oci-archive"),
        "crane pull": lambda path: bench.Command([crane, "pull", reference, str(path)]),
        "skopeo copy": skopeo,
        "image_archive, folder": module("oci-layout"),
        "crane pull, folder": lambda path: bench.Command([crane, "pull", "--format=oci", reference, str(path)]),
    }


def _contender(
    registry: engines.Registry, folder: Path, kept: Path, name: str, make: Callable[[Path], bench.Command], want: content.Image
) -> bench.Contender:
    path = folder / "work" / name

    def prepare() -> bench.Command:
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir()
        content.tag(registry, NAME, want)
        if (kept / name).is_dir():
            shutil.copytree(kept / name, path)
        elif kept.exists():
            shutil.copy(kept / name, path)
        return make(path)

    def check(printed: str) -> dict[str, int]:
        found = bench.succeeded("fetched_bytes", "reused_bytes")(printed) if name.startswith("image_archive") else {}
        size = sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]))
        assert size > content.LAYERS * content.LAYER_BYTES, f"{name} wrote {size} bytes"
        return found

    return bench.Contender(name, prepare, check)
