# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import resource
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import ArchiveError, StagingError
from ansible_collections.stowage.oci.plugins.module_utils._oci import compression, extent, files
from ansible_collections.stowage.oci.plugins.module_utils._oci.extent import Extent, human, locked, room
from ansible_collections.stowage.oci.plugins.module_utils._oci.files import expand, opened
from ansible_collections.stowage.oci.plugins.module_utils._oci.manifest import LIMIT
from ansible_collections.stowage.oci.tests.unit.images import COMPRESSIONS, compress, pack, tar, write

DATA = os.urandom(3000)
PACKED = compress(DATA, "gzip")
FILES = {
    "index.json": b'{"a": 1}', "blobs/data": DATA, "blobs/packed": PACKED, "folder/": None, "folder/link": "../blobs/data",
    "list": b"\n [1]", "empty": b"", "chain": "folder/link", "dangling": "nowhere", "document": "index.json",
}
SHAPES = ("folder", "tar") + COMPRESSIONS


def shape(kind, folder, content):
    where = write(folder / ("a" if kind == "folder" else "a.tar"), content)
    return pack(where, kind) if kind in COMPRESSIONS else where


def left(folder):
    """What lies in a scratch folder, besides its lock."""
    return sorted(path.name for path in folder.glob("*") if path.name != "lock") if folder.exists() else []


@pytest.fixture(params=SHAPES)
def one(request, tmp_path):
    return opened(str(shape(request.param, tmp_path, FILES)), str(tmp_path / "scratch"))


def test_all_shapes_hold_the_same_files(one):
    names = {"index.json", "blobs/data", "blobs/packed", "folder/link", "list", "empty", "chain", "document"}
    assert {name for name in list(FILES) + ["", "nothing", "blobs", "blobs/", "index.json/x", "n\0l"] if one.has(name)} == names
    assert [one.size(name) for name in ("index.json", "chain", "empty")] == [8, 3000, 0]
    assert one.head("blobs/packed") == PACKED[: compression.HEAD]
    assert one.head("empty") == b""
    assert one.sha256("blobs/packed") == "sha256:" + hashlib.sha256(PACKED).hexdigest()
    assert [json.loads(one.read(name).decode()) for name in ("index.json", "document", "list")] == [{"a": 1}, {"a": 1}, [1]]
    assert one.read("empty") == b""


def test_all_shapes_tell_where_bytes_lie(one):
    extents = one.extents(["blobs/data", "chain", "index.json", "blobs/packed"])
    for name, content in (("blobs/data", DATA), ("chain", DATA), ("index.json", b'{"a": 1}'), ("blobs/packed", PACKED)):
        extent = extents[name]
        assert extent.size == len(content)
        assert extent.hash() == "sha256:" + hashlib.sha256(content).hexdigest()
        with extent.open() as stream:
            assert stream.read(5) + stream.read() == content
            assert stream.read(5) == b""
    assert one.extents([]) == {}


def test_all_shapes_can_be_pickled(one):
    again = pickle.loads(pickle.dumps(one))
    assert again.read("index.json") == one.read("index.json")
    assert again.extents(["chain"]) == one.extents(["chain"])
    assert again.extents(["chain"])["chain"].read(3000) == DATA


@pytest.mark.parametrize("kind", SHAPES)
def test_no_document_is_larger_than_the_limit(kind, tmp_path):
    one = opened(str(shape(kind, tmp_path, {"small": b"{" + b" " * (LIMIT - 1), "large": b"{" + b" " * LIMIT})), str(tmp_path / "scratch"))
    assert len(one.read("small")) == LIMIT
    with pytest.raises(ArchiveError, match="large has %d bytes: no manifest or config is larger than %d" % (LIMIT + 1, LIMIT)):
        one.read("large")


@pytest.mark.parametrize("kind", SHAPES[1:])
def test_of_two_members_of_one_name_the_last_counts(kind, tmp_path):
    members = [("a", b"[1]"), ("b", b"x"), ("a", b"[2]"), ("c", "a"), ("c", b"[3]"), ("b", "a"), ("d", b"{4}"), ("d", b"\0")]
    data = b"".join(tar({name: content})[: 512 if isinstance(content, str) else 1024] for name, content in members) + b"\0" * 1024
    (tmp_path / "a.tar").write_bytes(data)
    where = tmp_path / "a.tar" if kind == "tar" else pack(tmp_path / "a.tar", kind)
    one = opened(str(where), str(tmp_path / "scratch"))
    assert [one.read(name) for name in "abc"] == [b"[2]", b"[2]", b"[3]"]
    found = one.extents("abcd")
    assert [found[name].read(10) for name in "abcd"] == [b"[2]", b"[2]", b"[3]", b"\0"]


# Folders


def test_a_folder_is_not_left_through_links(tmp_path):
    (tmp_path / "secret").write_bytes(b"{}")
    links = {"up": "../secret", "absolute": str(tmp_path / "secret"), "round": str(tmp_path / "in/a")}
    inside = write(tmp_path / "in", dict(links, **{"a": b"{}", "d/x": b"{}"}))
    (inside / "folder").symlink_to(tmp_path)
    one = opened(str(inside), "scratch")
    assert one.has("round") and one.has("d/x")
    for name in ("up", "absolute", "folder/secret"):
        with pytest.raises(ArchiveError, match="^%s: the link %s leads out of the archive: it is refused" % (inside, name)):
            one.has(name)
    for name in ("../secret", "/etc/passwd", "d/../../secret"):
        with pytest.raises(ArchiveError, match="^%s: the name %s leads out of the archive" % (inside, name)):
            one.has(name)


def test_a_folder_may_itself_be_a_link(tmp_path):
    write(tmp_path / "real", {"a": b"{}"})
    (tmp_path / "link").symlink_to("real")
    assert opened(str(tmp_path / "link"), "scratch").read("a") == b"{}"


def test_says_that_a_link_in_a_folder_leads_in_a_circle(tmp_path):
    inside = write(tmp_path / "in", {"index.json": "other", "other": "index.json"})
    with pytest.raises(ArchiveError, match="^%s: index.json: cannot be read: Too many levels of symbolic links" % inside):
        opened(str(inside), "scratch").has("index.json")


def test_pipes_in_a_folder_are_no_files(tmp_path):
    os.mkfifo(str(tmp_path / "pipe"))
    assert not opened(str(tmp_path), "scratch").has("pipe")


def test_says_that_a_file_went_away(tmp_path):
    where = write(tmp_path / "in", {"a": b"{}"})
    one = opened(str(where), "scratch")
    assert one.has("a")
    extent = one.extents(["a"])["a"]
    (where / "a").unlink()
    with pytest.raises(ArchiveError, match="^%s: a was here a moment ago and is gone" % where):
        one.read("a")
    with pytest.raises(ArchiveError, match="^%s/a: cannot be read: No such file or directory" % where):
        extent.open()


# Tars


@pytest.mark.parametrize("kind", SHAPES[1:])
def test_says_that_links_lead_in_a_circle(kind, tmp_path):
    for content in ({"a": "b", "b": "a"}, {"a": "a"}, dict(("l%d" % number, "l%d" % (number + 1)) for number in range(50))):
        with pytest.raises(ArchiveError, match=r"a.tar[.a-z0-9]*: the link (a|b|l0) leads in a circle"):
            opened(str(shape(kind, tmp_path, content)), str(tmp_path / "scratch"))


@pytest.mark.parametrize("kind", SHAPES[1:])
@pytest.mark.parametrize("bad", ["device", "pipe", "out", "link"])
def test_refuses_bad_members_and_leaves_nothing(kind, bad, tmp_path):
    member = tarfile.TarInfo("../x" if bad == "out" else "x")
    member.type = {"device": tarfile.CHRTYPE, "pipe": tarfile.FIFOTYPE, "out": tarfile.REGTYPE, "link": tarfile.SYMTYPE}[bad]
    member.linkname = "/etc/passwd"
    with pytest.raises(ArchiveError, match="is a device node, a pipe or" if bad in ("device", "pipe") else "leads out of the archive"):
        opened(str(shape(kind, tmp_path, {"index.json": b"{}", "x": member})), str(tmp_path / "scratch"))
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize("kind", ("tar",) + COMPRESSIONS)
def test_says_that_it_is_cut_off_and_leaves_nothing(kind, tmp_path):
    whole = shape(kind, tmp_path, {"index.json": b"{}", "blob": os.urandom(200000)})
    data = whole.read_bytes()
    cut = tmp_path / "cut"
    for length in (len(data) // 100, len(data) // 2, len(data) * 9 // 10):
        cut.write_bytes(data[:length])
        with pytest.raises(ArchiveError, match="^%s: .*: make or copy it again" % cut):
            opened(str(cut), str(tmp_path / "scratch"))
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_says_what_is_packed_there_instead_of_a_tar(kind, tmp_path):
    (tmp_path / "text").write_bytes(compress(b"hello\n" * 1000, kind))
    with pytest.raises(ArchiveError, match=r"text: not a tar archive, or not all of it \(no header at byte 0\)"):
        opened(str(tmp_path / "text"), str(tmp_path / "scratch"))
    (tmp_path / "text").write_bytes(compress(b"", kind))
    with pytest.raises(ArchiveError, match=r"text: not a tar archive, or not all of it \(it is empty\)"):
        opened(str(tmp_path / "text"), str(tmp_path / "scratch"))


def test_says_what_is_no_file(tmp_path):
    os.mkfifo(str(tmp_path / "pipe"))
    for where in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ArchiveError, match="^%s: neither a file nor a folder: give what docker save" % where):
            opened(str(where), "scratch")
    with pytest.raises(ArchiveError, match="nowhere: cannot be read: No such file or directory"):
        opened(str(tmp_path / "nowhere"), "scratch")
    with pytest.raises(ArchiveError, match="cannot be read: embedded null byte"):
        opened("a\0b", "scratch")


class Breaks:
    """A disk that goes bad."""

    def __init__(self, stream, after):
        self.stream, self.after = stream, after

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stream.close()

    def read(self, n=-1):
        self.after -= 1
        if self.after < 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self.stream.read(n)


@pytest.mark.parametrize("kind", ["tar", "gzip"])
def test_says_that_the_disk_is_bad(kind, tmp_path, monkeypatch):
    where = shape(kind, tmp_path, FILES)
    real, allowed = files.open_file, [1, 1]
    for module in (extent, files):
        monkeypatch.setattr(module, "open_file", lambda path: Breaks(real(path), allowed.pop()))
    with pytest.raises(ArchiveError, match=r"^%s: (cannot be read: |its gzip data is damaged or cut off \(.*)Input/output error" % where):
        opened(str(where), "scratch")
    allowed.append(0)
    with pytest.raises(ArchiveError, match="^%s: cannot be read: Input/output error" % where):
        Extent(str(where), 0, 10).read(10)


# Compressed tars


def test_expands_what_is_asked_for_once_and_nothing_else(tmp_path):
    where, scratch = shape("gzip", tmp_path, FILES), tmp_path / "scratch"
    one = opened(str(where), str(scratch))
    assert not scratch.exists()
    path = one.extents(["blobs/data", "chain"])["chain"].path
    assert left(scratch) == [os.path.basename(path)]
    assert scratch.stat().st_mode & 0o777 == 0o700
    before = os.stat(path)
    assert one.extents(["blobs/data"])["blobs/data"].path == path
    assert os.stat(path) == before
    where.unlink()
    assert one.extents(["blobs/data"])["blobs/data"].read(3000) == DATA


def test_two_archives_may_share_a_scratch_folder(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    for name in "12":
        one = opened(str(shape("gzip", tmp_path / name, {"a": name.encode() * 5000})), str(tmp_path / "scratch"))
        assert one.extents(["a"])["a"].read(1) == name.encode()


@pytest.mark.parametrize("change", ["other", "shorter", "later"])
def test_says_that_the_archive_changed_meanwhile(change, tmp_path):
    where = shape("gzip", tmp_path, {"a": b"x" * 5000, "b": b"{}"})
    one = opened(str(where), str(tmp_path / "scratch"))
    if change == "later":
        os.utime(str(where), (1, 1))
    else:
        where.write_bytes(compress(tar({"c": b"x" * 5000} if change == "shorter" else {"b": b"{}", "a": b"x" * 5000}), "gzip"))
    with pytest.raises(ArchiveError, match="^%s: changed while it was read: run again once nobody writes to it" % where):
        one.extents(["a"])


def test_says_that_there_is_no_room(tmp_path, monkeypatch):
    one = opened(str(shape("gzip", tmp_path, FILES)), str(tmp_path / "scratch"))
    monkeypatch.setattr(os, "statvfs", lambda folder: os.statvfs_result([512, 512, 9, 9, 4] + [9] * 6))
    with pytest.raises(ArchiveError, match="^expanding .*a.tar.gzip needs 3.0 kB in .*scratch, where 2.0 kB are free: make room, or name another"):
        one.extents(["blobs/data"])
    assert left(tmp_path / "scratch") == []


def test_says_that_the_disk_is_full_and_leaves_nothing(tmp_path):
    where = shape("gzip", tmp_path, {"a": os.urandom(500000), "b": b"{}"})
    one = opened(str(where), str(tmp_path / "scratch"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100000, limits[1]))
    try:
        with pytest.raises(ArchiveError, match="/scratch/[0-9a-f]{64}: cannot be written: File too large"):
            one.extents(["a"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert left(tmp_path / "scratch") == []
    assert one.extents(["a"])["a"].size == 500000


def test_says_that_a_scratch_folder_cannot_be_made(tmp_path):
    one = opened(str(shape("gzip", tmp_path, FILES)), str(tmp_path / "a.tar" / "scratch"))
    with pytest.raises(ArchiveError, match="a.tar/scratch: cannot be made: Not a directory"):
        one.extents(["blobs/data"])


def test_bounds_the_documents_that_are_kept_in_memory(tmp_path, monkeypatch):
    where = shape("gzip", tmp_path, {"a": b"{" + b" " * 600000, "b": b"[" + b" " * 600000, "c": b"x" * 600000})
    monkeypatch.setattr(files, "_DOCUMENTS", 1 << 20)
    with pytest.raises(ArchiveError, match="a.tar.gzip: more than 1 MiB of JSON: not an image archive"):
        opened(str(where), str(tmp_path / "scratch"))
    with pytest.raises(ArchiveError, match="c: not JSON"):
        opened(str(shape("gzip", tmp_path, {"a": b"{}", "c": b"x" * 600000})), str(tmp_path / "scratch")).read("c")


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_a_bomb_fills_neither_memory_nor_disk(kind, tmp_path):
    bomb = tmp_path / "bomb"
    member = tarfile.TarInfo("blob")
    member.size = 1 << 40
    bomb.write_bytes(compress(member.tobuf(tarfile.GNU_FORMAT), kind) + compress(b"\0" * (1 << 23), kind) * 40)
    script = (
        "import resource, sys; sys.path[:0] = [%r]; import conftest\n"
        "from ansible_collections.stowage.oci.plugins.module_utils._oci import compression\n"
        "from ansible_collections.stowage.oci.plugins.module_utils._oci.files import opened\n"
        "compression.FREE = 1 << 26\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: opened(%r, %r)\n"
        "except Exception as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    ) % (str(Path(__file__).parents[2]), str(bomb), str(tmp_path / "scratch"))
    message, kilobytes = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
    assert message.startswith("%s: expands to more than 200 times its size" % bomb)
    assert int(kilobytes) < 40000
    assert not (tmp_path / "scratch").exists()


# Layers


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_expands_a_layer(kind, tmp_path):
    (tmp_path / "blob").write_bytes(b"before" + compress(DATA, kind))
    extent = Extent(str(tmp_path / "blob"), 6, os.path.getsize(str(tmp_path / "blob")) - 6)
    path = tmp_path / "expanded"
    assert expand(extent, str(path), "layer 1 of app:1") == Extent(str(path), 0, 3000)
    assert path.read_bytes() == DATA
    (tmp_path / "blob").unlink()
    assert expand(extent, str(path), "layer 1 of app:1") == Extent(str(path), 0, 3000)


def test_a_damaged_layer_leaves_nothing(tmp_path):
    (tmp_path / "blob").write_bytes(PACKED[:-100])
    with pytest.raises(ArchiveError, match="^layer 1 of app:1: its gzip data is damaged or cut off"):
        expand(Extent(str(tmp_path / "blob"), 0, len(PACKED) - 100), str(tmp_path / "expanded"), "layer 1 of app:1")
    assert [path.name for path in tmp_path.iterdir()] == ["blob"]


def test_a_layer_may_be_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(compression, "FREE", 1 << 20)
    (tmp_path / "blob").write_bytes(compress(b"\0" * (1 << 24), "gzip"))
    with pytest.raises(ArchiveError, match="^layer 1 of app:1: expands to more than 200 times its size"):
        expand(Extent(str(tmp_path / "blob"), 0, os.path.getsize(str(tmp_path / "blob"))), str(tmp_path / "expanded"), "layer 1 of app:1")
    assert [path.name for path in tmp_path.iterdir()] == ["blob"]


# Small things


def test_room_raises_the_error_that_it_is_given(tmp_path):
    room(str(tmp_path), 1, "staging")
    with pytest.raises(StagingError, match="^staging needs 1000000.0 TB in %s, where .* are free: make room" % tmp_path):
        room(str(tmp_path), 10 ** 18, "staging", StagingError)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123456, "123.5 kB"), (5 * 10 ** 6, "5.0 MB"), (725 * 10 ** 7, "7.2 GB"), (10 ** 15, "1000.0 TB")],
)
def test_writes_bytes_for_people(size, text):
    assert human(size) == text


def test_a_lock_is_held_by_one(tmp_path):
    order = []

    def second():
        with locked(str(tmp_path / "lock")):
            order.append("second")

    with locked(str(tmp_path / "lock")):
        other = threading.Thread(target=second)
        other.start()
        other.join(0.2)
        order.append("first")
    other.join()
    assert order == ["first", "second"]
