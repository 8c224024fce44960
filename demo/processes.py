# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of which none is left, whatever ends us: interrupts that come at a good moment, and commands in namespaces of their own."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence


class Interrupts:
    """Makes of the first SIGINT, SIGTERM or SIGHUP a KeyboardInterrupt, at once or when `held` ends. Later ones are ignored, by what
    is started then too, so that nothing disturbs the cleaning up."""

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.number: int | None = None
        self._holding = False
        for number in self.NUMBERS:
            signal.signal(number, self._come)

    def _come(self, came: int, _frame: Any) -> None:
        for number in self.NUMBERS:
            signal.signal(number, signal.SIG_IGN)
        self.number = came
        if not self._holding:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """For what must not be left half-done."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            if self.number is not None:
                raise KeyboardInterrupt


def unshare(mapping: str) -> list[str]:
    """The command that makes namespaces; an ordinary user may only within one of his own, where `mapping` says who he is."""
    return ["unshare", *(["--user", mapping] if os.geteuid() else [])]


def run(command: Sequence[Any], environ: Mapping[str, str], screen: Path, interrupts: Interrupts) -> int:
    """Run a command and return its exit code; the file `screen` gets what it prints.

    It is the first process of a namespace: when it ends, or we are interrupted, the kernel ends all that it started.
    """
    command = [*unshare("--map-current-user"), "--pid", "--fork", "--kill-child", *command]
    process = None
    with open(screen, "w", encoding="utf-8") as out:
        try:
            with interrupts.held():
                process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
            return process.wait()
        finally:
            if process:
                _end(process)


def _end(process: subprocess.Popen) -> None:
    """Kill the first process of the namespace, and wait until the kernel has ended all others."""
    if process.poll() is None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in children or [process.pid]:
            os.kill(int(pid), signal.SIGKILL)
        process.wait()
