# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""The parts of the controller's half of image_load, each alone: what no real connection or disk can be brought to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import types

import debs
import pytest
from ansible import constants
from ansible_collections.stowage.oci.plugins.action import image_load
from ansible_collections.stowage.oci.plugins.module_utils._errors import ArchiveError, StagingError
from ansible_collections.stowage.oci.plugins.module_utils._flow.staging import Staging
from ansible_collections.stowage.oci.plugins.module_utils._oci.extent import Extent
from ansible_collections.stowage.oci.plugins.plugin_utils import _catalogue, _pieces
from ansible_collections.stowage.oci.tests.unit.images import image, layer, pack, sha256, write_layout

APP = image([layer({"big": bytes(range(256)) * 256}), layer({"app": b"1"})], names=["registry.example.com/app:1"])


def blobs(folder, *contents, staged=0):
    """Blobs of these bytes, of which the host has the first ``staged``."""
    found = []
    for content in contents:
        digest = sha256(content)
        path = folder / digest
        path.write_bytes(content)
        found.append(_pieces.Blob(digest, "layer 1 of app:1", Extent(str(path), 0, len(content)), staged))
    return found


def pieces(found, size=1 << 20):
    pace = _pieces.Pace()
    pace.size = size
    return _pieces.cut(found, pace)


# The pace


def test_the_pace_follows_the_line():
    pace = _pieces.Pace()
    sizes = []
    for seconds in (0.1, 0.1, 0.1, 1, 3, 3, 3, 3, 3, 3):
        sizes.append(pace.size >> 20)
        pace.took(seconds)
    assert sizes == [4, 8, 16, 16, 16, 8, 4, 2, 1, 1]


def test_small_pieces_go_together_and_large_ones_alone(tmp_path):
    small = [b"%d" % number for number in range(_pieces.MANY + 1)]
    found = blobs(tmp_path, b"x" * (_pieces.SMALL + 1), *small, b"y" * (2 << 20))
    sizes = [[len(piece.data) for piece in batch] for batch in _pieces.batches(pieces(found))]
    assert [len(batch) for batch in sizes] == [_pieces.MANY, 1, 1, 1, 1]
    assert sizes[2:] == [[_pieces.SMALL + 1], [1 << 20], [1 << 20]]


def test_sends_what_is_not_staged(tmp_path):
    [found] = blobs(tmp_path, b"0123456789", staged=4)
    assert [(piece.offset, piece.data, piece.last) for piece in pieces([found], 4)] == [(4, b"4567", False), (8, b"89", True)]


def test_an_archive_that_shrinks_meanwhile_is_no_endless_loop(tmp_path):
    [found] = blobs(tmp_path, b"1" * (300 << 10))
    left = pieces([found], 100 << 10)
    assert len(next(left).data) == 100 << 10
    os.truncate(found.extent.path, 150 << 10)
    assert len(next(left).data) == 50 << 10
    with pytest.raises(ArchiveError, match="changed while it was read: run again once nobody writes to it"):
        next(left)


# The shell on the host


SHELLS = {"sh": ["sh"], "bash": ["bash"], "busybox": ["busybox", "sh"]}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("contents", [[bytes(range(256)) * 100], [b"\0\n'", b"two", b"x" * 5000]], ids=["one", "three"])
def test_any_shell_stores_pieces(tmp_path, shell, contents):
    debs.ensure(["busybox-static"])
    found = blobs(tmp_path, *contents)
    root = tmp_path / "it's here"
    root.mkdir()
    sent = list(pieces(found))
    command = [*SHELLS[shell], "-c", _pieces.command(str(root), sent)]
    subprocess.run(command, input=_pieces.joined(sent), check=True, env={"PATH": "/bin:/usr/bin"})

    staging = Staging(str(root))
    for blob, content in zip(found, contents):
        assert staging.stock(blob.digest, len(content), "it") == len(content)
        with staging.open(blob.digest) as stream:
            assert b"".join(iter(lambda: stream.read(1000), b"")) == content
    assert {path.stat().st_mode & 0o777 for path in root.glob("*/*")} == {0o600}


@pytest.mark.parametrize("count", [1, 2])
def test_the_shell_says_that_it_failed(tmp_path, count):
    """At the first piece, and gives none a name."""
    found = blobs(tmp_path, *[b"a", b"b"][:count])
    sent = list(pieces(found))
    (tmp_path / found[0].digest.replace(":", "-")).write_text("in the way")
    done = subprocess.run(["sh", "-c", _pieces.command(str(tmp_path), sent)], input=b"ab", capture_output=True, check=False)
    assert done.returncode and done.stderr
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


# The connection


class Connection(types.SimpleNamespace):
    def is_pipelining_enabled(self):
        return self.enabled and self.has_pipelining and (not self.become or self.become.pipelining)


def become(prompt=False, require_tty=False, pipelining=True):
    return types.SimpleNamespace(expect_prompt=lambda: prompt, require_tty=require_tty, pipelining=pipelining)


@pytest.mark.parametrize(
    ("transport", "has_pipelining", "enabled", "user", "wanted"),
    [
        ("local", True, False, None, True),
        ("local", True, False, become(), True),
        ("local", True, False, become(prompt=True), False),
        ("local", True, True, become(prompt=True), True),
        ("ssh", True, False, become(prompt=True), True),
        ("ssh", True, False, become(pipelining=False), False),
        ("ssh", True, True, become(pipelining=False), False),
        ("ssh", True, False, become(require_tty=True), False),
        ("community.docker.docker", True, False, become(prompt=True), False),
        ("paramiko_ssh", False, False, None, False),
        ("paramiko_ssh", False, True, None, False),
    ],
)
def test_when_a_command_gets_a_standard_input(transport, has_pipelining, enabled, user, wanted):
    connection = Connection(transport=transport, has_pipelining=has_pipelining, enabled=enabled, become=user)
    assert image_load.ActionModule._takes_stdin(types.SimpleNamespace(_connection=connection)) is wanted


@pytest.mark.parametrize(
    ("name", "user", "wanted"),
    [
        ("ansible.builtin.local", None, ["_put_here"]),
        ("ansible.builtin.local", become(), ["_put_by_stdin", "_put_by_file"]),
        ("somebody.made.local", None, ["_put_by_stdin", "_put_by_file"]),
        ("ansible.builtin.local", become(prompt=True), ["_put_by_file"]),
    ],
)
def test_only_as_ourselves_on_this_machine_is_no_command_needed(name, user, wanted):
    connection = Connection(transport="local", has_pipelining=True, enabled=False, become=user)
    connection.ansible_name = name
    action = image_load.ActionModule(types.SimpleNamespace(), connection, None, None, None, None)
    assert [way.__name__ for way in action._ways()] == wanted


def test_pieces_that_need_no_command_lie_where_the_host_looks_for_them(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (found,) = blobs(tmp_path, b"x" * 2000)
    sent = list(pieces([found], 900))
    assert image_load.ActionModule._put_here(str(root), sent) is None
    assert Staging(str(root)).stock(found.digest, 2000, found.what) == 2000
    trouble = image_load.ActionModule._put_here(str(found.extent.path), sent)
    assert trouble.startswith("[Errno 20] Not a directory: ")


# The catalogue


@pytest.fixture
def catalogue(monkeypatch, tmp_path):
    """Opens a catalogue as another process of the same run would."""
    (tmp_path / "local").mkdir()
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path / "local"))
    return _catalogue.Catalogue


def test_a_catalogue_is_kept_for_the_run(catalogue, monkeypatch, tmp_path):
    src = write_layout(tmp_path / "bundle.tar", [APP])
    first = catalogue(str(src))
    monkeypatch.setattr(_catalogue, "Archive", None)
    again = catalogue(str(src))
    assert [entry.label for entry in again.archive.entries] == ["registry.example.com/app:1"]
    extents = again.extents([APP.config_digest, *[one.digest for one in APP.layers]], [])
    assert {digest: extent.read(1 << 20) for digest, extent in extents.items()} == {
        digest: APP.blobs[digest] for digest in (APP.config_digest, *[one.digest for one in APP.layers])
    }
    assert first.extents([APP.config_digest], []) == {APP.config_digest: extents[APP.config_digest]}


@pytest.mark.parametrize("change", ["content", "mode"])
def test_a_file_that_was_changed_is_another(catalogue, tmp_path, change):
    src = tmp_path / "bundle.tar"
    src.write_bytes(b"no archive" * 100)
    with pytest.raises(ArchiveError, match="not a tar archive"):
        catalogue(str(src))
    if change == "content":
        write_layout(src, [APP])
    else:
        src.chmod(0o600)
    opened = []
    real = _catalogue.Archive
    _catalogue.Archive = lambda *args: opened.append(args) or real(*args)
    try:
        if change == "content":
            assert catalogue(str(src)).archive.entries
        else:
            with pytest.raises(ArchiveError):
                catalogue(str(src))
    finally:
        _catalogue.Archive = real
    assert len(opened) == 1


def test_a_folder_that_was_mended_is_read_again(catalogue, tmp_path):
    src = write_layout(tmp_path / "bundle", [APP])
    config = src / "blobs/sha256" / APP.config_digest.partition(":")[2]
    config.rename(tmp_path / "away")
    assert not catalogue(str(src)).archive.entries[0].variants
    (tmp_path / "away").rename(config)
    assert catalogue(str(src)).archive.entries[0].variants


def test_a_layer_that_was_compressed_is_expanded_once(catalogue, tmp_path):
    packed = layer({"big": b"1" * 100000}, "zstd")
    src = write_layout(tmp_path / "bundle.tar", [image([packed], names=["a:1"])])
    found = catalogue(str(src))
    extent = found.expanded(found.extents([packed.digest], [])[packed.digest], packed.diff_id, "layer 1 of a:1")
    assert extent.hash() == packed.diff_id
    assert catalogue(str(src)).expanded(Extent("gone", 0, 0), packed.diff_id, "layer 1 of a:1") == extent


# The task


def test_gives_up_if_what_was_sent_is_never_there(catalogue, tmp_path):
    """Somebody cleans up the staging folder again and again."""
    asks = {"missing": [{"digest": APP.layers[0].digest, "of": APP.layers[0].digest, "size": len(APP.layers[0].blob), "what": "x", "staged": 0}]}
    asks.update(root="/var/tmp/stowage.oci-0/x", state={})
    task = types.SimpleNamespace(args={}, check_mode=False, delegate_to=None, no_log=False)
    rounds = []
    action = types.SimpleNamespace(
        _task=task,
        _found=lambda _option, path: path,
        _progress=lambda task_vars: image_load.Progress("h", quiet=True),
        _execute_module=lambda **options: rounds.append(options) or {"ask": dict(asks)},
        _send=lambda *args: None,
    )
    args = {"src": str(write_layout(tmp_path / "bundle.tar", [APP])), "base": [], "images": None, "names": {}}
    with pytest.raises(StagingError, match="^/var/tmp/stowage.oci-0/x: what was sent is not there when it is used"):
        image_load.ActionModule._load(action, args, {})
    assert len(rounds) == image_load.ROUNDS


def test_says_where_the_controller_has_no_room(playbook, docker20, tmp_path):
    packed = pack(write_layout(tmp_path / "bundle.tar", [image([layer({"big": b"1" * 30_000_000})], names=["a:1"])]), "gzip")
    plays = [{"hosts": "all", "gather_facts": False, "tasks": [{"stowage.oci.image_load": {"src": str(packed), "engine_host": docker20.url}}]}]
    local = tmp_path / "local"
    local.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", local], check=True)
    try:
        run = playbook(plays, {"machine": {}}, ANSIBLE_LOCAL_TEMP=str(local))
        assert run.one().status == "failed"
        assert run.one().result["msg"].startswith(f"expanding {packed} needs 30.0 MB in {local}/")
        # What Ansible itself puts there is less than a megabyte; and nothing is left for what is learned of an archive.
        shutil.copy(packed, local / "filler")
        subprocess.run(["mount", "-o", "remount,size=20m,nr_inodes=8", local], check=True)
        run = playbook(plays, {"machine": {}}, ANSIBLE_LOCAL_TEMP=str(local))
        assert run.one().status == "failed"
        assert run.one().result["msg"].startswith(f"{local}/") and "No space left on device" in run.one().result["msg"]
    finally:
        subprocess.run(["umount", local], check=True)
