# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup and restoration by the program that keeps a registry, on a real one."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.stowage.oci.tests.contract import kept
from ansible_collections.stowage.oci.tests.unit import images

AMD = images.image([images.layer({"app": b"amd"}, "gzip")])
ARM = images.image([images.layer({"app": b"arm"}, "gzip")], platform="linux/arm64")
MULTI = images.index([AMD, ARM])
APP = images.image([images.layer({"app": b"app"})])


@pytest.fixture
def host() -> Iterator[kept.Host]:
    with kept.host() as made:
        yield made.start()


@pytest.fixture
def filled(host: kept.Host) -> kept.Host:
    host.push("team/multi:1", MULTI)
    host.push("app:1", APP)
    host.push("app:2", APP)
    return host


@pytest.mark.parametrize("name", ["copy.tar", "copy.tar.gz"])
def test_a_registry_comes_back_from_its_backup(filled: kept.Host, tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    size = sum(path.stat().st_size for path in filled.data.rglob("*") if path.is_file() and "_uploads" not in path.parts)
    expected = {"changed": True, "bytes": size, "repositories": 2, "tags": 3, "blobs": len(filled.blobs())}
    assert filled.done("backup", str(target), "--dry-run") == expected and not target.exists() and filled.service.calls == []
    result = filled.done("backup", str(target), "--prove")
    assert result == {"changed": True, "bytes": target.stat().st_size, "repositories": 2, "tags": 3, "blobs": len(filled.blobs())}
    assert filled.service.served == [str(filled.folder / "run/readonly.json"), str(filled.config_path)] and filled.writable()
    assert target.stat().st_mode & 0o777 == 0o600 and os.listdir(tmp_path) == [name]
    first = target.read_bytes()
    filled.done("backup", str(target))
    assert target.read_bytes() == first

    assert filled.done("restore", str(target)) == {"changed": False}
    shutil.rmtree(filled.data / "docker")
    assert filled.done("restore", str(target), "--dry-run") == {"changed": True} and os.listdir(filled.data) == []
    filled.service.calls.clear()
    assert filled.done("restore", str(target)) == {"changed": True}
    assert [call[0] for call in filled.service.calls] == ["stop", "start"]
    assert os.listdir(filled.data) == ["docker"]
    for image in ("team/multi:1", "app:1", "app:2"):
        filled.pull(image)
    filled.push("app:3", ARM)
    filled.pull("app:3")
    assert filled.refused("restore", str(target)) == (
        f"{filled.data} is not empty: it holds app, team/multi. A backup is put into an empty registry alone: move {filled.data}/docker away first."
    )


def test_an_empty_registry_has_an_empty_backup(host: kept.Host, tmp_path: Path) -> None:
    target = tmp_path / "copy.tar"
    assert host.done("backup", str(target), "--prove")["blobs"] == 0
    assert host.done("restore", str(target)) == {"changed": False}


def test_a_damaged_blob_is_named_and_replaces_no_backup(filled: kept.Host, tmp_path: Path) -> None:
    target = tmp_path / "copy.tar"
    filled.done("backup", str(target))
    good = target.read_bytes()
    blob = filled.data / f"docker/registry/v2/blobs/sha256/{APP.config_digest[7:9]}/{APP.config_digest[7:]}/data"
    blob.write_bytes(b"x" + blob.read_bytes()[1:])
    assert f"The blob {APP.config_digest} is damaged: the bytes of {blob} have another digest" in filled.refused("backup", str(target))
    assert target.read_bytes() == good and os.listdir(tmp_path) == ["copy.tar"]
    assert filled.writable()
    shutil.copy(blob, tmp_path / "damaged")
    blob.unlink()
    assert f"its blob {APP.config_digest} is lacking" in filled.refused("backup", str(target), "--prove")
    assert target.read_bytes() == good


def test_what_is_no_whole_backup_changes_nothing(filled: kept.Host, tmp_path: Path) -> None:
    target = tmp_path / "copy.tar"
    filled.done("backup", str(target))
    shutil.rmtree(filled.data / "docker")
    data = target.read_bytes()
    flipped = data.replace(APP.config, b"x" + APP.config[1:])
    with tarfile.open(target) as archive:
        last = archive.getmembers()[-1].offset
    evil = {}
    for name in ("/etc/evil", "docker/../../evil", "other", "docker//x"):
        evil[name] = images.tar({name: b"evil"})
    evil["docker/link"] = images.tar({"docker/link": "/etc"})
    for content, words in [
        (flipped, f"The blob {APP.config_digest} is damaged"), (data[:last] + bytes(1024), "was cut off"), (data[:last - 700], "or a damaged one"),
        (b"text", "is no backup"), *((content, "which no backup does") for content in evil.values()),
    ]:
        (tmp_path / "bad.tar").write_bytes(content)
        for options in ([], ["--dry-run"]):
            assert words in filled.refused("restore", str(tmp_path / "bad.tar"), *options)
        assert os.listdir(filled.data) == [] and filled.writable()
        shutil.rmtree(filled.data / "docker")
    assert f"{tmp_path}/none.tar is no backup, or a damaged one: [Errno 2]" in filled.refused("restore", str(tmp_path / "none.tar"))


def test_what_a_backup_is_not_made_of_or_to(host: kept.Host, tmp_path: Path) -> None:
    assert host.refused("backup", str(tmp_path / "copy.zip")) == f"{tmp_path}/copy.zip: a backup is named NAME.tar or NAME.tar.gz."
    assert "there is no folder" in host.refused("backup", str(tmp_path / "none/copy.tar"))
    host.config["storage"] = {"s3": {"bucket": "b"}}
    host.configure()
    assert "this registry keeps its images in s3" in host.refused("backup", str(tmp_path / "copy.tar"))
    assert "this registry keeps its images in s3" in host.refused("restore", str(tmp_path / "copy.tar"))
