# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import lzma
import os
import shutil
import subprocess
import sys
import types

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import ArchiveError
from ansible_collections.stowage.oci.plugins.module_utils._oci import compression
from ansible_collections.stowage.oci.plugins.module_utils._oci.compression import Expanding, sniff
from ansible_collections.stowage.oci.tests.unit.images import COMPRESSIONS, compress

DATA = os.urandom(300000) + b"x" * 300000


def expanded(packed, kind, n=100000):
    reader = Expanding(io.BytesIO(packed), kind, "here")
    try:
        return b"".join(iter(lambda: reader.read(n), b""))
    finally:
        reader.close()


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_recognises_and_expands(kind):
    packed = compress(DATA, kind)
    assert sniff(packed[: compression.HEAD]) == kind
    assert expanded(packed, kind) == DATA
    assert expanded(packed, kind, 7777) == DATA


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_expands_streams_that_follow_each_other(kind):
    assert expanded(compress(DATA, kind) + compress(b"", kind) + compress(b"more", kind), kind) == DATA + b"more"


def test_zeros_may_pad_xz_streams():
    packed = compress(b"one", "xz")
    assert expanded(packed + b"\0" * 8 + packed + b"\0" * 4, "xz") == b"oneone"


@pytest.mark.parametrize("head", [b"", b"\x1f", b"{", b"BZ", b"ustar\0"])
def test_anything_else_is_not_compressed(head):
    assert sniff(head) == ""


@pytest.mark.parametrize("kind", COMPRESSIONS)
@pytest.mark.parametrize("left", [5, 0.2, 0.9, -1])
def test_says_that_the_data_is_cut_off(kind, left):
    packed = compress(DATA, kind)
    cut = packed[: left if isinstance(left, int) else int(len(packed) * left)]
    with pytest.raises(ArchiveError, match=r"^here: its %s data is damaged or cut off \(.+\): make or copy it again$" % kind):
        expanded(cut, kind)


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_says_that_the_data_is_damaged(kind):
    packed = bytearray(compress(DATA, kind))
    for at in range(1000, 1200):
        packed[at] ^= 0xFF
    with pytest.raises(ArchiveError, match="^here: its %s data is damaged or cut off" % kind):
        expanded(bytes(packed), kind)


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd"])
def test_says_that_something_else_follows_the_data(kind):
    with pytest.raises(ArchiveError, match="^here: its %s data is damaged" % kind):
        expanded(compress(DATA, kind) + b"something else", kind)


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_refuses_a_bomb(kind, monkeypatch):
    monkeypatch.setattr(compression, "FREE", 1 << 24)
    piece = compress(b"\0" * (1 << 24), kind)
    with pytest.raises(ArchiveError, match="^here: expands to more than 200 times its size, as decompression bombs do: if you trust who"):
        expanded(piece * 20, kind, 1 << 20)
    assert len(expanded(piece, kind, 1 << 20)) == 1 << 24


def test_an_xz_file_does_not_take_the_memory_that_it_asks_for():
    packed = lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}])
    with pytest.raises(ArchiveError, match="^here: its xz data is damaged or cut off .*[Mm]emory"):
        expanded(packed, "xz")


def test_closes_a_program_that_has_more_to_say():
    reader = Expanding(io.BytesIO(compress(os.urandom(10000000), "zstd")), "zstd", "here")
    assert len(reader.read(10)) == 10
    reader.close()


def test_a_stream_that_breaks_off_is_cut_off():
    class Breaks(io.BytesIO):
        def read(self, n=-1):
            if self.tell() > 100000:
                raise OSError(5, "Input/output error")
            return super().read(n)

    for kind in COMPRESSIONS:
        with pytest.raises(ArchiveError, match="^here: its %s data is damaged or cut off" % kind):
            reader = Expanding(Breaks(compress(DATA, kind)), kind, "here")
            try:
                while reader.read(100000):
                    pass
            finally:
                reader.close()


class ZstdError(Exception):
    """What Python 3.14's reader and the package zstandard raise; neither derives from anything else."""


def whole(stream, **_options):
    done = subprocess.run(["zstd", "-dqc"], input=stream.read(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise ZstdError("no frame")
    return io.BytesIO(done.stdout)


class Lazily:
    """Reads when it is asked to, as real readers do."""

    def __init__(self, stream, **_options):
        self.stream, self.whole = stream, None

    def read(self, n):
        self.whole = self.whole or whole(self.stream)
        return self.whole.read(n)

    def close(self):
        """There is nothing to close."""


@pytest.fixture(params=["python 3.14", "zstandard"])
def no_program(request, monkeypatch):
    """A Python that reads zstd without the program."""
    if request.param == "zstandard":
        decompressor = types.SimpleNamespace(stream_reader=Lazily)
        monkeypatch.setitem(sys.modules, "compression", None)
        monkeypatch.setitem(sys.modules, "zstandard", types.SimpleNamespace(ZstdDecompressor=lambda: decompressor, ZstdError=ZstdError))
    else:
        module = types.ModuleType("compression")
        module.zstd = types.SimpleNamespace(ZstdFile=Lazily, ZstdError=ZstdError)
        monkeypatch.setitem(sys.modules, "compression", module)
    monkeypatch.setattr(shutil, "which", lambda name: None)


def test_python_may_read_zstd_itself(no_program):
    assert expanded(compress(DATA, "zstd"), "zstd") == DATA
    with pytest.raises(ArchiveError, match=r"^here: its zstd data is damaged or cut off \(no frame\)"):
        expanded(compress(DATA, "zstd")[:1000], "zstd")


def test_says_what_reads_zstd_where_nothing_does(monkeypatch):
    monkeypatch.setitem(sys.modules, "compression", None)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ArchiveError, match="^here is compressed with zstd, which nothing here reads: install the program zstd, or the package"):
        Expanding(io.BytesIO(), "zstd", "here")
