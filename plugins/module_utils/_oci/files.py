# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The named files that an archive consists of, wherever they lie: in a folder, in a tar, in a compressed tar.

Three classes of one shape: ``has``, ``size``, ``head``, ``sha256``, ``read`` and ``extents``. Nothing is ever unpacked by
its name, and yet a name that would leave the archive is refused: who writes one is not to be trusted with the rest.
All of them can be pickled, and used from several processes at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import posixpath
import shutil
import tarfile
import typing as t

from .._errors import ArchiveError
from . import compression
from .digest import CHUNK
from .manifest import LIMIT

_DOCUMENTS = 256 << 20
"""Bytes of JSON that are kept in memory of one compressed archive."""

_RATIO = 1000
"""No image shrinks by more than this; what does is a decompression bomb."""


class Extent(t.NamedTuple):
    """Bytes on disk: ``size`` of them from ``offset`` in the file ``path``."""

    path: str
    offset: int
    size: int

    def open(self) -> t.BinaryIO:
        return t.cast(t.BinaryIO, _Window(self))

    def hash(self) -> str:
        """``sha256:hex`` of the bytes."""
        digest = hashlib.sha256()
        with self.open() as stream:
            for data in iter(lambda: stream.read(CHUNK), b""):
                digest.update(data)
        return "sha256:" + digest.hexdigest()


class _Window:
    """A reader of an extent."""

    def __init__(self, extent: Extent) -> None:
        self._file = open(extent.path, "rb")
        self._file.seek(extent.offset)
        self._left = extent.size

    def read(self, n: int = -1) -> bytes:
        data = self._file.read(self._left if n < 0 else min(n, self._left))
        self._left -= len(data)
        return data

    def __enter__(self) -> _Window:
        return self

    def __exit__(self, *exc: t.Any) -> None:
        self._file.close()


class FolderFiles:
    """Files below a folder; a symbolic link may point anywhere below it and nowhere else."""

    def __init__(self, root: str) -> None:
        self.where = root
        self._root = os.path.realpath(root)

    def _path(self, name: str) -> str:
        path = os.path.realpath(os.path.join(self._root, _safe(name, self.where)))
        if os.path.commonpath([path, self._root]) != self._root:
            raise ArchiveError("%s: %s is a link that leaves the folder: nothing is read through it" % (self.where, name))
        return path

    def has(self, name: str) -> bool:
        return os.path.isfile(self._path(name))

    def size(self, name: str) -> int:
        return os.stat(self._path(name)).st_size

    def head(self, name: str) -> bytes:
        with open(self._path(name), "rb") as stream:
            return stream.read(compression.HEAD)

    def sha256(self, name: str) -> str:
        return self.extents([name])[name].hash()

    def read(self, name: str) -> bytes:
        _bounded(self.size(name), name, self.where)
        with open(self._path(name), "rb") as stream:
            return stream.read(LIMIT)

    def extents(self, names: t.Iterable[str]) -> t.Dict[str, Extent]:
        return {name: Extent(self._path(name), 0, self.size(name)) for name in names}


class TarFiles:
    """Files of an uncompressed tar, read in place; only headers are read to list them."""

    def __init__(self, path: str) -> None:
        self.where = path
        self._members: t.Dict[str, t.Tuple[int, int]] = {}
        links: t.Dict[str, str] = {}
        end = os.stat(path).st_size
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    name = _checked(member, path, links)
                    if name:
                        if member.offset_data + member.size > end:
                            raise _truncated(path, "it ends in the middle of %s" % name)
                        self._members[name] = (member.offset_data, member.size)
        except (tarfile.TarError, *compression.DAMAGED) as error:
            raise _truncated(path, str(error)) from None
        _resolve(links, self._members, path)

    def has(self, name: str) -> bool:
        return name in self._members

    def size(self, name: str) -> int:
        return self._members[name][1]

    def head(self, name: str) -> bytes:
        with self._extent(name).open() as stream:
            return stream.read(compression.HEAD)

    def sha256(self, name: str) -> str:
        return self._extent(name).hash()

    def read(self, name: str) -> bytes:
        _bounded(self.size(name), name, self.where)
        with self._extent(name).open() as stream:
            return stream.read()

    def extents(self, names: t.Iterable[str]) -> t.Dict[str, Extent]:
        return {name: self._extent(name) for name in names}

    def _extent(self, name: str) -> Extent:
        return Extent(self.where, *self._members[name])


class _Facts(t.NamedTuple):
    size: int
    head: bytes
    sha256: str  # of compressed members alone: of all others the digest is known from a document


class PackedFiles:
    """Files of a compressed tar. One pass learns names, sizes and documents and writes nothing; a second one, made only
    when bytes are wanted, expands just the wanted files into ``scratch``, and no further than their stated size.
    """

    def __init__(self, path: str, kind: str, scratch: str) -> None:
        self.where = path
        self._kind = kind
        self._scratch = scratch
        self._members: t.Dict[str, _Facts] = {}
        self._documents: t.Dict[str, bytes] = {}
        links: t.Dict[str, str] = {}
        kept = 0
        for member, stream in self._walk():
            name = _checked(member, path, links)
            if not name:
                continue
            facts, document = _look(stream, member.size)
            self._members[name] = facts
            if document is not None:
                kept += len(document)
                if kept > _DOCUMENTS:
                    raise ArchiveError("%s: more than %d MiB of JSON: not an image archive" % (path, _DOCUMENTS >> 20))
                self._documents[name] = document
        _resolve(links, self._members, path)
        self._links = links

    def has(self, name: str) -> bool:
        return name in self._members

    def size(self, name: str) -> int:
        return self._members[name].size

    def head(self, name: str) -> bytes:
        return self._members[name].head

    def sha256(self, name: str) -> str:
        return self._members[name].sha256

    def read(self, name: str) -> bytes:
        _bounded(self.size(name), name, self.where)
        document = self._documents.get(self._links.get(name, name))
        if document is None:
            raise ArchiveError("%s: %s is not JSON" % (self.where, name))
        return document

    def extents(self, names: t.Iterable[str]) -> t.Dict[str, Extent]:
        real = {name: self._links.get(name, name) for name in names}
        os.makedirs(self._scratch, mode=0o700, exist_ok=True)
        with locked(os.path.join(self._scratch, "lock")):
            absent = {name for name in real.values() if not os.path.exists(self._expanded(name))}
            if absent:
                self._expand(absent)
        return {name: Extent(self._expanded(real[name]), 0, self.size(name)) for name in real}

    def _expanded(self, name: str) -> str:
        return os.path.join(self._scratch, hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest())

    def _expand(self, wanted: t.Set[str]) -> None:
        room(self._scratch, sum(self.size(name) for name in wanted), "expanding %s" % self.where)
        for member, stream in self._walk():
            name = posixpath.normpath(member.name)
            if name in wanted and member.isreg():
                path = self._expanded(name)
                with open(path + ".part", "wb") as out:
                    shutil.copyfileobj(stream, out, CHUNK)
                os.rename(path + ".part", path)

    def _walk(self) -> t.Iterator[t.Tuple[tarfile.TarInfo, t.Any]]:
        with open(self.where, "rb") as raw:
            bounded = _Bounded(raw, compression.expanding(raw, self._kind, self.where), self.where)
            try:
                with tarfile.open(fileobj=t.cast(t.BinaryIO, bounded), mode="r|", bufsize=CHUNK) as tar:
                    for member in tar:
                        yield member, tar.extractfile(member) if member.isreg() else None
            except (tarfile.TarError, *compression.DAMAGED) as error:
                raise _truncated(self.where, str(error)) from None
            finally:
                bounded.close()


class _Bounded:
    """What a compressed file expands to, as long as that stays in proportion."""

    def __init__(self, raw: t.BinaryIO, expanding: t.Any, where: str) -> None:
        self._expanding = expanding
        self._where = where
        self._bound = os.fstat(raw.fileno()).st_size * _RATIO + LIMIT
        self.close = expanding.close

    def read(self, n: int) -> bytes:
        data = self._expanding.read(n)
        self._bound -= len(data)
        if self._bound < 0:
            raise ArchiveError("%s: expands to more than %d times its size: a decompression bomb, not an image" % (self._where, _RATIO))
        return data


def expand(extent: Extent, path: str, what: str) -> Extent:
    """Write to ``path`` what a compressed blob expands to, unless it is there already; raises ArchiveError if it is damaged."""
    if not os.path.exists(path):
        room(os.path.dirname(path), extent.size, "expanding %s" % what)
        with extent.open() as packed:
            kind = compression.sniff(packed.read(compression.HEAD))
        try:
            with extent.open() as packed, open(path + ".part", "wb") as out:
                stream = compression.expanding(packed, kind, what)
                for data in iter(lambda: stream.read(CHUNK), b""):
                    out.write(data)
                stream.close()
        except compression.DAMAGED as error:
            os.unlink(path + ".part")
            raise ArchiveError("%s: cannot be expanded: %s" % (what, error)) from None
        os.rename(path + ".part", path)
    return Extent(path, 0, os.stat(path).st_size)


def _look(stream: t.Any, size: int) -> t.Tuple[_Facts, t.Optional[bytes]]:
    """What is remembered of a compressed tar's member, and its bytes where it looks like a document."""
    head = stream.read(compression.HEAD)
    if compression.sniff(head):
        digest = hashlib.sha256(head)
        for data in iter(lambda: stream.read(CHUNK), b""):
            digest.update(data)
        return _Facts(size, head, "sha256:" + digest.hexdigest()), None
    document = head + stream.read() if head[:1] in (b"{", b"[") and size <= LIMIT else None
    return _Facts(size, head, ""), document


def _checked(member: tarfile.TarInfo, where: str, links: t.Dict[str, str]) -> str:
    """The clean name of a regular file; an empty one for folders and links, of which the latter go into ``links``."""
    name = _safe(member.name, where)
    if member.issym():
        links[name] = _safe(posixpath.join(posixpath.dirname(name), member.linkname), where, link=member.name, target=member.linkname)
    elif member.islnk():
        links[name] = _safe(member.linkname, where, link=member.name, target=member.linkname)
    elif member.isdir():
        pass
    elif not member.isreg() or member.issparse():
        raise ArchiveError("%s: %s is a device node, a pipe or a sparse file: an image archive holds plain files" % (where, member.name))
    else:
        return name
    return ""


def _safe(name: str, where: str, link: str = "", target: str = "") -> str:
    clean = posixpath.normpath(name)
    if name.startswith("/") or target.startswith("/") or clean == ".." or clean.startswith("../") or ".." in name.split("/") and not link:
        what = "the link %s to %s" % (link, target) if link else "the name %s" % name
        raise ArchiveError("%s: %s leads out of the archive: it is refused, get the archive from somebody you trust" % (where, what))
    return clean


def _resolve(links: t.Dict[str, str], members: t.Dict[str, t.Any], where: str) -> None:
    """Let every link name what it leads to, in ``members`` and in ``links``; dangling ones are left out."""
    for name in links:
        target, steps = links[name], 0
        while target in links and steps < 40:
            target, steps = links[target], steps + 1
        if steps == 40:
            raise ArchiveError("%s: the link %s leads in a circle" % (where, name))
        if target in members:
            members[name] = members[target]
        links[name] = target


def _bounded(size: int, name: str, where: str) -> None:
    if size > LIMIT:
        raise ArchiveError("%s: %s has %d bytes: no manifest or config is larger than %d" % (where, name, size, LIMIT))


def _truncated(where: str, why: str) -> ArchiveError:
    return ArchiveError("%s: not a tar archive, or not all of it (%s): make or copy it again" % (where, why))


def room(folder: str, needed: int, purpose: str, error: t.Type[Exception] = ArchiveError) -> None:
    """Raise ``error`` unless the file system of ``folder`` has ``needed`` bytes free for an ordinary user."""
    stat = os.statvfs(folder)
    free = stat.f_bavail * stat.f_frsize
    if needed > free:
        raise error(
            "%s needs %s in %s, where %s are free: make room, or name another folder" % (purpose, human(needed), folder, human(free))
        )


def human(size: float) -> str:
    """Bytes for a message: ``0 B``, ``12.3 MB``; powers of ten, as disks and networks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            break
        size /= 1000.0
    else:
        unit = "TB"
    return "%.0f B" % size if unit == "B" else "%.1f %s" % (size, unit)


class locked:
    """Hold a file's exclusive lock; other processes wait."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file = open(self._path, "a")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *exc: t.Any) -> None:
        self._file.close()
