# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compression of layers and of whole archives: recognised by their first bytes, expanded as a stream."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import sys
import tempfile
import threading
import typing as t
import zlib

from .._errors import ArchiveError, shown
from .._process import PIPE, Process

HEAD = 6
"""Bytes that ``sniff`` wants."""

_MAGIC = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))

FREE, RATIO = 1 << 30, 200
"""Bytes that anything may expand to, and how many times its own size it may expand to beyond them."""

_PIECE = 1 << 16
"""Bytes that are read of a stream at once."""

_XZ_MEMORY = 256 << 20
"""Bytes for the dictionary of an xz file; ``xz -9`` wants a quarter of it."""


def sniff(head: bytes) -> str:
    """``gzip``, ``bzip2``, ``xz``, ``zstd``, or an empty string for anything else."""
    return next((name for magic, name in _MAGIC if head.startswith(magic)), "")


class Expanding:
    """A binary reader of what a compressed stream expands to; close it before the stream.

    Raises ArchiveError if the stream is damaged or cut off, expands like a decompression bomb, or if nothing here reads
    zstd. ``where`` names it in messages.
    """

    def __init__(self, stream: t.BinaryIO, kind: str, where: str) -> None:
        self._kind = kind
        self._where = where
        self._packed = _Counted(stream)
        self._reader, self._damage = _reader(self._packed, kind, where)
        self._count = 0
        self.close = self._reader.close

    def read(self, n: int) -> bytes:
        """At most n bytes; none at the end alone."""
        try:
            data = t.cast(bytes, self._reader.read(n))
        except self._damage as error:
            raise ArchiveError(
                "%s: its %s data is damaged or cut off (%s)" % (self._where, self._kind, shown(str(error))), "make or copy it again"
            ) from None
        self._count += len(data)
        if self._count > FREE + RATIO * self._packed.count:
            raise ArchiveError(
                "%s: expands to more than %d times its size, as decompression bombs do" % (self._where, RATIO),
                "if you trust who made it, expand it yourself and give what comes out",
            )
        return data


class _Counted:
    """A stream, and how many bytes were read of it."""

    def __init__(self, stream: t.BinaryIO) -> None:
        self._stream = stream
        self.count = 0

    def read(self, n: int = -1) -> bytes:
        data = self._stream.read(n)
        self.count += len(data)
        return data


def _reader(stream: t.Any, kind: str, where: str) -> t.Tuple[t.Any, t.Tuple[t.Type[Exception], ...]]:
    """A reader, and what it raises on damaged input."""
    if kind == "gzip":
        return gzip.GzipFile(fileobj=stream, mode="rb"), (OSError, EOFError, zlib.error)
    if kind == "bzip2":
        return _Streams(stream, bz2.BZ2Decompressor), (OSError, EOFError)
    if kind == "xz":
        return _Streams(stream, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)), (OSError, EOFError, lzma.LZMAError)
    return _zstd(stream, where)


def _zstd(stream: t.Any, where: str) -> t.Tuple[t.Any, t.Tuple[t.Type[Exception], ...]]:
    """Python 3.14's own reader, else the package zstandard, else the program zstd."""
    try:
        from compression import zstd

        return zstd.ZstdFile(stream), (OSError, EOFError, zstd.ZstdError)
    except ImportError:
        pass
    try:
        import zstandard

        return zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True), (OSError, zstandard.ZstdError)
    except ImportError:
        pass
    program = shutil.which("zstd")
    if program:
        return _Program([program, "-d", "-c", "-q"], stream), (OSError,)
    raise ArchiveError(
        "%s is compressed with zstd, which nothing here reads" % where, "install the program zstd, or the package zstandard for %s" % sys.executable
    )


class _Streams:
    """A reader of compressed streams that follow each other, with zeros between them, as bzip2 and xz have them.

    The standard library's own reader lets an xz file ask for any amount of memory.
    """

    def __init__(self, stream: t.Any, decompressor: t.Callable[[], t.Any]) -> None:
        self._stream = stream
        self._fresh = decompressor
        self._one = decompressor()

    def read(self, n: int) -> bytes:
        while True:
            packed = b""
            if self._one.eof:
                packed = self._one.unused_data.lstrip(b"\0") or self._stream.read(_PIECE).lstrip(b"\0")
                if not packed:
                    return b""
                self._one = self._fresh()
            elif self._one.needs_input:
                packed = self._stream.read(_PIECE)
                if not packed:
                    raise EOFError("it ends in the middle")
            data = t.cast(bytes, self._one.decompress(packed, n))
            if data:
                return data

    def close(self) -> None:
        """Nothing is held open."""


class _Program:
    """A reader of what a filter program makes of a stream; its complaint becomes an OSError at the end."""

    def __init__(self, command: t.List[str], stream: t.BinaryIO) -> None:
        self._complaint = tempfile.TemporaryFile()
        self._process = Process(command, stdin=PIPE, stdout=PIPE, stderr=self._complaint)
        self._feeder = threading.Thread(target=self._feed, args=(stream,), daemon=True)
        self._feeder.start()

    def _feed(self, stream: t.BinaryIO) -> None:
        try:
            with t.cast(t.BinaryIO, self._process.stdin) as pipe:
                shutil.copyfileobj(stream, pipe, _PIECE)
        except OSError:  # the program gave up, or the stream broke off: the program says so
            pass

    def read(self, n: int = -1) -> bytes:
        data = t.cast(t.BinaryIO, self._process.stdout).read(n)
        if not data and n and self._process.wait() != 0:
            self._complaint.seek(0)
            raise OSError(self._complaint.read(300).decode("utf-8", "replace").strip())
        return data

    def close(self) -> None:
        t.cast(t.BinaryIO, self._process.stdout).close()
        self._process.wait()
        self._feeder.join()
        self._complaint.close()
