# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's folder for blobs that arrive in pieces."""

from __future__ import annotations

import hashlib
import os
import time

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import BlobMismatch, StagingError
from ansible_collections.stowage.oci.plugins.module_utils._flow import staging
from ansible_collections.stowage.oci.plugins.module_utils._flow.staging import Staging, blob_folder, default_root, piece_name, put

DATA = bytes(range(256)) * 10
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()
SIZE = len(DATA)
WHAT = "layer 1 of app:1"


@pytest.fixture(name="there")
def _there(tmp_path):
    """A prepared staging folder."""
    made = Staging(str(tmp_path / "user" / "engine"))
    made.prepare(0, check_mode=False)
    return made


def fill(there, *ranges, data=DATA):
    """Stage these parts of a blob; the paths of the pieces."""
    return [put(there.root, DIGEST, begin, data[begin:end]) for begin, end in ranges]


def content(there):
    with there.open(DIGEST) as stream:
        return b"".join(iter(lambda: stream.read(100), b""))


def mode(path):
    return os.stat(str(path)).st_mode & 0o777


# The folder


def test_each_user_and_engine_has_a_folder():
    here = default_root("unix:///a.sock", None)
    assert here == default_root("unix:///a.sock", "/var/tmp")
    assert os.path.dirname(here) == "/var/tmp/stowage.oci-%d" % os.geteuid()
    assert default_root("unix:///b.sock", None) != here
    assert default_root("unix:///a.sock", "/srv").startswith("/srv/stowage.oci-")


def test_is_made_for_this_user_alone(tmp_path):
    made = Staging(str(tmp_path / "new" / "user" / "engine"))
    old = os.umask(0)
    try:
        made.prepare(10, check_mode=False)
    finally:
        os.umask(old)
    assert mode(made.root) == mode(os.path.dirname(made.root)) == 0o700
    made.prepare(10, check_mode=False)


def test_check_mode_makes_nothing(tmp_path):
    Staging(str(tmp_path / "new" / "user" / "engine")).prepare(10, check_mode=True)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("check_mode", [True, False])
def test_says_how_much_room_is_needed(tmp_path, check_mode):
    with pytest.raises(StagingError, match=r"^staging what is sent needs 1152921\.5 TB in %s.*, where .* are free: make room" % tmp_path):
        Staging(str(tmp_path / "user" / "engine")).prepare(1 << 60, check_mode)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StagingError, match=r"file/user/engine cannot be used for staging \(.*\): name another folder with staging_dir"):
        Staging(str(tmp_path / "file" / "user" / "engine")).prepare(0, check_mode=False)


def symlink(path):
    target = path.parent / "target"
    target.mkdir()
    path.symlink_to(target)


def dangling(path):
    path.symlink_to("/nowhere")


def plain_file(path):
    path.write_text("")


def open_to_others(path):
    path.mkdir()
    path.chmod(0o755)


@pytest.mark.parametrize("make", [symlink, dangling, plain_file, open_to_others])
@pytest.mark.parametrize("name", ["user", "user/engine"])
@pytest.mark.parametrize("check_mode", [True, False])
def test_what_others_could_write_to_is_refused(tmp_path, make, name, check_mode):
    if name != "user":
        (tmp_path / "user").mkdir(mode=0o700)
    make(tmp_path / name)
    there = Staging(str(tmp_path / "user" / "engine"))
    refused = "%s is not a folder that this user alone can use: remove it, or name another folder with staging_dir" % (tmp_path / name)
    with pytest.raises(StagingError, match=refused):
        there.prepare(0, check_mode)
    with pytest.raises(StagingError, match="is not a folder that this user alone can use"):
        there.check()


def test_what_belongs_to_somebody_else_is_refused(there, monkeypatch):
    there.check()
    monkeypatch.setattr(staging.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(StagingError, match="is not a folder that this user alone can use"):
        there.check()


def test_what_is_not_there_yet_is_fine(tmp_path):
    assert Staging(str(tmp_path / "user" / "engine")).check() is None


# Blobs


def test_pieces_make_a_blob(there):
    fill(there, (0, 1000), (1000, 2000), (2000, SIZE))
    assert there.size(DIGEST) == SIZE
    assert content(there) == DATA
    assert there.stock(DIGEST, SIZE, WHAT) == SIZE


def test_a_blob_is_read_in_any_amount(there):
    fill(there, (0, 1000), (1000, SIZE))
    with there.open(DIGEST) as stream:
        assert stream.read(1500) == DATA[:1000]
        assert stream.read() == DATA[1000:]
        assert stream.read() == b""


def test_a_reader_may_stop_early(there):
    fill(there, (0, SIZE))
    with there.open(DIGEST) as stream:
        assert stream.read(5) == DATA[:5]
    with there.open(DIGEST):
        pass


@pytest.mark.parametrize("size", [SIZE, None])
@pytest.mark.parametrize(
    ("ranges", "stock"),
    [
        ([], 0),
        ([(0, 1000)], 1000),
        ([(0, 1000), (1000, 2000)], 2000),
        ([(0, 1000), (2000, SIZE)], 1000),
        ([(1000, SIZE)], 0),
        ([(0, 1000), (0, 500), (500, 2000)], 2000),
        ([(0, SIZE)], SIZE),
    ],
)
def test_a_blob_goes_on_where_it_stopped(there, ranges, stock, size):
    """Counted from the start without a gap; of pieces at one place any will do."""
    fill(there, *ranges)
    assert there.stock(DIGEST, size, WHAT) in (stock, 1000 if ranges[:1] == [(0, 1000)] else stock)
    assert there.size(DIGEST) == there.stock(DIGEST, size, WHAT)


def spoil(path):
    with open(path, "r+b") as piece:
        piece.write(b"\xff\xff")


def shorten(path):
    os.truncate(path, 7)


@pytest.mark.parametrize("damage", [spoil, shorten])
@pytest.mark.parametrize("size", [SIZE, None])
def test_a_damaged_piece_is_thrown_away_with_what_is_behind_it(there, damage, size):
    _first, second, _third = paths = fill(there, (0, 1000), (1000, 2000), (2000, SIZE))
    damage(second)
    assert there.stock(DIGEST, size, WHAT) == 1000
    assert [os.path.exists(path) for path in paths] == [True, False, False]
    fill(there, (1000, 1900), (1900, SIZE))
    assert there.stock(DIGEST, size, WHAT) == SIZE
    assert content(there) == DATA


def test_what_is_no_piece_is_thrown_away(there):
    (path,) = fill(there, (0, 1000))
    os.rename(path, path + ".part")
    with open(os.path.join(os.path.dirname(path), "note"), "w"):
        pass
    assert there.stock(DIGEST, SIZE, WHAT) == 0
    assert os.listdir(os.path.dirname(path)) == []


def test_a_blob_that_was_wrong_when_it_was_sent_is_forgotten(there):
    fill(there, (0, 1000), (1000, SIZE), data=b"x" * SIZE)
    with pytest.raises(BlobMismatch, match="layer 1 of app:1: its bytes are sha256:[0-9a-f]*, not %s as promised: the archive is damaged" % DIGEST):
        there.stock(DIGEST, SIZE, WHAT)
    assert os.listdir(there.root) == []


def test_an_empty_blob_needs_no_piece(there):
    empty = "sha256:" + hashlib.sha256(b"").hexdigest()
    assert there.stock(empty, 0, WHAT) == 0
    with there.open(empty) as stream:
        assert stream.read(1) == b""


def test_a_piece_is_named_by_its_place_and_content():
    name = piece_name(4096, b"abc")
    assert name == "000000000004096-3-" + hashlib.sha256(b"abc").hexdigest()
    assert staging.PIECE.fullmatch(name)
    assert blob_folder("sha256:ab") == "sha256-ab"


# The end


OTHER = "sha256:" + "0" * 64


def test_all_of_it_goes(there):
    fill(there, (0, SIZE))
    there.clear([DIGEST, OTHER])
    assert not os.path.exists(os.path.dirname(there.root))


def test_what_belongs_to_another_bundle_stays(there):
    fill(there, (0, SIZE))
    put(there.root, OTHER, 0, b"other")
    there.clear([DIGEST])
    assert os.listdir(there.root) == [blob_folder(OTHER)]


def test_what_nobody_came_back_for_goes(there):
    old = os.path.dirname(put(there.root, OTHER, 0, b"other"))
    past = time.time() - staging.FORGOTTEN_SECONDS - 1
    os.utime(old, (past, past))
    there.clear([DIGEST])
    assert not os.path.exists(there.root)


@pytest.mark.parametrize("name", ["user", "user/engine"])
def test_nothing_is_removed_through_a_link(tmp_path, name):
    precious = tmp_path / "precious" / ("engine" if name == "user" else "") / blob_folder(DIGEST)
    precious.mkdir(parents=True)
    os.utime(str(precious), (0, 0))
    if name != "user":
        (tmp_path / "user").mkdir(mode=0o700)
    (tmp_path / name).symlink_to(tmp_path / "precious")
    Staging(str(tmp_path / "user" / "engine")).clear([DIGEST])
    assert precious.exists()


def test_other_engines_of_the_user_keep_theirs(there, tmp_path):
    (tmp_path / "user" / "other").mkdir()
    there.clear([DIGEST])
    assert os.listdir(str(tmp_path / "user")) == ["other"]
