# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build printed, by step, whichever builder ran it."""

from __future__ import annotations

import collections
import re
import typing as t

LINES = 20_000
"""A build that prints more loses its first lines here."""

_TAIL = 20
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Log:
    """Lines in the order in which they came; where steps run side by side, the name of the step stands before each turn of it."""

    def __init__(self) -> None:
        self._lines: t.Deque[str] = collections.deque(maxlen=LINES)
        self._names: t.Dict[str, str] = {}
        self._last: t.Dict[str, t.Deque[str]] = {}
        self._open: t.Dict[str, bytes] = {}
        self._turn = ""
        self._failed: t.Optional[str] = None

    @property
    def lines(self) -> t.List[str]:
        for key in list(self._open):
            self.end(key)
        return list(self._lines)

    def knows(self, key: str) -> bool:
        return key in self._names

    def step(self, key: str, name: str) -> None:
        """A step begins, if it did not already."""
        if key not in self._names:
            self._names[key] = " ".join(_plain(name).split())
            self._take_turn(key)

    def write(self, key: str, data: bytes) -> None:
        """A step, or the builder itself if ``key`` is none, prints this; a line ends where it says so, or where the step does."""
        *whole, rest = (self._open.pop(key, b"") + data).split(b"\n")
        for line in whole:
            self._add(key, line)
        if rest:
            self._open[key] = rest

    def end(self, key: str) -> None:
        """What a step prints next begins a line."""
        rest = self._open.pop(key, b"")
        if _shown(rest):
            self._add(key, rest)

    def fail(self, key: str) -> None:
        """This step is the one that failed; the first counts."""
        if self._failed is None:
            self._failed = key

    def failing(self) -> t.Optional[t.Tuple[str, t.List[str]]]:
        """The name of the step that failed, and the last lines that it printed; None if the build failed in none."""
        if self._failed not in self._names:
            return None
        self.end(self._failed)
        return self._names[self._failed], list(self._last.get(self._failed, ()))

    def _add(self, key: str, line: bytes) -> None:
        text = _shown(line)
        if key != self._turn:
            self._take_turn(key)
        self._lines.append(text)
        self._last.setdefault(key, collections.deque(maxlen=_TAIL)).append(text)

    def _take_turn(self, key: str) -> None:
        self.end(self._turn)
        self._turn = key
        if key in self._names:
            self._lines.append(self._names[key])


def _shown(line: bytes) -> str:
    # Of a line that was written over and over, as progress bars are, the last state counts.
    return _plain(line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2])


def _plain(text: str) -> str:
    return _ESCAPES.sub("", text).rstrip()
