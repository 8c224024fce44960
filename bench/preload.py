# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_load, and copy with community.docker's docker_image_load, of one docker archive on hosts that have an engine each.

The third way, where nothing changes, is the peer's with a `when`: quicker, and blind to an image that is gone. The floor is a play of one
`ping` over the same hosts. What the engines do is in the wall times alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Mapping

import bench
import engines
import sshd

TITLE = "archive → hosts"
LAYERS = 10
LAST = 0.04
"""The part of an image that its last layer is, in which OLD and NEW differ."""

OLD, NEW = "bench/app:1", "bench/app:2"
OURS, PEER, BLIND, FLOOR = "image_load", "copy, docker_image_load", "copy, docker_image_load when changed", "floor"

Archives = Mapping[str, Path]
"""By name of the image in it."""


def cases(folder: Path, stack: ExitStack) -> Iterator[bench.Case]:
    large, small = [_archives(folder / str(size), size) for size in (1_000_000_000, 100_000_000)]
    with _fleet(folder, 1, large) as fleet:
        yield from (fleet.first("1 host, 1 GB"), fleet.unchanged("1 host, 1 GB", BLIND), fleet.updated("1 host, 1 GB"))
    with _fleet(folder, 4, large) as fleet:
        yield from (fleet.unchanged("4 hosts, 1 GB"), fleet.updated("4 hosts, 1 GB"))
    with _fleet(folder, 4, small) as fleet:
        yield fleet.first("4 hosts, 100 MB")
    with _fleet(folder, 16, small) as fleet:
        yield from (fleet.first("16 hosts, 100 MB"), fleet.unchanged("16 hosts, 100 MB"), fleet.updated("16 hosts, 100 MB"))
    machine = stack.enter_context(sshd.start(folder / "sshd"))
    with _fleet(folder, 4, small, machine) as fleet:
        title = "4 hosts over ssh, 100 MB"
        yield from (fleet.first(title), fleet.unchanged(title), fleet.updated(title))


@dataclass
class Fleet:
    """Hosts by name, each with its engine and a file to which archives are copied."""

    folder: Path
    engines: dict[str, engines.Engine]
    archives: Archives
    variables: Mapping[str, Any]

    def first(self, title: str) -> bench.Case:
        return self._case(f"{title}: first time", None, OLD, (OURS, PEER), bench.Aim(OURS, PEER, 1))

    def unchanged(self, title: str, *more: str) -> bench.Case:
        return self._case(f"{title}: unchanged", OLD, OLD, (OURS, PEER, *more, FLOOR), bench.Aim(OURS, FLOOR, 1.5))

    def updated(self, title: str) -> bench.Case:
        aims = (bench.Aim(OURS, PEER, 1 / 5), bench.Aim(OURS, PEER, 1 / 20, "sent_bytes"))
        return self._case(f"{title}: last layer changed", OLD, NEW, (OURS, PEER), *aims)

    def _case(self, title: str, before: str | None, after: str, names: tuple[str, ...], *aims: bench.Aim) -> bench.Case:
        return bench.Case(title, [self._contender(name, before, after) for name in names], aims)

    def _contender(self, name: str, before: str | None, after: str) -> bench.Contender:
        def prepare() -> bench.Command:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda host: self._settle(host, before), self.engines))
            os.sync()  # what was written until now shall not be written while we measure
            return self._play(name, after)

        def check(printed: str) -> dict[str, int]:
            assert len(re.findall(r"failed=0 +skipped=\d +rescued=0", printed)) == len(self.engines), printed
            assert all(after in _names(engine) for engine in self.engines.values()), printed
            results = [json.loads(line.partition(" => ")[2]) for line in printed.splitlines() if " => {" in line]
            return {"sent_bytes": sum(result.get("sent_bytes", 0) + _copied(result) for result in results)}

        return bench.Contender(name, prepare, check)

    def _settle(self, host: str, image: str | None) -> None:
        """Let the host have this image alone, and a copy of its archive."""
        engine, copy = self.engines[host], self._copy(host)
        for name in _names(engine) - {image}:
            engine.call("DELETE", f"/images/{name}")
        copy.unlink(missing_ok=True)
        if image:
            os.link(self.archives[image], copy)
            if image not in _names(engine):
                with open(copy, "rb") as archive:
                    engine.call("POST", "/images/load", archive)

    def _play(self, name: str, image: str) -> bench.Command:
        archive = str(self.archives[image])
        copy = {"ansible.builtin.copy": {"src": archive, "dest": "{{ copy }}", "mode": "0600"}, "register": "copied"}
        load = {"community.docker.docker_image_load": {"docker_host": "{{ engine }}", "path": "{{ copy }}"}}
        tasks: dict[str, list[dict[str, Any]]] = {
            OURS: [{"stowage.oci.image_load": {"engine_host": "{{ engine }}", "src": archive, "staging_dir": "{{ copy | dirname }}"}}],
            PEER: [copy, load],
            BLIND: [copy, {**load, "when": "copied is changed"}],
            FLOOR: [{"ansible.builtin.ping": {}}],
        }
        hosts = {host: {**self.variables, "engine": engine.url, "copy": str(self._copy(host))} for host, engine in self.engines.items()}
        command = bench.play(self.folder, *tasks[name], hosts=hosts)
        return bench.Command(["env", "ANSIBLE_VERBOSITY=1", *command.argv])

    def _copy(self, host: str) -> Path:
        return self.engines[host].root / "copy.tar"


@contextmanager
def _fleet(folder: Path, count: int, archives: Archives, variables: Mapping[str, Any] | None = None) -> Iterator[Fleet]:
    with ExitStack() as stack:
        started = {f"host{number}": stack.enter_context(engines.start("docker-28", folder / f"host{number}")) for number in range(count)}
        yield Fleet(folder, started, archives, variables or {"ansible_connection": "local"})


def _names(engine: engines.Engine) -> set[str]:
    return {name for image in engine.json("GET", "/images/json") for name in image["RepoTags"]}


def _copied(result: Mapping[str, Any]) -> int:
    """Bytes that copy sent: it has no checksum of what it did not."""
    return result["size"] if result["changed"] and "checksum" in result else 0


def _archives(folder: Path, size: int) -> Archives:
    folder.mkdir()
    last = int(size * LAST)
    common = {f"layer {number}": (size - last) // (LAYERS - 1) for number in range(LAYERS - 1)}
    return {name: _archive(folder / f"{name[-1]}.tar", name, {**common, f"last layer of {name}": last}) for name in (OLD, NEW)}


def _archive(path: Path, name: str, layers: Mapping[str, int]) -> Path:
    """As docker save wrote it before it knew of OCI. `layers`: bytes by seed."""
    diff_ids = []
    with tarfile.open(path, "w") as archive:
        for seed, size in layers.items():
            layer = _layer(seed, size)
            diff_ids.append(hashlib.sha256(layer).hexdigest())
            _add(archive, f"{diff_ids[-1]}/layer.tar", layer)
        rootfs = {"type": "layers", "diff_ids": [f"sha256:{diff_id}" for diff_id in diff_ids]}
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/app"]}, "rootfs": rootfs}).encode()
        configured = f"{hashlib.sha256(config).hexdigest()}.json"
        _add(archive, configured, config)
        manifest = [{"Config": configured, "RepoTags": [name], "Layers": [f"{diff_id}/layer.tar" for diff_id in diff_ids]}]
        _add(archive, "manifest.json", json.dumps(manifest).encode())
    return path


def _layer(seed: str, size: int) -> bytes:
    """Files that no compression makes smaller, and files that any does, as many of the one as of the other."""
    layer, part = io.BytesIO(), size // 20
    with tarfile.open(fileobj=layer, mode="w") as archive:
        for number in range(10):
            noise = hashlib.shake_128(f"{seed} {number}".encode()).digest(part)
            _add(archive, f"{seed}/noise-{number}", noise)
            _add(archive, f"{seed}/words-{number}", noise[:1000] * (part // 1000))
    return layer.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
