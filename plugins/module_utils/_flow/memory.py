# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host remembers of builds: digests of files, and what it built last. Without it everything works, slower, and with fewer words."""

from __future__ import annotations

import hashlib
import os
import typing as t

from .._oci.context import Tree
from .._oci.kept import load, store
from .._plan.build import Last

Entries = t.Dict[str, str]
"""Of each path of a context, what it was."""


class Past(t.NamedTuple):
    """The last build of a tag; ``entries`` are what its context had."""

    built: Last
    entries: Entries


class Memory:
    """Of one tag at one engine; ``kept`` false remembers nothing."""

    def __init__(self, engine_url: str, tag: str, kept: bool) -> None:
        self._kept = kept
        self._file = _file("build", engine_url, tag)
        self.last = self._load() if kept else None

    def hashes(self, folder: t.Optional[str]) -> t.Optional[str]:
        """The file for the digests of a folder's files."""
        return _file("files", os.path.realpath(folder)) if self._kept and folder else None

    def remember(self, digest: str, image_id: str, tree: Tree) -> None:
        # The same digest is of the same entries.
        if self._kept and not (self.last and self.last.built == Last(digest, image_id)):
            store(self._file, {"digest": digest, "image_id": image_id, "entries": entries(tree)})

    def _load(self) -> t.Optional[Past]:
        try:
            document = load(self._file)
            return Past(Last(document["digest"], document["image_id"]), dict(document["entries"]))
        except (KeyError, TypeError, ValueError):
            return None


def entries(tree: Tree) -> Entries:
    return {entry.path: "%s %o %s%s" % (entry.kind, entry.mode, entry.digest[:16], entry.target) for entry in tree.entries}


def _file(kind: str, *about: str) -> str:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME") or "/", ".cache")
    name = hashlib.sha256("\0".join(about).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return os.path.join(home, "stowage.oci", "%s-%s.json" % (kind, name))
