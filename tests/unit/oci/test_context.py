# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import functools
import hashlib
import io
import json
import os
import re
import socket
import stat
import subprocess
import tarfile
import time

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import ArchiveError, ContextChanged, ContextError, InvalidInput
from ansible_collections.stowage.oci.plugins.module_utils._oci import context, hashes, reading
from ansible_collections.stowage.oci.plugins.module_utils._oci.context import Entry, Tree, measured, packed
from ansible_collections.stowage.oci.plugins.module_utils._oci.context_tar import TarContext
from ansible_collections.stowage.oci.plugins.module_utils._oci.hashes import Hashes
from ansible_collections.stowage.oci.plugins.module_utils._oci.ignore import Ignore
from ansible_collections.stowage.oci.tests.unit import images

LONG = "/".join(["n" * 150] * 2)
NAMES = ["sp ace", "new\nline", "caf\xe9", "not-utf-8-\udcff", "n" * 255, LONG, "-dash", "back\\slash", "quo\"te"]


def hexdigest(data):
    return hashlib.sha256(data).hexdigest()


def write(root, files):
    """Text is a file's; None makes a folder."""
    for name, text in files.items():
        path = os.path.join(str(root), name)
        os.makedirs(path if text is None else os.path.dirname(path), exist_ok=True)
        if text is not None:
            with open(path, "w", encoding="utf-8") as out:
                out.write(text)
    for folder, folders, names in os.walk(str(root)):
        for name in folders + names:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                os.chmod(path, 0o755 if name in folders else 0o644)
    return str(root)


def look(root, ignore="", file=None):
    return measured(str(root), Ignore(ignore.encode(), "here"), Hashes(file))


def paths(tree):
    return [entry.path for entry in tree.entries]


def unpacked(pieces):
    """Members by name with what counts of them; all are owned by nobody in particular."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces)), encoding="utf-8", errors="surrogateescape") as archive:
        for one in archive:
            assert (one.uid, one.gid) == (0, 0)
            file = archive.extractfile(one) if one.isreg() else None
            found[one.name] = (one.type, one.mode, file.read() if file else one.linkname, one.mtime)
    return found


# Folders


def test_says_what_lies_in_a_folder(tmp_path):
    root = write(tmp_path, {"b": "bee", "a/z": "", "a/deep/x": "x", "empty": None})
    os.symlink("/etc/passwd", tmp_path / "out")
    os.symlink("no\nwhere", tmp_path / "a" / "broken")
    os.link(tmp_path / "b", tmp_path / "hard")
    os.chmod(tmp_path / "b", 0o4751)
    os.chmod(tmp_path / "empty", 0o1777)
    os.mkfifo(tmp_path / "pipe", 0o600)
    server = socket.socket(socket.AF_UNIX)
    server.bind(os.path.relpath(str(tmp_path / "socket")))
    server.close()

    assert look(root).entries == (
        Entry("a", "dir", 0o755),
        Entry("a/broken", "link", 0o777, target="no\nwhere"),
        Entry("a/deep", "dir", 0o755),
        Entry("a/deep/x", "file", 0o644, 1, hexdigest(b"x")),
        Entry("a/z", "file", 0o644, 0, hexdigest(b"")),
        Entry("b", "file", 0o4751, 3, hexdigest(b"bee")),
        Entry("empty", "dir", 0o1777),
        Entry("hard", "file", 0o4751, 3, hexdigest(b"bee")),
        Entry("out", "link", 0o777, target="/etc/passwd"),
        Entry("pipe", "fifo", 0o600),
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="device nodes are root's to make")
def test_devices_have_their_numbers(tmp_path):
    os.mknod(tmp_path / "null", 0o640 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(tmp_path / "loop", 0o640 | stat.S_IFBLK, os.makedev(7, 300))
    tree = look(tmp_path)
    assert tree.entries == (Entry("loop", "block", 0o640, target="7:300"), Entry("null", "device", 0o640, target="1:3"))
    with tarfile.open(fileobj=io.BytesIO(b"".join(packed(str(tmp_path), tree, {})))) as archive:
        assert [(one.type, one.devmajor, one.devminor) for one in archive][1:] == [(tarfile.BLKTYPE, 7, 300), (tarfile.CHRTYPE, 1, 3)]
    (tmp_path / "c.tar").write_bytes(b"".join(packed(str(tmp_path), tree, {})))
    assert TarContext(str(tmp_path / "c.tar")).tree.entries == tree.entries


def test_a_root_that_is_a_link_is_followed(tmp_path):
    write(tmp_path / "real", {"a": "1"})
    os.symlink("real", tmp_path / "link")
    assert look(tmp_path / "link").digest == look(tmp_path / "real").digest


def test_times_owners_and_order_do_not_count(tmp_path):
    one = write(tmp_path / "one", {"a": "1", "b": "2", "d/c": "3"})
    two = write(tmp_path / "two", {"d/c": "3", "b": "2", "a": "1"})
    os.utime(os.path.join(two, "a"), (1, 1))
    if os.geteuid() == 0:
        os.chown(os.path.join(two, "b"), 1234, 1234)
    tree = look(two)
    assert look(one).digest == tree.digest == Tree(reversed(tree.entries)).digest
    assert b"".join(packed(one, look(one), {})) == b"".join(packed(two, tree, {}))


# Of the same entry each changes one thing.
FILE = Entry("a", "file", 0o644, 1, hexdigest(b"1"))
OTHERS = [
    [],
    [FILE._replace(path="b")],
    [FILE._replace(mode=0o600)],
    [FILE._replace(mode=0o4644)],
    [FILE._replace(digest=hexdigest(b"2"))],
    [Entry("a", "dir", 0o644)],
    [Entry("a", "fifo", 0o644)],
    [Entry("a", "link", 0o777, target="b")],
    [Entry("a", "link", 0o777, target="c")],
    [Entry("a", "device", 0o644, target="1:3")],
    [Entry("a", "device", 0o644, target="1:5")],
    [Entry("a", "block", 0o644, target="1:3")],
    [FILE, FILE._replace(path="b")],
    # Names that look like the fields that follow them.
    [Entry("a 1:x", "link", 0o777, target="y")],
    [Entry("a", "link", 0o777, target="1:x y")],
    [Entry("a\nlink 777  1:b 1:c", "dir", 0o644)],
    [Entry("a\ndir 644  1:b 0:", "dir", 0o644)],
    [Entry("a", "dir", 0o644), Entry("b", "dir", 0o644)],
]


def test_everything_else_counts():
    digests = {Tree(entries).digest for entries in [[FILE], *OTHERS]}
    assert len(digests) == len(OTHERS) + 1


def test_the_digest_stays_what_it_is():
    """It is kept in labels of images: whoever changes it makes every image be built again."""
    tree = Tree([Entry("d", "dir", 0o755), Entry("d/caf\xe9", "file", 0o644, 1, hexdigest(b"1")), Entry("l", "link", 0o777, target="d")])
    assert tree.digest == "sha256:" + hexdigest(
        b"dir 755  1:d 0:\nfile 644 %s 7:d/caf\xc3\xa9 0:\nlink 777  1:l 1:d\n" % hexdigest(b"1").encode()
    )


@pytest.mark.parametrize("text, expected", [
    ("d", ["keep", "x"]),
    ("*\n!d/sub/keep", ["d", "d/sub", "d/sub/keep"]),
    ("*\n!**/keep", ["d", "d/sub", "d/sub/keep", "keep"]),
    ("**/keep\nx", ["d", "d/a", "d/sub"]),
    ("*", []),
])
def test_what_is_ignored_is_left_out_and_folders_of_what_is_kept_are_not(tmp_path, text, expected):
    write(tmp_path, {"x": "", "keep": "", "d/a": "", "d/sub/keep": ""})
    os.chmod(tmp_path / "d", 0o700)
    tree = look(tmp_path, text)
    assert paths(tree) == expected
    assert all(entry.mode == 0o700 for entry in tree.entries if entry.path == "d")


def test_a_folder_that_nothing_can_be_kept_of_is_not_entered(tmp_path, monkeypatch):
    write(tmp_path, {"kept/x": "", "left/x": ""})
    entered = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: entered.append(os.path.relpath(path, str(tmp_path))) or scandir(path))
    look(tmp_path, "left\n!kept")
    assert entered == [".", "kept"]


def test_strange_names_are_as_they_are(tmp_path):
    root = write(tmp_path, {name: name.encode("utf-8", "replace").decode() for name in NAMES})
    tree = look(root)
    assert set(NAMES) <= set(paths(tree))
    found = unpacked(packed(root, tree, {}))
    assert {name: found[name][2] for name in NAMES} == {name: name.encode("utf-8", "replace") for name in NAMES}


# What cannot be read


def refusal(kind, root, ignore=""):
    with pytest.raises(kind) as caught:
        look(root, ignore)
    return str(caught.value)


def test_a_root_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("file", "none"):
        assert refusal(InvalidInput, tmp_path / name) == "%s is no folder: a build context is one, or a tar of one" % (tmp_path / name)


def failing(monkeypatch, call, number, name):
    real = getattr(os, call)

    def fails(path, *args, **options):
        if str(path).endswith(name):
            raise OSError(number, os.strerror(number), path)
        return real(path, *args, **options)

    monkeypatch.setattr(os, call, fails)


@pytest.mark.parametrize("call, name", [("open", "secret"), ("scandir", "d"), ("readlink", "link")])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ENOENT])
def test_what_cannot_be_read_is_named(tmp_path, monkeypatch, call, name, number):
    write(tmp_path, {"a": "", "secret": "", "d/x": ""})
    os.symlink("a", tmp_path / "link")
    failing(monkeypatch, call, number, name)
    if number == errno.ENOENT:
        expected = "%s: changed while the build context was read: build again once nobody writes to it, or leave it out with a line in .dockerignore"
        assert refusal(ContextChanged, tmp_path) == expected % (tmp_path / name)
    else:
        expected = "%s: cannot be read (%s): let this user read it, or leave it out with a line in .dockerignore"
        assert refusal(ContextError, tmp_path) == expected % (tmp_path / name, os.strerror(number))
    assert "a" in paths(look(tmp_path, name))


def test_an_ignored_folder_that_may_not_be_entered_is_left_alone(tmp_path, monkeypatch):
    write(tmp_path, {"a": "", "d/x": ""})
    failing(monkeypatch, "scandir", errno.EACCES, "d")
    assert paths(look(tmp_path, "d\n!**/keep")) == ["a"]


def test_one_that_fails_ends_the_work_of_all(tmp_path, monkeypatch):
    write(tmp_path, {"%03d" % number: "" for number in range(300)})
    failing(monkeypatch, "open", errno.EIO, "/000")
    read = []
    real = reading._hash
    monkeypatch.setattr(reading, "_hash", lambda root, path, found: read.append(path) or time.sleep(0.001) or real(root, path, found))
    monkeypatch.setattr(context, "_walk", lambda root, ignore: iter(sorted(walk(root, ignore))))
    assert "000: cannot be read" in refusal(ContextError, tmp_path)
    assert len(read) < 100


walk = context._walk


def replaced_by(what):
    """Something else takes the place of the file while it is to be hashed."""

    def replace(path):
        os.unlink(path)
        what(path)

    return replace


def grown(path):
    with open(path, "a", encoding="utf-8") as out:
        out.write("more")


def cut(path):
    os.truncate(path, 1)


def rewritten(path):
    with open(path, "r+", encoding="utf-8") as out:
        out.write("others")
    os.utime(path, (1, 1))


LINKED = replaced_by(functools.partial(os.symlink, "/etc/hostname"))
CHANGES = [LINKED, replaced_by(os.mkfifo), replaced_by(os.mkdir), os.unlink, grown, cut, rewritten]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_the_folder_is_measured(tmp_path, monkeypatch, change):
    write(tmp_path, {"file": "before"})
    real = reading.pieces

    def pieces(*args):
        change(str(tmp_path / "file"))
        yield from real(*args)

    monkeypatch.setattr(reading, "pieces", pieces)
    assert refusal(ContextChanged, tmp_path).startswith("%s: changed while the build context was read" % (tmp_path / "file"))


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_before_it_is_packed(tmp_path, change):
    root = write(tmp_path, {"a": "", "file": "before"})
    tree = look(root)
    change(str(tmp_path / "file"))
    with pytest.raises(ContextChanged) as caught:
        list(packed(root, tree, {}))
    assert str(caught.value).startswith("%s: changed while the build context was read: build again" % (tmp_path / "file"))


# The tar


def test_packs_what_was_measured(tmp_path):
    root = write(tmp_path, {"b": "bee", "d/x": "x" * 200_000})
    os.symlink("t" * 300, tmp_path / "link")
    os.symlink("b", tmp_path / "short")
    os.mkfifo(tmp_path / "pipe", 0o600)
    os.chmod(tmp_path / "b", 0o6755)
    assert unpacked(packed(root, look(root), {"Dockerfile": b"FROM scratch\n"})) == {
        ".": (tarfile.DIRTYPE, 0o755, "", 0),
        "Dockerfile": (tarfile.REGTYPE, 0o644, b"FROM scratch\n", 0),
        "b": (tarfile.REGTYPE, 0o6755, b"bee", 0),
        "d": (tarfile.DIRTYPE, 0o755, "", 0),
        "d/x": (tarfile.REGTYPE, 0o644, b"x" * 200_000, 0),
        "link": (tarfile.SYMTYPE, 0o777, "t" * 300, 0),
        "pipe": (tarfile.FIFOTYPE, 0o600, "", 0),
        "short": (tarfile.SYMTYPE, 0o777, "b", 0),
    }


def test_begins_with_what_buildkit_knows_for_a_tar(tmp_path):
    """It reads a Dockerfile where the first 512 bytes are no whole member, as before long names."""
    root = write(tmp_path, {"A" * 200: ""})
    first = tarfile.TarInfo.frombuf(b"".join(packed(root, look(root), {}))[:tarfile.BLOCKSIZE], "utf-8", "strict")
    assert (first.name, first.type, first.mode) == (".", tarfile.DIRTYPE, 0o755)


def test_a_further_file_takes_the_place_of_one_of_the_folder(tmp_path):
    root = write(tmp_path, {"Dockerfile": "old", "a": "1"})
    found = list(unpacked(packed(root, look(root), {"Dockerfile": b"new", "A": b""})).items())
    assert [(name, facts[2]) for name, facts in found] == [(".", ""), ("A", b""), ("Dockerfile", b"new"), ("a", b"1")]


def test_gnu_tar_unpacks_it(tmp_path):
    root = write(tmp_path / "in", dict.fromkeys(NAMES, "text"))
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-x", "-p", "-C", str(tmp_path / "out")], input=b"".join(packed(root, look(root), {})), check=True)
    assert look(tmp_path / "out").entries == look(root).entries


def test_is_made_of_few_pieces_and_holds_no_file_whole(tmp_path):
    root = write(tmp_path, {**{"small%d" % number: "x" for number in range(1000)}, "large": "y" * (5 << 20)})
    sizes = [len(piece) for piece in packed(root, look(root), {})]
    assert len(sizes) < 40 and max(sizes) < 2 << 20


# Hashes


@pytest.fixture
def old(tmp_path):
    """A folder whose files nobody touched for some time: the clock of the module runs ahead."""
    return write(tmp_path / "context", {"a": "1", "d/caf\xe9 \n": "2", "d/\udcff": "3"})


@pytest.fixture(autouse=True)
def later(monkeypatch):
    class Clock:
        ahead = 3

        def time_ns(self):
            return time.time_ns() + int(self.ahead * 1e9)

    clock = Clock()
    monkeypatch.setattr(hashes, "time", clock)
    return clock


@pytest.fixture
def read(monkeypatch):
    """The paths that are read."""
    found = []
    real = reading.pieces
    monkeypatch.setattr(reading, "pieces", lambda root, path, *args: found.append(path) or real(root, path, *args))
    return found


def cached(root, file, ignore=""):
    known = Hashes(str(file))
    tree = measured(root, Ignore(ignore.encode(), "here"), known)
    known.save()
    return tree


def test_what_was_read_is_not_read_again(old, tmp_path, read):
    file = tmp_path / "cache" / "deep" / "hashes.json"
    first = cached(old, file)
    assert sorted(read) == sorted(["a", "d/caf\xe9 \n", "d/\udcff"])
    del read[:]
    assert cached(old, file).entries == first.entries == look(old).entries
    assert sorted(read) == sorted(["a", "d/caf\xe9 \n", "d/\udcff"])  # by the look without a cache alone
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(file.parent).st_mode) == 0o700
    assert os.listdir(str(file.parent)) == ["hashes.json"]


def rename_over(path):
    with open(path + ".new", "w", encoding="utf-8") as out:
        out.write("9")
    os.utime(path + ".new", ns=(os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns))
    os.rename(path + ".new", path)


def write_and_turn_back(path):
    found = os.stat(path)
    with open(path, "w", encoding="utf-8") as out:
        out.write("9")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


@pytest.mark.parametrize("change", [rename_over, write_and_turn_back, grown, lambda path: os.utime(path, (1, 1))])
def test_a_file_that_was_touched_is_read_again(old, tmp_path, read, change):
    cached(old, tmp_path / "hashes.json")
    time.sleep(0.02)  # more than a tick of the file system's clock
    change(os.path.join(old, "a"))
    del read[:]
    tree = cached(old, tmp_path / "hashes.json")
    assert read == ["a"]
    assert tree.entries == look(old).entries


def test_a_file_that_was_just_written_is_read_again(old, tmp_path, read, later):
    later.ahead = 1
    cached(old, tmp_path / "hashes.json")
    del read[:]
    later.ahead = 3
    cached(old, tmp_path / "hashes.json")
    assert len(read) == 3
    cached(old, tmp_path / "hashes.json")
    assert len(read) == 3


def test_what_is_gone_or_ignored_is_forgotten(old, tmp_path):
    file = tmp_path / "hashes.json"
    cached(old, file)
    cached(old, file, "d")
    assert list(json.loads(file.read_text())["files"]) == ["a"]


def test_nothing_new_is_not_written(old, tmp_path):
    file = tmp_path / "hashes.json"
    cached(old, file)
    before = os.stat(file)
    cached(old, file)
    assert os.stat(file).st_ino == before.st_ino


GOOD = '{"format":1,"files":{"a":[1,1,1,1,"%s"]}}' % ("0" * 64)


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "{}", '{"format":2,"files":{}}', '{"format":1,"files":[1]}', '{"format":1,"files":{"a":1}}',
                                  '{"format":1,"files":{"a":[1,2,3,4,""]}}', "\xff", GOOD, "[" * 100_000])
def test_a_damaged_file_is_as_good_as_none(old, tmp_path, text):
    file = tmp_path / "hashes.json"
    file.write_text(text, encoding="latin-1")
    file.chmod(0o600)
    assert cached(old, file).entries == look(old).entries
    assert len(json.loads(file.read_text())["files"]) == 3


def test_a_file_that_others_could_have_written_is_not_believed(old, tmp_path, read):
    file = tmp_path / "hashes.json"
    cached(old, file)
    del read[:]
    file.chmod(0o620)
    cached(old, file)
    assert len(read) == 3
    os.rename(file, tmp_path / "elsewhere")
    os.symlink("elsewhere", file)
    cached(old, file)
    assert len(read) == 6


def test_a_file_that_cannot_be_written_is_left_alone(old, tmp_path):
    (tmp_path / "file").write_text("")
    assert cached(old, tmp_path / "file" / "hashes.json").entries == look(old).entries
    (tmp_path / "folder.json").mkdir()
    assert cached(old, tmp_path / "folder.json").entries == look(old).entries
    assert sorted(os.listdir(str(tmp_path))) == ["context", "file", "folder.json"]


# Tars


@pytest.mark.parametrize("kind", ["", *images.COMPRESSIONS])
@pytest.mark.parametrize("start", ["", "./", "/"])
def test_a_tar_measures_as_the_folder_that_it_unpacks_to(tmp_path, kind, start):
    root = write(tmp_path / "context", {**dict.fromkeys(NAMES, "text"), "d/x": "x" * 100_000})
    os.symlink("/etc/passwd", os.path.join(root, "link"))
    os.mkfifo(os.path.join(root, "pipe"), 0o644)
    os.link(os.path.join(root, "d/x"), os.path.join(root, "hard"))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape") as archive:
        archive.add(root, "./", recursive=False)
        for entry in look(root).entries:
            info = archive.gettarinfo(os.path.join(root, entry.path), start + entry.path)
            info.name = start + entry.path
            if info.isreg():
                with open(os.path.join(root, entry.path), "rb") as stream:
                    archive.addfile(info, stream)
            else:
                info.linkname = start + info.linkname.lstrip("/") if info.islnk() else info.linkname
                archive.addfile(info)
    path = tmp_path / "context.tar"
    path.write_bytes(images.compress(out.getvalue(), kind))

    found = TarContext(str(path))
    assert found.tree.entries == look(root).entries
    assert b"".join(found.packed({}))[tarfile.BLOCKSIZE:] == out.getvalue()
    with tarfile.open(fileobj=io.BytesIO(b"".join(found.packed({"Dockerfile": b"FROM scratch\n"})))) as archive:
        assert len(archive.getnames()) == len(found.tree.entries) + 3
        assert archive.extractfile("Dockerfile").read() == b"FROM scratch\n"


def tar_file(tmp_path, data):
    (tmp_path / "context.tar").write_bytes(data)
    return str(tmp_path / "context.tar")


def test_of_several_members_of_one_name_the_last_counts(tmp_path):
    data = images.tar({"a": b"1"})[:1024] + images.tar({"./a": b"2"})
    assert [entry.digest for entry in TarContext(tar_file(tmp_path, data)).tree.entries] == [hexdigest(b"2")]


@pytest.mark.parametrize("name", ["../a", "d/../../a", "d/.."])
def test_names_that_lead_out_of_a_tar_are_refused(tmp_path, name):
    path = tar_file(tmp_path, images.tar({name: b""}))
    with pytest.raises(ContextError, match=re.escape("%s: the name %s leads out of it: pack the folder again" % (path, name))):
        TarContext(path)


def test_a_hard_link_to_nothing_is_refused(tmp_path):
    link = tarfile.TarInfo("a")
    link.type, link.linkname = tarfile.LNKTYPE, "b"
    path = tar_file(tmp_path, images.tar({"a": link}))
    with pytest.raises(ContextError, match=re.escape("%s: a is a hard link to b, which is not in it" % path)):
        TarContext(path)


@pytest.mark.parametrize("data", [b"", b"text", images.tar({"a": b"x" * 5000})[:3000]])
def test_what_is_no_tar_or_not_all_of_one_is_refused(tmp_path, data):
    path = tar_file(tmp_path, data)
    with pytest.raises(ContextError, match=re.escape("%s: not a tar, or not all of it (" % path)):
        TarContext(path)


def test_damaged_compression_is_refused(tmp_path):
    path = tar_file(tmp_path, images.compress(images.tar({"a": b"x" * 5000}), "gzip")[:-20])
    with pytest.raises(ArchiveError, match="its gzip data is damaged or cut off"):
        TarContext(path)


def test_what_is_neither_folder_nor_tar_is_refused(tmp_path):
    for path in (str(tmp_path), str(tmp_path / "none")):
        with pytest.raises(InvalidInput) as caught:
            TarContext(path)
        assert str(caught.value) == "%s is neither a folder nor a tar that can be read: a build context is one of them" % path


@pytest.mark.parametrize("change", [grown, rewritten, os.unlink])
def test_a_tar_that_changes_is_not_sent(tmp_path, change):
    path = tar_file(tmp_path, images.tar({"a": b"1"}))
    found = TarContext(path)
    change(path)
    with pytest.raises((ContextChanged, InvalidInput)) as caught:
        list(found.packed({}))
    assert str(caught.value).startswith(path)
