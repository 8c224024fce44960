# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs in pieces: how much is sent at once, and the command of a shell that stages what it reads."""

from __future__ import annotations

import shlex
import typing as t

from ..module_utils._errors import ArchiveError
from ..module_utils._flow.staging import blob_folder, piece_name
from ..module_utils._oci.extent import Extent

LEAST, FIRST, MOST = 1 << 20, 4 << 20, 16 << 20
"""Bytes that are sent at once, and so the most that an interrupted run sends twice: as many as take about a second."""

SMALL, MANY = 16 << 10, 64
"""Pieces of at most so many bytes, such as manifests and configs, go together, so many in one command."""


class Blob(t.NamedTuple):
    """A blob to send: its bytes on the controller, and how many of them the host has staged."""

    digest: str
    what: str
    extent: Extent
    staged: int


class Piece(t.NamedTuple):
    """Bytes of a blob from ``offset`` on."""

    blob: Blob
    offset: int
    data: bytes

    @property
    def last(self) -> bool:
        return self.offset + len(self.data) == self.blob.extent.size


class Pace:
    """How many bytes to send at once: each command has a price of its own, and what is on its way at an interruption is lost."""

    def __init__(self) -> None:
        self.size = FIRST

    def took(self, seconds: float) -> None:
        if seconds < 0.5:
            self.size = min(self.size * 2, MOST)
        elif seconds > 2:
            self.size = max(self.size // 2, LEAST)


def cut(blobs: t.Sequence[Blob], pace: Pace) -> t.Iterator[Piece]:
    """What the host has not staged, the small blobs first."""
    for blob in sorted(blobs, key=lambda blob: blob.extent.size > SMALL):
        offset, extent = blob.staged, blob.extent
        with extent._replace(offset=extent.offset + offset, size=extent.size - offset).open() as stream:
            while offset < extent.size:
                data = stream.read(pace.size)
                if not data:
                    raise ArchiveError("%s: changed while it was read: run again once nobody writes to it" % extent.path)
                yield Piece(blob, offset, data)
                offset += len(data)


def batches(pieces: t.Iterable[Piece]) -> t.Iterator[t.List[Piece]]:
    """Lists of small pieces, and large ones alone."""
    batch: t.List[Piece] = []
    for piece in pieces:
        if batch and (len(piece.data) > SMALL or len(batch) == MANY):
            yield batch
            batch = []
        batch.append(piece)
        if len(piece.data) > SMALL:
            yield batch
            batch = []
    if batch:
        yield batch


def joined(pieces: t.Sequence[Piece]) -> bytes:
    return pieces[0].data if len(pieces) == 1 else b"".join(piece.data for piece in pieces)


def command(root: str, pieces: t.Sequence[Piece]) -> str:
    """A shell's way to cut its standard input into pieces, each of which has its name once it is whole.

    Of all commands only dd, a byte at a time, is sure not to read further than it is told.
    """
    take = "cat >" if len(pieces) == 1 else 'dd bs=1 count="$3" of='
    calls = []
    for piece in pieces:
        folder = "%s/%s" % (root, blob_folder(piece.blob.digest))
        calls.append("put %s %s %d" % (shlex.quote(folder), piece_name(piece.offset, piece.data), len(piece.data)))
    put = 'put() { { test -d "$1" || mkdir -p "$1"; } && %s"$1/$2.part" && mv -f "$1/$2.part" "$1/$2"; }' % take
    return "umask 077; %s; %s" % (put, " && ".join(calls))
