# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import os
import subprocess
import tarfile

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import ArchiveError
from ansible_collections.stowage.oci.plugins.module_utils._oci import tar as reader
from ansible_collections.stowage.oci.plugins.module_utils._oci.tar import Tar, clean
from ansible_collections.stowage.oci.tests.unit.images import tar

FORMS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def both(data):
    """A tar as a file that can seek and as a stream that cannot, which gives little at a time."""
    stream = io.BytesIO(data)
    yield Tar(stream, "here", len(data))

    class Slow:
        def read(self, n):
            return slow.read(min(n, 700))

    slow = io.BytesIO(data)
    yield Tar(Slow(), "here")


def listed(data):
    """Names with what they have, the same both ways."""
    seeking, streaming = both(data)
    found = {member.name: member.target or data[member.offset:member.offset + member.size] for member in seeking}
    assert found == {member.name: member.target or b"".join(iter(lambda: streaming.read(1000), b"")) for member in streaming}
    return found


def refusal(data):
    messages = set()
    for one in both(data):
        with pytest.raises(ArchiveError) as caught:
            list(one)
        messages.add(str(caught.value))
    assert len(messages) == 1
    return messages.pop()


def special(kind, name="x", linkname="", size=0):
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, linkname, size
    return member


@pytest.mark.parametrize("form", FORMS)
def test_lists_files_and_links(form):
    files = {"a": b"1", "empty": b"", "folder/": None, "folder/big": b"x" * 5000, "block": b"y" * 512, "folder/link": "../a", "./dot//name": b"2"}
    assert listed(tar(files, form)) == {
        "a": b"1", "empty": b"", "folder/big": b"x" * 5000, "block": b"y" * 512, "folder/link": "a", "dot/name": b"2"
    }


@pytest.mark.parametrize("form", FORMS[1:])
def test_reads_long_and_foreign_names(form):
    long = "blobs/" + "n" * 300
    link = special(tarfile.SYMTYPE, "l" * 200, long)
    assert listed(tar({long: b"1", "é/\u4e2d": b"2", "link": link, "last": b"3"}, form)) == {
        long: b"1", "é/\u4e2d": b"2", "l" * 200: long, "last": b"3"
    }


def test_reads_the_prefix_of_ustar_names():
    name = "p" * 150 + "/" + "n" * 90
    assert listed(tar({name: b"1"}, tarfile.USTAR_FORMAT)) == {name: b"1"}


@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_reads_what_gnu_tar_writes(form, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_bytes(b"content")
    os.link(str(tmp_path / "folder/file"), str(tmp_path / "folder/hard"))
    (tmp_path / "folder/soft").symlink_to("file")
    command = ["tar", "-C", tmp_path, "--sort=name", "--format", form, "-c", "./folder"]
    data = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    assert listed(data) == {"folder/file": b"content", "folder/hard": "folder/file", "folder/soft": "folder/file"}


def test_reads_a_file_of_more_than_8_gib():
    for form in FORMS[1:]:
        member = special(tarfile.REGTYPE, "huge", size=9 << 30)
        data = io.BytesIO(member.tobuf(form))
        length = len(data.getvalue()) + (9 << 30)

        class Huge:
            """9 GiB that nobody stored, and the end of the archive behind them."""

            def read(self, n):
                return data.read(n) or b"\0" * n

            def seek(self, to):
                data.seek(to)

        (found,) = Tar(Huge(), "here", length + 1024)
        assert (found.name, found.size) == ("huge", 9 << 30)


def test_ignores_what_pax_says_of_the_whole_archive():
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x", "path": "y"}) as made:
        made.addfile(tarfile.TarInfo("a"))
    assert listed(data.getvalue()) == {"a": b""}


def test_reads_the_rest_of_a_file_that_was_read_in_part():
    _seeking, streaming = both(tar({"a": b"x" * 3000, "b": b"y" * 10}))
    found = [(member.name, streaming.read(5)) for member in streaming]
    assert found == [("a", b"xxxxx"), ("b", b"yyyyy")]


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "a/..", "//x"])
def test_refuses_names_that_lead_out(name):
    why = "here: the name %s leads out of the archive: it is refused, get the archive from somebody you trust" % name
    assert refusal(tar({name: b"1"})) == why
    with pytest.raises(ArchiveError, match="leads out of the archive"):
        clean(name, "here")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "a/../../../x", ""])
def test_refuses_links_that_lead_out(kind, target):
    why = refusal(tar({"l": special(kind, "folder/l", target)}))
    assert why.startswith("here: the link folder/l to %s leads out of the archive" % (target or "''"))


def test_a_hard_link_starts_at_the_top_and_a_symbolic_one_at_its_folder():
    data = tar({"x": special(tarfile.LNKTYPE, "f/hard", "f/a"), "y": special(tarfile.SYMTYPE, "f/soft", "a")})
    assert listed(data) == {"f/hard": "f/a", "f/soft": "f/a"}
    assert "the link f/hard to ../a leads out" in refusal(tar({"x": special(tarfile.LNKTYPE, "f/hard", "../a")}))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE, b"M", b"V", b"\xff"])
def test_refuses_whatever_is_no_file_folder_or_link(kind):
    why = "here: dev is a device node, a pipe or a sparse file: an image archive holds plain files, folders and links"
    assert refusal(tar({"dev": special(kind, "dev")})) == why


def test_refuses_sparse_files_of_pax():
    member = tarfile.TarInfo("sparse")
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    assert refusal(tar({"sparse": member}, tarfile.PAX_FORMAT)).startswith("here: it has a sparse file")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b"\x7fELF" + b"x" * 2000, "no header at byte 0"),
        (b"hello\n" * 100, "no header at byte 0"),
        (tar({"a": b"x" * 5000})[:3000], "it ends in the middle of a"),
        (tar({"a": b"1"})[:512], "it ends in the middle of a"),
        (tar({"a": b"1"})[:700], "it has no end"),
        (tar({"a": b"1"})[:1024], "it has no end"),
        (tar({"a": b"1"})[:1100], "it has no end"),
        (tar({"a": b"1"})[:100], "it has no header"),
        (tar({"a": b"1"})[:1024] + b"garbage" * 1000, "no header at byte 1024"),
        (tar({"a": b"1"})[:1024] + tar({"b": b"2"})[:300] + b"!" + tar({"b": b"2"})[301:], "no header at byte 1024"),
    ],
    ids=range(11),
)
def test_says_that_it_is_no_tar_or_not_all_of_it(data, why):
    assert refusal(data) == "here: not a tar archive, or not all of it (%s): make or copy it again" % why


def test_one_block_of_zeros_is_the_end():
    assert listed(tar({"a": b"1"})[:1024] + b"\0" * 512) == {"a": b"1"}


def fixed(block):
    """A header whose checksum is right again."""
    block = bytearray(block)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("size", [b"12345678901\xff", b"-0000000001\0", b"\xff" * 12, b"\x80\1" + b"\0" * 10, b"0x000000001\0", b"1_000000001\0"])
def test_refuses_sizes_that_are_no_numbers(size):
    head = tar({"a": b""})[:512]
    data = fixed(head[:124] + size + head[136:]) + b"\0" * 1024
    assert refusal(data) == "here: not a tar archive, or not all of it (a number at byte 0 is none): make or copy it again"


def header(kind, data, size=None):
    return special(kind, "x", size=len(data) if size is None else size).tobuf(tarfile.GNU_FORMAT) + data + b"\0" * (-len(data) % 512)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K", b"X"])
def test_takes_no_memory_that_a_header_asks_for(kind):
    assert "(a header of 1073741824 bytes at byte 512)" in refusal(header(kind, b"", 1 << 30) + b"x" * 5000)


@pytest.mark.parametrize(
    "records",
    [
        b"x", b"5 a=b", b"99 path=b\n", b"0 path=b\n", b"-9 path=b\n", b"8 pathb\n", b"99999999999999999999999 path=b\n", b"9 path=b\n1",
        b"\n" * 50, b"4 =\n\0",
    ],
)
def test_refuses_pax_headers_that_are_none(records):
    assert "not a tar archive, or not all of it (a " in refusal(header(b"x", records) + tar({"a": b"1"}))


def test_a_pax_size_is_a_number():
    assert "a number at byte" in refusal(header(b"x", b"12 size=1e9\n") + tar({"a": b"1"}))
    assert listed(header(b"x", b"10 size=1\n") + tar({"a": b"1"})) == {"a": b"1"}


def test_bounds_the_number_of_members(monkeypatch):
    monkeypatch.setattr(reader, "_MEMBERS", 3)
    assert listed(tar(dict.fromkeys("abc", b""))).keys() == set("abc")
    assert refusal(tar(dict.fromkeys("abcd", b""))) == "here: more than 3 members: not an image archive"


def test_odd_names_stay_what_they_are():
    head = tar({"a": b""})[:512]
    data = fixed(b"\xff\n\x1b" + head[3:]) + b"\0" * 1024
    (name,) = listed(data)
    assert name.encode("utf-8", "surrogateescape") == b"\xff\n\x1b"
    why = refusal(fixed(b"../\xff\n\x1b" + head[6:]) + b"\0" * 1024)
    assert why.isprintable() and "the name '../\\udcff\\n\\x1b' leads out" in why


def test_lists_a_hundred_thousand_members():
    head = tarfile.TarInfo("blobs/sha256/" + "0" * 64).tobuf(tarfile.USTAR_FORMAT)
    data = head * 100000 + b"\0" * 1024
    assert sum(1 for _member in Tar(io.BytesIO(data), "here", len(data))) == 100000


# Writing


def test_a_header_is_that_of_newer_pythons():
    member = tarfile.TarInfo("blobs/sha256/" + "a" * 64)
    member.size = 12345
    block = bytearray(member.tobuf(tarfile.PAX_FORMAT))
    # Python 3.8 writes device numbers for plain files too.
    block[329:345] = bytes(16)
    assert reader.header(member.name, member.size) == fixed(block)


@pytest.mark.parametrize("size", [0, (8 << 30) - 1, 8 << 30, 99999999999, 10 ** 13])
def test_a_file_may_be_larger_than_8_gib(size):
    head = reader.header("a", size)
    member = tarfile.TarInfo.frombuf(head, "ascii", "strict")
    assert (member.name, member.size, member.mode, member.mtime, member.isreg()) == ("a", size, 0o644, 0, True)

    class Huge(io.BytesIO):
        def read(self, n=-1):
            return super().read(n) or bytes(n)

    (ours,) = Tar(Huge(head), "here", len(head) + size + 2048)
    assert (ours.name, ours.size, ours.offset) == ("a", size, 512)


def test_what_is_written_is_read_back():
    files = {"a": b"x" * 700, "empty": b"", "block": b"y" * 512}
    data = b"".join(reader.header(name, len(one)) + one + reader.padding(len(one)) for name, one in files.items()) + reader.END
    assert listed(data) == files
