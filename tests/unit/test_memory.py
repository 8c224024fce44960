# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host remembers between runs, and the files that it is kept in."""

from __future__ import annotations

import json
import os
import stat

import pytest

from ansible_collections.stowage.oci.plugins.module_utils._flow.memory import Memory, Past, entries
from ansible_collections.stowage.oci.plugins.module_utils._oci import kept
from ansible_collections.stowage.oci.plugins.module_utils._oci.context import Entry, Tree
from ansible_collections.stowage.oci.plugins.module_utils._plan.build import Last

URL, TAG = "unix:///run/docker.sock", "docker.io/library/app:1"
TREE = Tree([Entry("run", "file", 0o755, 1, "a" * 64), Entry("sub", "dir", 0o700), Entry("sub/link", "link", 0o777, target="../run")])
LAST = Last("sha256:" + "1" * 64, "sha256:" + "2" * 64)
WRONG = [None, [], "text", 1, {}, {"digest": "a", "image_id": "b"}, {"digest": "a", "entries": {}}, {"digest": "a", "image_id": "b", "entries": [1]}]


@pytest.fixture(name="home", autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture(name="file")
def _file(tmp_path):
    return tmp_path / "folder" / "file.json"


def files(home):
    return sorted(path for path in home.rglob("*") if path.is_file())


def remembered(tree=TREE):
    Memory(URL, TAG, True).remember(LAST.digest, LAST.image_id, tree)


# Memory


def test_remembers_the_last_build_of_a_tag_at_an_engine():
    assert Memory(URL, TAG, True).last is None
    remembered()
    assert Memory(URL, TAG, True).last == Past(LAST, entries(TREE))
    assert Memory(URL, TAG + "1", True).last is None and Memory(URL + "1", TAG, True).last is None
    Memory(URL, TAG, True).remember("sha256:3", LAST.image_id, Tree([]))
    assert Memory(URL, TAG, True).last == Past(Last("sha256:3", LAST.image_id), {})


def test_an_entry_tells_what_counts():
    assert entries(TREE) == {"run": "file 755 " + "a" * 16, "sub": "dir 700 ", "sub/link": "link 777 ../run"}


def test_names_that_are_no_text_are_remembered():
    tree = Tree([Entry("caf\xe9 \udcff\n", "file", 0o644, 1, "b" * 64)])
    remembered(tree)
    assert Memory(URL, TAG, True).last.entries == entries(tree)


def test_what_is_as_it_was_is_not_written_again(home):
    remembered()
    (file,) = files(home)
    os.utime(str(file), (1, 1))
    remembered()
    assert file.stat().st_mtime == 1


def test_without_it_nothing_is_read_or_written(home):
    remembered()
    memory = Memory(URL, TAG, False)
    assert memory.last is None and memory.hashes("/srv/app") is None
    before = [file.read_bytes() for file in files(home)]
    memory.remember("sha256:3", "sha256:4", TREE)
    assert [file.read_bytes() for file in files(home)] == before


@pytest.mark.parametrize("document", WRONG, ids=json.dumps)
def test_what_is_not_as_it_should_be_is_none(home, document):
    remembered()
    (file,) = files(home)
    file.write_text(json.dumps(document))
    assert Memory(URL, TAG, True).last is None
    remembered()
    assert Memory(URL, TAG, True).last == Past(LAST, entries(TREE))


def test_is_kept_below_the_users_cache(home, monkeypatch):
    remembered()
    assert [file.parent for file in files(home)] == [home / "cache" / "stowage.oci"]
    assert stat.S_IMODE((home / "cache" / "stowage.oci").stat().st_mode) == 0o700
    monkeypatch.delenv("XDG_CACHE_HOME")
    remembered()
    assert [file.parent for file in files(home)][1] == home / "home" / ".cache" / "stowage.oci"


def test_the_digests_of_files_are_kept_by_folder(home, monkeypatch):
    memory = Memory(URL, TAG, True)
    (home / "one").mkdir()
    (home / "link").symlink_to("one")
    assert memory.hashes(None) is None
    assert memory.hashes(str(home / "one")) == memory.hashes(str(home / "link")) == Memory("other", "other", True).hashes(str(home / "one"))
    assert memory.hashes(str(home / "one")) != memory.hashes(str(home / "two"))
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    assert str(memory.hashes("/srv/app")).startswith("/.cache/stowage.oci/files-")


# Files


def test_a_file_holds_what_was_stored(file):
    kept.store(str(file), {"a": ["caf\xe9", 1]})
    assert kept.load(str(file)) == {"a": ["caf\xe9", 1]}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    kept.store(str(file), [])
    assert kept.load(str(file)) == [] and os.listdir(str(file.parent)) == [file.name]


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"a": 1', b"[" * 200000], ids=["empty", "cut", "no text", "no end", "deep"])
def test_a_damaged_file_is_none(file, data):
    kept.store(str(file), {})
    file.write_bytes(data)
    assert kept.load(str(file)) is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_could_have_written_is_none(file, mode):
    kept.store(str(file), {"a": 1})
    file.chmod(mode)
    assert kept.load(str(file)) is None
    kept.store(str(file), {"a": 2})
    assert kept.load(str(file)) == {"a": 2}


def test_a_file_of_somebody_else_is_none(file, monkeypatch):
    kept.store(str(file), {"a": 1})
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    assert kept.load(str(file)) is None


def test_no_link_is_followed_and_no_pipe_waited_for(file):
    kept.store(str(file), {"a": 1})
    link = file.parent / "link"
    link.symlink_to(file.name)
    os.mkfifo(str(file.parent / "pipe"), 0o600)
    assert [kept.load(str(path)) for path in (link, file.parent / "pipe", file.parent, file.parent / "none")] == [None] * 4
    kept.store(str(link), {"a": 2})
    assert kept.load(str(link)) == {"a": 2} and kept.load(str(file)) == {"a": 1}


def test_where_no_folder_can_be_nothing_is_stored(file):
    file.parent.write_text("in the way")
    kept.store(str(file), {"a": 1})
    assert file.parent.read_text() == "in the way" and kept.load(str(file)) is None


def test_what_cannot_be_put_in_its_place_leaves_nothing(file):
    (file / "in the way").mkdir(parents=True)
    kept.store(str(file), {"a": 1})
    assert os.listdir(str(file.parent)) == [file.name]


def test_what_is_no_json_leaves_nothing(file):
    kept.store(str(file), {"a": 1})
    with pytest.raises(TypeError):
        kept.store(str(file), {"a": {1}})
    assert os.listdir(str(file.parent)) == [file.name] and kept.load(str(file)) == {"a": 1}
