# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_build, community.docker's docker_image_build with `rebuild: always`, and docker build, all by the engine's BuildKit.

The modules run in plays, but for the case without one: it tells what a look at many files costs that are as they were, and its floor is to
hash them. The floor of the others is a play with as many `ping`. `docker build` is never in a play.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import re
import sys
import tarfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator

import bench
import engines

TITLE = "folder → image"
STORES = {"docker-28": "classic store", "docker-28-containerd": "containerd store"}
BUILDS = 20
ROUND = itertools.count()

OURS, FORGETFUL, PEER, DOCKER, FLOOR = "image_build", "image_build, hash_cache: false", "docker_image_build", "docker build", "floor"

HASH = """
import concurrent.futures, hashlib, os, sys

def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()

paths = [os.path.join(folder, name) for folder, folders, names in os.walk(sys.argv[1]) for name in names]
with concurrent.futures.ThreadPoolExecutor() as pool:
    print(len(set(pool.map(digest, paths))))
"""
"""Not sha256sum: it has one thread, and Debian's does not know the processor's instructions for it."""


@dataclass
class Context:
    """A folder with a Dockerfile; once it is moved it is one that no builder has seen."""

    path: Path

    def change(self) -> None:
        (self.path / "changed").write_text(f"round {next(ROUND)}")

    def move(self) -> None:
        self.path = self.path.rename(self.path.with_name(f"moved-{next(ROUND)}"))
        self.change()


def cases(folder: Path, stack: ExitStack) -> Iterator[bench.Case]:
    base = f"{stack.enter_context(engines.registry(folder / 'registry')).host}/bench/base:1"
    small = [_context(folder / f"small-{number}", base, 10, 1_000) for number in range(BUILDS)]
    large = _context(folder / "large", base, 10_000, 100_000)
    fresh = _context(folder / "fresh", base, 200, 100_000)
    for kind, store in STORES.items():
        with engines.start(kind, folder / kind) as engine:
            site = Site(engine, folder)
            site.have(base)
            yield site.unchanged(f"{store}: 10 files, unchanged", small[:1], (OURS, FORGETFUL, PEER, DOCKER, FLOOR))
            if kind == "docker-28":
                many = f"{store}: {BUILDS} times 10 files, unchanged"
                yield site.unchanged(many, small, (OURS, PEER, FLOOR))
                yield site.alone(f"{store}: 10,000 files, 1 GB, no play", large)
                yield site.built(f"{store}: 200 files of 100 kB, first build", fresh, fresh.move)
                yield site.built(f"{store}: 200 files of 100 kB, one changed", fresh, fresh.change)


@dataclass
class Site:
    """An engine that builds."""

    engine: engines.Engine
    folder: Path

    def have(self, base: str) -> None:
        """The image that all others are built from, at the engine and in its registry."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("base"))
        name, _colon, tag = base.rpartition(":")
        self.engine.call("POST", f"/images/create?fromSrc=-&repo={name}&tag={tag}", layer.getvalue())
        self.engine.call("POST", f"/images/{name}/push?tag={tag}", headers={"X-Registry-Auth": "e30="})

    def unchanged(self, title: str, contexts: list[Context], names: tuple[str, ...]) -> bench.Case:
        self._build(contexts)
        return bench.Case(title, [self._contender(name, contexts, name == PEER) for name in names])

    def alone(self, title: str, context: Context) -> bench.Case:
        self._build([context])
        return bench.Case(title, [
            *[bench.Contender(name, lambda name=name: self._module(name, context), _kept) for name in (OURS, FORGETFUL)],
            self._contender(DOCKER, [context], False),
            bench.Contender(FLOOR, lambda: bench.Command([sys.executable, "-c", HASH, str(context.path)])),
        ])

    def built(self, title: str, context: Context, before: Callable[[], None]) -> bench.Case:
        return bench.Case(title, [self._contender(name, [context], True, before) for name in (OURS, PEER, DOCKER)])

    def _build(self, contexts: list[Context]) -> None:
        for context in contexts:
            _sample, printed = bench.measure(self._module(OURS, context))
            bench.succeeded()(printed)

    def _contender(self, name: str, contexts: list[Context], changed: bool, before: Callable[[], None] = lambda: None) -> bench.Contender:
        """`changed`: what a play must say. `before`: what happens each time, unmeasured."""
        def prepare() -> bench.Command:
            before()
            return self._command(name, contexts)

        def check(printed: str) -> None:
            assert name == DOCKER or re.search(f"ok=1 +changed={changed:d} ", printed), printed

        return bench.Contender(name, prepare, check)

    def _command(self, name: str, contexts: list[Context]) -> bench.Command:
        builds = {str(context.path): _tag(name, context) for context in contexts}
        if name == DOCKER:
            [(path, tag)] = builds.items()
            return self._here(bench.Command(["docker", "build", "--quiet", "--tag", tag, path]))
        tag, path = "{{ item.value }}", "{{ item.key }}"
        ours = {"stowage.oci.image_build": _ours(name, tag, path)}
        peer = {"community.docker.docker_image_build": {"name": tag, "path": path, "rebuild": "always"}}
        module = {PEER: peer, FLOOR: {"ansible.builtin.ping": {}}}.get(name, ours)
        return self._here(bench.play(self.folder, {**module, "loop": "{{ builds | dict2items }}", "vars": {"builds": builds}}))

    def _module(self, name: str, context: Context) -> bench.Command:
        return self._here(bench.module("image_build", **_ours(name, _tag(name, context), str(context.path))))

    def _here(self, command: bench.Command) -> bench.Command:
        """Where this engine is the only one, with its own program docker."""
        environ = {**engines.programs(self.engine), "DOCKER_HOST": self.engine.url}
        return bench.Command(["env", "-i", *(f"{key}={value}" for key, value in environ.items()), *command.argv], command.stdin)


def _ours(name: str, tag: str, path: str) -> dict[str, Any]:
    return {"tags": [tag], "path": path, "hash_cache": name == OURS}


def _tag(name: str, context: Context) -> str:
    """One for both ways of image_build; the images of others would be foreign to it."""
    return f"bench/{re.sub('[^a-z]', '-', name.partition(',')[0])}:{context.path.name}"


def _context(path: Path, base: str, files: int, size: int) -> Context:
    """Bytes that no compression makes fewer, in folders of a hundred files."""
    for number in range(files):
        file = path / f"{number // 100:02}" / f"{number:05}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(hashlib.shake_128(f"{path.name} {number}".encode()).digest(size))
    (path / "Dockerfile").write_text(f"FROM {base}\nCOPY . /srv/\n")
    return Context(path)


def _kept(printed: str) -> None:
    bench.succeeded()(printed)
    assert '"action": "kept"' in printed, printed
