# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The named files that an archive consists of, wherever they lie: in a folder, in a tar, in a compressed tar.

Three classes of one shape: ``has``, ``size``, ``head``, ``sha256``, ``read`` and ``extents``. Nothing is ever unpacked by
its name, and yet a name that would leave the archive is refused: who writes one is not to be trusted with the rest.
All of them can be pickled, and used from several processes at once. All raise ArchiveError.
"""

from __future__ import annotations

import abc
import contextlib
import hashlib
import os
import stat
import tempfile
import typing as t

from .._errors import ArchiveError, shown
from . import compression
from .digest import CHUNK
from .extent import Extent, locked, open_file, room, unreadable
from .manifest import LIMIT
from .tar import LEAVES, Member, Tar, clean

_DOCUMENTS = 64 << 20
"""Bytes of JSON that are kept in memory of one compressed archive; a config has some ten thousand."""

_T = t.TypeVar("_T")
"""Facts of a member, as one class keeps them."""


class _InPlace(abc.ABC):
    """Files whose bytes lie on disk as they are, each in one extent."""

    where: str

    @abc.abstractmethod
    def _extent(self, name: str) -> Extent:
        """Where the file lies."""

    def head(self, name: str) -> bytes:
        return self._extent(name).read(compression.HEAD)

    def sha256(self, name: str) -> str:
        return self._extent(name).hash()

    def read(self, name: str) -> bytes:
        return _document(self._extent(name), name, self.where)

    def extents(self, names: t.Iterable[str]) -> t.Dict[str, Extent]:
        return {name: self._extent(name) for name in names}


class FolderFiles(_InPlace):
    """Files below a folder; a symbolic link may point anywhere below it and nowhere else."""

    def __init__(self, root: str) -> None:
        self.where = root
        self._root = os.path.realpath(root)

    def has(self, name: str) -> bool:
        return self._stat(name) is not None

    def size(self, name: str) -> int:
        return self._extent(name).size

    def _extent(self, name: str) -> Extent:
        found = self._stat(name)
        if not found:
            raise ArchiveError("%s: %s was here a moment ago and is gone: run again once nobody writes to it" % (self.where, shown(name)))
        return Extent(self._path(name), 0, found.st_size)

    def _path(self, name: str) -> str:
        path = os.path.realpath(os.path.join(self._root, clean(name, self.where)))
        if os.path.commonpath([path, self._root]) != self._root:
            raise ArchiveError("%s: the link %s %s" % (self.where, shown(name), LEAVES))
        return path

    def _stat(self, name: str) -> t.Optional[os.stat_result]:
        """None where there is no plain file of this name."""
        try:
            found = os.stat(self._path(name))
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name that no file can have
            return None
        except OSError as error:
            raise unreadable("%s: %s" % (self.where, shown(name)), error) from None
        return found if stat.S_ISREG(found.st_mode) else None


class TarFiles(_InPlace):
    """Files of an uncompressed tar, read in place; only headers are read to list them."""

    def __init__(self, path: str) -> None:
        self.where = path
        with open_file(path) as stream:
            length = os.fstat(stream.fileno()).st_size
            try:
                found = ((member, (member.offset, member.size)) for member in Tar(stream, path, length))
                self._members = _by_name(found, path)
            except OSError as error:
                raise unreadable(path, error) from None

    def has(self, name: str) -> bool:
        return name in self._members

    def size(self, name: str) -> int:
        return self._members[name][1]

    def _extent(self, name: str) -> Extent:
        return Extent(self.where, *self._members[name])


class _Facts(t.NamedTuple):
    """What is remembered of a member: ``sha256`` of compressed ones alone, as of all others the digest is known from a
    document; ``document`` of what may be one."""

    offset: int
    size: int
    head: bytes
    sha256: str
    document: t.Optional[bytes]


class PackedFiles:
    """Files of a compressed tar. One pass learns names, sizes and documents and writes nothing; a second one, made only
    when bytes are wanted, expands just the wanted files into ``scratch``, and no further than their stated size.
    """

    def __init__(self, path: str, kind: str, scratch: str) -> None:
        self.where = path
        self._kind = kind
        self._scratch = scratch
        self._identity = _identity(path)
        self._left = _DOCUMENTS
        with self._tar() as tar:
            self._members = _by_name(((member, self._look(tar, member)) for member in tar), path)

    def has(self, name: str) -> bool:
        return name in self._members

    def size(self, name: str) -> int:
        return self._members[name].size

    def head(self, name: str) -> bytes:
        return self._members[name].head

    def sha256(self, name: str) -> str:
        return self._members[name].sha256

    def read(self, name: str) -> bytes:
        found = self._members[name]
        if found.document is None:
            _bounded(found.size, name, self.where)
            raise ArchiveError("%s: %s: not JSON" % (self.where, shown(name)))
        return found.document

    def extents(self, names: t.Iterable[str]) -> t.Dict[str, Extent]:
        """Raises ArchiveError if the file has changed since it was opened, or the disk is full."""
        found = {name: Extent(self._expanded(self._members[name]), 0, self.size(name)) for name in names}
        try:
            os.makedirs(self._scratch, mode=0o700, exist_ok=True)
        except OSError as error:
            raise ArchiveError("%s: cannot be made: %s" % (self._scratch, error.strerror)) from None
        with locked(os.path.join(self._scratch, "lock")):
            missing = {self._members[name].offset: extent for name, extent in found.items() if not os.path.exists(extent.path)}
            if missing:
                room(self._scratch, sum(extent.size for extent in missing.values()), "expanding %s" % self.where)
                self._expand(missing)
        return found

    def _expanded(self, facts: _Facts) -> str:
        return os.path.join(self._scratch, hashlib.sha256(("%s %d" % (self._identity, facts.offset)).encode()).hexdigest())

    def _expand(self, missing: t.Dict[int, Extent]) -> None:
        with self._tar() as tar:
            for member in tar:
                extent = missing.get(member.offset)
                if extent and not member.target and member.size == extent.size:
                    _write(extent.path, _pieces(tar))
                    del missing[member.offset]
                if not missing:
                    break
        if missing or _identity(self.where) != self._identity:
            raise ArchiveError("%s: changed while it was read: run again once nobody writes to it" % self.where)

    def _look(self, tar: Tar, member: Member) -> _Facts:
        head = tar.read(compression.HEAD)
        digest, document = "", None
        if compression.sniff(head):
            summed = hashlib.sha256(head)
            for data in _pieces(tar):
                summed.update(data)
            digest = "sha256:" + summed.hexdigest()
        elif head.lstrip()[:1] in (b"{", b"[", b"") and member.size <= LIMIT:
            document = head + tar.read(LIMIT)
            self._left -= len(document)
            if self._left < 0:
                raise ArchiveError("%s: more than %d MiB of JSON: not an image archive" % (self.where, _DOCUMENTS >> 20))
        return _Facts(member.offset, member.size, head, digest, document)

    @contextlib.contextmanager
    def _tar(self) -> t.Iterator[Tar]:
        with open_file(self.where) as packed:
            expanding = compression.Expanding(packed, self._kind, self.where)
            with contextlib.closing(expanding):
                yield Tar(expanding, self.where)


def expand(extent: Extent, path: str, what: str) -> Extent:
    """Write to ``path`` what a compressed blob expands to, unless it is there already; raises ArchiveError if it is damaged."""
    if not os.path.exists(path):
        room(os.path.dirname(path), extent.size, "expanding %s" % what)
        kind = compression.sniff(extent.read(compression.HEAD))
        with extent.open() as packed, contextlib.closing(compression.Expanding(packed, kind, what)) as expanding:
            _write(path, _pieces(expanding))
    return Extent(path, 0, os.stat(path).st_size)


def _pieces(stream: t.Any) -> t.Iterator[bytes]:
    return iter(lambda: stream.read(CHUNK), b"")


def _write(path: str, pieces: t.Iterable[bytes]) -> None:
    """A whole file or none, whoever else writes it at the same time."""
    try:
        handle, part = tempfile.mkstemp(dir=os.path.dirname(path), suffix=".part")
        try:
            with open(handle, "wb") as out:
                for data in pieces:
                    out.write(data)
            os.rename(part, path)
        except BaseException:
            os.unlink(part)
            raise
    except OSError as error:
        raise ArchiveError("%s: cannot be written: %s" % (path, error.strerror)) from None


def _by_name(found: t.Iterable[t.Tuple[Member, _T]], where: str) -> t.Dict[str, _T]:
    """Facts by name, of files and of the links that lead to them; of several members of one name the last counts."""
    files: t.Dict[str, _T] = {}
    links: t.Dict[str, str] = {}
    for member, facts in found:
        files.pop(member.name, None)
        links.pop(member.name, None)
        if member.target:
            links[member.name] = member.target
        else:
            files[member.name] = facts
    for name in links:
        target, steps = links[name], 0
        while target in links and steps < 40:
            target, steps = links[target], steps + 1
        if steps == 40:
            raise ArchiveError("%s: the link %s leads in a circle" % (where, shown(name)))
        links[name] = target
    files.update((name, files[target]) for name, target in links.items() if target in files)
    return files


def _document(extent: Extent, name: str, where: str) -> bytes:
    _bounded(extent.size, name, where)
    return extent.read(LIMIT)


def _bounded(size: int, name: str, where: str) -> None:
    if size > LIMIT:
        raise ArchiveError("%s: %s has %d bytes: no manifest or config is larger than %d" % (where, shown(name), size, LIMIT))


def _identity(path: str) -> str:
    found = os.stat(path)
    return "%d %d %d" % (found.st_size, found.st_mtime_ns, found.st_ino)


def opened(path: str, scratch: str) -> t.Union[FolderFiles, TarFiles, PackedFiles]:
    """The files of whatever lies at ``path``; a compressed tar expands into the folder ``scratch`` as far as it is asked to."""
    if os.path.isdir(path):
        return FolderFiles(path)
    with open_file(path) as stream:
        kind = compression.sniff(stream.read(compression.HEAD))
    return PackedFiles(path, kind, scratch) if kind else TarFiles(path)
