# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes on disk, room for more of them, and locks on who writes them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import typing as t

from .._errors import ArchiveError
from .digest import CHUNK


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

    def read(self, n: int) -> bytes:
        """The first n bytes, or all of fewer."""
        with self.open() as stream:
            return stream.read(n)


class _Window:
    """A reader of an extent."""

    def __init__(self, extent: Extent) -> None:
        self._file = open_file(extent.path)
        self._file.seek(extent.offset)
        self._left = extent.size
        self._path = extent.path

    def read(self, n: int = -1) -> bytes:
        try:
            data = self._file.read(self._left if n < 0 else min(n, self._left))
        except OSError as error:
            raise unreadable(self._path, error) from None
        self._left -= len(data)
        return data

    def __enter__(self) -> _Window:
        return self

    def __exit__(self, *exc: t.Any) -> None:
        self._file.close()


def open_file(path: str) -> t.BinaryIO:
    """Raises ArchiveError for what is no plain file."""
    try:
        # Without O_NONBLOCK a pipe would keep us waiting for whoever writes to it.
        stream = open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK))
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise ArchiveError("%s: neither a file nor a folder" % path, "give what docker save, podman save, skopeo or image_archive wrote")
    return stream


def unreadable(path: str, error: Exception) -> ArchiveError:
    return ArchiveError("%s: cannot be read: %s" % (path, getattr(error, "strerror", None) or error))


def room(folder: str, needed: int, purpose: str, error: t.Type[Exception] = ArchiveError) -> None:
    """Raise ``error`` unless the file system of ``folder`` has ``needed`` bytes free for an ordinary user."""
    available = free(folder)
    if needed > available:
        raise error(
            "%s needs %s in %s, where %s are free: make room, or name another folder" % (purpose, human(needed), folder, human(available))
        )


def free(folder: str) -> int:
    """Bytes that an ordinary user may still write there."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


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
