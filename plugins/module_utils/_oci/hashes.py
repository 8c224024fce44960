# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What files hashed to, so that one which nobody touched since need not be read again."""

from __future__ import annotations

import os
import time
import typing as t

from .kept import load, store

_FORMAT = 1
_SETTLED = 2_000_000_000
"""Nanoseconds after which a write to a file shows in its times, on the coarsest file system."""


class Hashes:
    """The digests of one folder's files by their paths, kept in a JSON ``file`` between runs; None keeps nothing.

    A digest counts only while size, both times and inode are as they were, and is kept only if both times lay well before the
    file was read: a write within one tick of the clock would leave them as they are. A file that is missing or damaged, or that
    others could have written, is as good as an empty one, and one that cannot be written is left alone: it only costs time.
    """

    def __init__(self, file: t.Optional[str]) -> None:
        self._file = file
        self._settled = time.time_ns() - _SETTLED
        self._known = _loaded(file) if file else {}
        self._seen: t.Dict[str, t.List[t.Any]] = {}

    def known(self, path: str, found: os.stat_result) -> str:
        """The hex digest, or an empty string."""
        entry = self._known.get(path)
        if not entry or entry[:-1] != facts(found):
            return ""
        self._seen[path] = entry
        return t.cast(str, entry[-1])

    def learn(self, path: str, found: os.stat_result, digest: str) -> None:
        if self._file and max(found.st_mtime_ns, found.st_ctime_ns) <= self._settled:
            self._seen[path] = [*facts(found), digest]

    def save(self) -> None:
        """Keep what was asked for or learned; the rest is gone from the folder."""
        if not self._file or self._seen == self._known:
            return
        store(self._file, {"format": _FORMAT, "files": self._seen})
        self._known = dict(self._seen)


def facts(found: os.stat_result) -> t.List[int]:
    """By which a file that somebody wrote to is told from what it was."""
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _loaded(file: str) -> t.Dict[str, t.List[t.Any]]:
    document = load(file)
    try:
        files = document["files"] if document["format"] == _FORMAT else {}
        return {path: entry for path, entry in files.items() if len(entry) == 5 and len(entry[-1]) == 64}
    except (KeyError, TypeError, AttributeError):
        return {}
