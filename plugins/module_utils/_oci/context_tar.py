# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build contexts that are tars, plain or compressed. As with Docker, no .dockerignore leaves anything of one out.

Python's tarfile reads them: unlike an image archive, a context is the user's own.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import sys
import tarfile
import typing as t

from .._errors import ArchiveError, ContextChanged, ContextError, InvalidInput, shown
from . import compression
from .context import Entry, Tree, members
from .digest import CHUNK
from .extent import open_file
from .hashes import facts

_DAMAGED = (tarfile.TarError, OSError, EOFError, ValueError)


class TarContext:
    """``tree`` is what a folder would measure that the tar unpacks to."""

    def __init__(self, path: str) -> None:
        """Raises InvalidInput if it is no file, ContextError for a tar that is damaged, or whose names lead out of it, ArchiveError for
        damaged compression."""
        self._path = path
        with self._opened() as (stream, found):
            self._found = found
            try:
                self.tree = Tree(_entries(stream, path).values())
            except _DAMAGED as error:
                raise ContextError("%s: not a tar, or not all of it (%s): make or copy it again" % (shown(path), shown(str(error)))) from None
        self._check()

    def packed(self, extra: t.Mapping[str, bytes]) -> t.Iterator[bytes]:
        """The tar as it expands, after the files ``extra`` that are not in it. Raises ContextChanged if it is not what was measured."""
        yield from members(extra)
        with self._opened() as (stream, found):
            self._check(found)
            yield from iter(lambda: stream.read(CHUNK), b"")
        self._check()

    def read(self, path: str) -> bytes:
        """The bytes of one file of the tree. Raises ContextChanged if the tar is not what was measured."""
        with self._opened() as (stream, found):
            self._check(found)
            held = b""
            with _reading(stream) as archive:
                for one in archive:
                    if one.isreg() and _clean(one.name, self._path) == path:
                        held = t.cast(t.IO[bytes], archive.extractfile(one)).read()
        return held

    @contextlib.contextmanager
    def _opened(self) -> t.Iterator[t.Tuple[t.Any, t.List[int]]]:
        try:
            file = open_file(self._path)
        except ArchiveError:
            raise InvalidInput("%s is neither a folder nor a tar that can be read: a build context is one of them" % shown(self._path)) from None
        try:
            found = facts(os.fstat(file.fileno()))
            kind = compression.sniff(file.read(compression.HEAD))
            file.seek(0)
            if kind:
                with contextlib.closing(compression.Expanding(file, kind, self._path)) as expanding:
                    yield expanding, found
            else:
                yield file, found
        finally:
            file.close()

    def _check(self, found: t.Optional[t.List[int]] = None) -> None:
        try:
            found = found or facts(os.stat(self._path))
        except OSError:
            found = None
        if found != self._found:
            raise ContextChanged("%s: changed while it was read: build again once nobody writes to it" % shown(self._path))


def _reading(stream: t.Any) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="r|", encoding=sys.getfilesystemencoding(), errors="surrogateescape")


def _entries(stream: t.Any, where: str) -> t.Dict[str, Entry]:
    """By path; of several members of one name the last counts."""
    entries: t.Dict[str, Entry] = {}
    with _reading(stream) as archive:
        for one in archive:
            path, mode = _clean(one.name, where), one.mode & 0o7777
            if path == ".":
                continue
            if one.isreg():
                entries[path] = Entry(path, "file", mode, one.size, _hash(t.cast(t.IO[bytes], archive.extractfile(one))))
            elif one.islnk():
                target = _clean(one.linkname, where)
                if target not in entries:
                    raise ContextError("%s: %s is a hard link to %s, which is not in it" % (shown(where), shown(path), shown(target)))
                entries[path] = entries[target]._replace(path=path)
            elif one.issym():
                entries[path] = Entry(path, "link", 0o777, target=one.linkname)
            elif one.ischr() or one.isblk():
                target = "%d:%d" % (one.devmajor, one.devminor)
                entries[path] = Entry(path, "device" if one.ischr() else "block", mode, target=target)
            else:
                entries[path] = Entry(path, "fifo" if one.isfifo() else "dir", mode)
    return entries


def _clean(name: str, where: str) -> str:
    if ".." in name.split("/"):
        raise ContextError("%s: the name %s leads out of it: pack the folder again, from within" % (shown(where), shown(name)))
    return posixpath.normpath(name.lstrip("/") or ".")


def _hash(stream: t.IO[bytes]) -> str:
    digest = hashlib.sha256()
    for data in iter(lambda: stream.read(CHUNK), b""):
        digest.update(data)
    return digest.hexdigest()
