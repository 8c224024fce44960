# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's folder for blobs that arrive in pieces, and what an interrupted run left in it.

    ROOT/sha256-HEX/OFFSET-SIZE-SHA256      one piece of a blob, named by where it belongs and what it must hash to

A piece is written to a name that ends in ``.part`` and renamed; one that does not hash to its name is thrown away.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import time
import typing as t

from .._errors import BlobMismatch, StagingError
from .._oci.digest import CHUNK, Verified, drain
from .._oci.extent import Extent, room

PIECE = re.compile(r"(\d{15})-(\d+)-([0-9a-f]{64})")

FOLDER = "/var/tmp"
"""Where blobs wait unless the user names another place."""

FORGOTTEN_SECONDS = 7 * 24 * 3600
"""How long what an interrupted run left is kept for the next."""


def piece_name(offset: int, data: bytes) -> str:
    return "%015d-%d-%s" % (offset, len(data), hashlib.sha256(data).hexdigest())


def blob_folder(digest: str) -> str:
    return digest.replace(":", "-")


def put(root: str, digest: str, offset: int, data: bytes) -> str:
    """Stage a piece of a blob where ``prepare`` has made the folder; its path."""
    path = os.path.join(root, blob_folder(digest), piece_name(offset, data))
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(path + ".part", "wb") as out:
        out.write(data)
    os.rename(path + ".part", path)
    return path


def default_root(engine_url: str, folder: t.Optional[str]) -> str:
    """One folder for each user and engine, so that hosts which share a machine do not share a staging folder."""
    name = hashlib.sha256(engine_url.encode()).hexdigest()[:16]
    return os.path.join(folder or FOLDER, "stowage.oci-%d" % os.geteuid(), name)


class Staging:
    """Everything works on what is there, which is to be trusted after ``check``; nothing is made before ``prepare``."""

    def __init__(self, root: str) -> None:
        self.root = root

    def prepare(self, needed: int, check_mode: bool) -> None:
        """Make the folder, for this user alone, and see that ``needed`` bytes more fit into it; check mode only looks.

        Raises StagingError as ``check`` does, and if it cannot be made or has no room.
        """
        parent = os.path.dirname(self.root)
        try:
            if not check_mode:
                os.makedirs(os.path.dirname(parent), exist_ok=True)
            for folder in (parent, self.root):
                if not check_mode and not os.path.lexists(folder):
                    os.mkdir(folder, 0o700)
                self.check()
            there = self.root
            while not os.path.isdir(there):
                there = os.path.dirname(there)
            room(there, needed, "staging what is sent", StagingError)
        except OSError as error:
            raise StagingError("%s cannot be used for staging (%s): name another folder with staging_dir" % (self.root, error.strerror)) from None

    def check(self) -> None:
        """Raises StagingError unless what is there is this user's own and nobody else can write to it."""
        for folder in (os.path.dirname(self.root), self.root):
            if not os.path.lexists(folder):
                continue
            found = os.lstat(folder)
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise StagingError(
                    "%s is not a folder that this user alone can use: remove it, or name another folder with staging_dir" % folder
                )

    def stock(self, digest: str, size: t.Optional[int], what: str) -> int:
        """Good bytes of a blob, without a gap from its start; ``size`` of them are all of it, proved by its digest.

        Pieces that do not hash to their names are removed, and so are those behind a gap: what follows may come in other
        pieces. Raises BlobMismatch, and forgets the blob, if all pieces are as they were sent and yet are not the blob: then its
        source is wrong. With ``size`` None nobody knows it yet.
        """
        if size is None or self.size(digest) != size:
            return self._good(digest)
        try:
            with self.open(digest) as stream:
                drain(Verified(t.cast(t.BinaryIO, stream), digest, size, what))
            return size
        except BlobMismatch:
            good = self._good(digest)
            if good == size:
                self._forget(digest)
                raise
            return good

    def open(self, digest: str) -> _Joined:
        return _Joined(self._pieces(digest))

    def size(self, digest: str) -> int:
        """Bytes of a blob as its pieces' names promise them."""
        return sum(piece.size for piece in self._pieces(digest))

    def clear(self, digests: t.Iterable[str]) -> None:
        """Remove these blobs, those that nobody came back for, and the folders that this leaves empty; nothing of somebody else's."""
        ours = {blob_folder(digest) for digest in digests}
        try:
            self.check()
            for name in os.listdir(self.root):
                folder = os.path.join(self.root, name)
                if name in ours or os.lstat(folder).st_mtime < time.time() - FORGOTTEN_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
            os.rmdir(self.root)
            os.rmdir(os.path.dirname(self.root))
        except (OSError, StagingError):  # nothing was staged, something else is, or it is not ours
            pass

    def _forget(self, digest: str) -> None:
        shutil.rmtree(os.path.join(self.root, blob_folder(digest)), ignore_errors=True)

    def _good(self, digest: str) -> int:
        return sum(piece.size for piece in self._pieces(digest, check=True))

    def _pieces(self, digest: str, check: bool = False) -> t.List[Extent]:
        folder = os.path.join(self.root, blob_folder(digest))
        pieces: t.List[Extent] = []
        end = 0
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            match = PIECE.fullmatch(name)
            piece = Extent(os.path.join(folder, name), 0, int(match.group(2)) if match else 0)
            follows = match is not None and int(match.group(1)) == end
            if check and not (match and follows and os.stat(piece.path).st_size == piece.size and piece.hash() == "sha256:" + match.group(3)):
                os.unlink(piece.path)
            elif follows:
                pieces.append(piece)
                end += piece.size
        return pieces


class _Joined:
    """A reader over extents, one after the other."""

    def __init__(self, extents: t.List[Extent]) -> None:
        self._left = list(reversed(extents))
        self._stream: t.Any = None

    def read(self, n: int = -1) -> bytes:
        while True:
            if self._stream is None:
                if not self._left:
                    return b""
                self._stream = self._left.pop().open()
            data: bytes = self._stream.read(n if n >= 0 else CHUNK)
            if data:
                return data
            self._stream.__exit__()
            self._stream = None

    def __enter__(self) -> _Joined:
        return self

    def __exit__(self, *exc: t.Any) -> None:
        if self._stream is not None:
            self._stream.__exit__()
