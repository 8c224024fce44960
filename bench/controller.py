# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What image_load costs a controller of many hosts: a bundle of ten images for engines that are only played. The floor is a play of one `ping`.

The engines are those of the unit tests, in one process that is not measured. The hosts are this machine, so the time of their modules
counts, for `ping` as for us. `tree` is the most memory, in MiB, that all processes of a play had at a time, pages that they share counted once.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Iterator

import bench

TITLE = "the controller: bundle of 10 images → 200 hosts, 50 at a time"
HOSTS, FORKS, IMAGES = 200, 50, 10
ROUNDS = 1
"""Each is the mean of all hosts already."""

OURS, FLOOR = "image_load", "floor"


def cases(folder: Path, stack: ExitStack) -> Iterator[bench.Case]:
    command = [sys.executable, __file__, str(folder / "bundle.tar")]
    engines = Engines(stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)))
    hosts = {f"host{number:03}": {"ansible_connection": "local", "engine": url} for number, url in enumerate(engines.urls)}
    load = {"stowage.oci.image_load": {"src": str(folder / "bundle.tar"), "engine_host": "{{ engine }}", "staging_dir": str(folder / "staging")}}

    def contender(name: str, task: dict[str, Any], changed: int, fresh: bool) -> bench.Contender:
        tree = Tree(engines.process.pid)

        def prepare() -> bench.Command:
            if fresh:
                engines.forget()
            tree.start()
            command = bench.play(folder, task, hosts=hosts)
            return bench.Command(["env", *(f"ANSIBLE_FORKS={FORKS}" if "FORKS" in word else word for word in command.argv[1:])])

        def check(printed: str) -> dict[str, int]:
            most = tree.stop()
            assert len(re.findall(f"ok=1 +changed={changed} ", printed)) == HOSTS, printed[-1000:]
            return {"tree": most}

        return bench.Contender(name, prepare, check)

    floor = contender(FLOOR, {"ansible.builtin.ping": {}}, 0, False)
    yield bench.Case("first time", [contender(OURS, load, 1, True), floor], main=False, rounds=ROUNDS)
    yield bench.Case("unchanged", [contender(OURS, load, 0, False), floor], (bench.Aim(OURS, FLOOR, 1.5),), main=False, rounds=ROUNDS)


class Engines:
    """Played engines in a process of their own: this file as a program."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.urls: list[str] = self._answer()

    def forget(self) -> None:
        """Let them have no image."""
        assert self.process.stdin
        print("forget", file=self.process.stdin, flush=True)
        self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())


def main() -> None:
    """Write the bundle and play the engines, until stdin ends; what is written there lets them forget."""
    sys.path.insert(0, str(bench.ROOT / "tests"))
    importlib.import_module("conftest")  # makes the checkout importable
    units = "ansible_collections.stowage.oci.tests.unit."
    images, fakes = importlib.import_module(units + "images"), importlib.import_module(units + "fakes.engine")
    base = images.layer({"base": os.urandom(100_000)}, "gzip")
    names = [f"bench.example.com/app-{number}:1" for number in range(IMAGES)]
    made = [images.image([base, images.layer({"app": os.urandom(10_000)}, "gzip")], names=[name]) for name in names]
    images.write_layout(sys.argv[1], made)
    with ExitStack() as stack:
        engines = [stack.enter_context(fakes.FakeEngine()) for _each in range(HOSTS)]
        print(json.dumps([engine.url for engine in engines]), flush=True)
        for _line in sys.stdin:
            for engine in engines:
                for name in names:
                    engine.lose(name)
            print("true", flush=True)


class Tree:
    """Looks, twice a second, at the memory of all processes that stem from this one but `other` (proc(5), smaps_rollup)."""

    def __init__(self, other: int) -> None:
        self._other = other
        self._end = threading.Event()

    def start(self) -> None:
        self._most = 0
        self._end.clear()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> int:
        """MiB at most."""
        self._end.set()
        self._thread.join()
        return self._most >> 10

    def _look(self) -> None:
        while not self._end.wait(0.5):
            parents = {int(path.name): _parent(path) for path in Path("/proc").glob("[0-9]*")}
            found, new = set(), {os.getpid()}
            while new:
                found |= new
                new = {pid for pid, parent in parents.items() if parent in new} - {self._other}
            self._most = max(self._most, sum(map(_memory, found - {os.getpid()})))


def _parent(process: Path) -> int:
    return int(_field(process / "status", "PPid:") or 0)


def _memory(pid: int) -> int:
    """KiB; what several processes share counts in part for each."""
    return int((_field(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") or "0").split()[0])


def _field(file: Path, name: str) -> str | None:
    """None if the process has gone."""
    try:
        return next(line[len(name):].strip() for line in file.read_text().splitlines() if line.startswith(name))
    except (OSError, StopIteration):
        return None


if __name__ == "__main__":
    main()
