# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import fcntl
import hashlib
import os
import stat

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import ArchiveError
from ansible_collections.stowage.oci.plugins.module_utils._oci import place
from ansible_collections.stowage.oci.plugins.module_utils._oci.bundle import DOCKER_ARCHIVE, OCI_ARCHIVE, OCI_LAYOUT
from ansible_collections.stowage.oci.tests.unit.bundling import Written, listed
from ansible_collections.stowage.oci.tests.unit.images import image, layer, layout, pack, tar, write, write_docker_archive, write_layout

BASE = layer({"etc/os-release": b"ID=base\n" * 500})
APP = image([BASE, layer({"app": b"1"})], names=["docker.io/library/app:1"])
WEB = image([BASE, layer({"web": b"2"})], names=["registry.example/team/web:2"])


def test_a_file_beside_is_private_and_gone_afterwards(tmp_path):
    target = str(tmp_path / "bundle.tar")
    with place.beside(target) as made:
        made.write(b"1")
        assert os.path.dirname(made.name) == str(tmp_path)
        assert stat.S_IMODE(os.stat(made.name).st_mode) == 0o600
    assert os.listdir(str(tmp_path)) == []


def test_a_file_beside_stays_if_it_was_renamed(tmp_path):
    target = str(tmp_path / "bundle.tar")
    with place.beside(target) as made:
        made.write(b"1")
        made.flush()
        os.rename(made.name, target)
    assert listed(tmp_path) == {"bundle.tar": b"1"}


def test_a_file_beside_is_gone_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with place.beside(str(tmp_path / "bundle.tar")):
            raise KeyboardInterrupt
    assert os.listdir(str(tmp_path)) == []


def test_what_a_killed_run_left_is_removed_and_what_another_uses_is_not(tmp_path):
    target = str(tmp_path / "bundle.tar")
    with place.beside(target) as used:
        left = used.name + "left"
        open(left, "wb").close()
        with place.beside(str(tmp_path / "other.tar")):
            assert os.path.exists(left)
        with place.beside(target):
            assert not os.path.exists(left)
            with open(used.name, "rb") as again, pytest.raises(BlockingIOError):
                fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert os.path.exists(used.name)


# What is there


@pytest.mark.parametrize("form", [OCI_ARCHIVE, DOCKER_ARCHIVE])
def test_knows_its_own_files(tmp_path, form):
    (tmp_path / "made").write_bytes(Written(tmp_path, APP, WEB).tar(form))
    old = place.examine(str(tmp_path / "made"))
    assert (old.form, old.damage) == (form, "")
    assert [entry.names for entry in old.archive.entries] == [APP.names, WEB.names]


def test_knows_its_own_folders(tmp_path):
    old = place.examine(str(Written(tmp_path, APP).folder(tmp_path / "made")))
    assert (old.form, old.damage, len(old.archive.entries)) == (OCI_LAYOUT, "", 1)


@pytest.mark.parametrize("kind", ["", "gzip", "bzip2", "xz"])
@pytest.mark.parametrize("writer", ["docker", "podman", "crane", "layout"])
def test_knows_what_others_wrote(tmp_path, writer, kind):
    where = tmp_path / "other.tar"
    made = write_layout(where, [APP]) if writer == "layout" else write_docker_archive(where, [APP], writer)
    old = place.examine(str(pack(made, kind) if kind else made))
    assert (old.form, old.damage, old.archive.entries[0].names) == ("", "", APP.names)


def test_a_compressed_bundle_is_not_as_we_write_it(tmp_path):
    (tmp_path / "made.tar").write_bytes(Written(tmp_path, APP).tar())
    assert place.examine(str(pack(tmp_path / "made.tar", "gzip"))).form == ""


def test_there_may_be_nothing(tmp_path):
    assert place.examine(str(tmp_path / "none")) is None


@pytest.mark.parametrize("form", [OCI_ARCHIVE, DOCKER_ARCHIVE])
@pytest.mark.parametrize("part", [0.01, 0.5, 0.95])
def test_a_truncated_bundle_is_a_damaged_one(tmp_path, form, part):
    data = Written(tmp_path, APP).tar(form)
    (tmp_path / "made").write_bytes(data[:max(600, int(len(data) * part))])
    old = place.examine(str(tmp_path / "made"))
    assert old.archive is None
    assert old.damage.startswith("%s: not a tar archive, or not all of it" % (tmp_path / "made"))


@pytest.mark.parametrize("writer", ["docker", "podman", "crane"])
def test_so_is_a_truncated_archive_of_others(tmp_path, writer):
    where = write_docker_archive(tmp_path / "other.tar", [APP], writer)
    where.write_bytes(where.read_bytes()[:3000])
    assert place.examine(str(where)).archive is None


def test_a_truncated_compressed_one_too(tmp_path):
    (tmp_path / "made.tar").write_bytes(Written(tmp_path, APP).tar())
    packed = pack(tmp_path / "made.tar", "gzip")
    packed.write_bytes(packed.read_bytes()[:-40])
    old = place.examine(str(packed))
    assert old.archive is None and "made.tar.gzip" in old.damage


def test_and_what_is_empty(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for name, form in (("file", ""), ("folder", "")):
        assert place.examine(str(tmp_path / name)) == (form, None, "%s: is empty" % (tmp_path / name))


def test_and_a_layout_with_a_broken_index(tmp_path):
    folder = Written(tmp_path, APP).folder(tmp_path / "made")
    (folder / "index.json").write_bytes(b"{")
    assert "not JSON" in place.examine(str(folder)).damage


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a text\n", "not a tar archive"),
        (b"a longer text\n" * 1000, "not a tar archive"),
        (tar({"etc/passwd": b"root"}), "neither an OCI layout"),
        (tar({"etc/passwd": b"root" * 1000})[:2000], "not a tar archive"),
        (b"\x1f\x8b" + b"x" * 1000, ""),
    ],
    ids=range(5),
)
def test_what_is_no_bundle_is_refused(tmp_path, content, why):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ArchiveError) as caught:
        place.examine(str(tmp_path / "file"))
    assert str(caught.value).startswith("%s is no bundle, and is left as it is (" % (tmp_path / "file"))
    assert why in str(caught.value)
    assert (tmp_path / "file").read_bytes() == content


def test_so_is_a_folder_that_is_no_layout(tmp_path):
    with pytest.raises(ArchiveError, match="is no bundle, and is left as it is"):
        place.examine(str(write(tmp_path / "photos", {"a.jpg": b"x"})))
    with pytest.raises(ArchiveError, match="a folder without an oci-layout file"):
        place.examine(str(write_docker_archive(tmp_path / "unpacked", [APP])))


def test_and_a_pipe(tmp_path):
    os.mkfifo(str(tmp_path / "pipe"))
    with pytest.raises(ArchiveError, match="pipe is neither a file nor a folder"):
        place.examine(str(tmp_path / "pipe"))


def test_measures_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"content" * 1000)
    assert place.measure(str(tmp_path / "file")) == (7000, hashlib.sha256(b"content" * 1000).hexdigest())


# Removing


def test_removes_files_links_and_layouts(tmp_path):
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "link").symlink_to("file")
    folder = Written(tmp_path, APP).folder(tmp_path / "made")
    for name in ("link", "made"):
        place.remove(str(tmp_path / name), pretend=True)
        assert os.path.lexists(str(tmp_path / name))
        place.remove(str(tmp_path / name), pretend=False)
        assert not os.path.lexists(str(tmp_path / name))
    assert (tmp_path / "file").exists() and not folder.exists()
    place.remove(str(tmp_path / "file"), pretend=False)
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("pretend", [True, False])
def test_a_folder_that_holds_more_stays(tmp_path, pretend):
    folder = Written(tmp_path, APP).folder(tmp_path / "made")
    (folder / "thesis.odt").write_bytes(b"3 years")
    before = listed(folder)
    with pytest.raises(ArchiveError, match=r"made holds more than a bundle \(thesis.odt\), and is left as it is"):
        place.remove(str(folder), pretend)
    assert listed(folder) == before


def test_the_digest_of_a_folder_is_that_of_its_index(tmp_path):
    folder = write(tmp_path / "made", layout([APP]))
    assert place.measure(str(folder))[1] == hashlib.sha256((folder / "index.json").read_bytes()).hexdigest()
