# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What we pack arrives in an image as it lies in the folder, through the build API of every engine."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Iterable

import engines
import pytest
from ansible_collections.stowage.oci.plugins.module_utils._oci.context import Tree, measured, packed
from ansible_collections.stowage.oci.plugins.module_utils._oci.context_tar import TarContext
from ansible_collections.stowage.oci.plugins.module_utils._oci.hashes import Hashes
from ansible_collections.stowage.oci.plugins.module_utils._oci.ignore import Ignore

DOCKERFILE = {"Dockerfile.ours": b"FROM scratch\nCOPY context /\n"}
NAMES = ["sp ace", "new\nline", "tab\tname", "caf\xe9", "not-utf-8-\udcff", "n" * 255, "d" * 150 + "/" + "n" * 150, "back\\slash", "quo\"te", "#hash"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in NAMES:
        (root / "context" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "context" / name).write_bytes(os.fsencode(name))
    context = root / "context"
    (context / "empty").mkdir(mode=0o700)
    (context / "sticky").mkdir()
    (context / "sticky").chmod(0o1777)
    (context / "program").write_text("#!/bin/true\n")
    (context / "program").chmod(0o750)
    (context / "large").write_bytes(bytes(range(256)) * 10000)
    os.link(context / "large", context / "hard")
    os.symlink("/etc/passwd", context / "out")
    os.symlink("l" * 200, context / "long")
    os.symlink("not-utf-8-\udcff", context / "link-\udcff")
    return root


def measure(folder: Path) -> Tree:
    return measured(str(folder), Ignore(b"", ""), Hashes(None))


def build(engine: engines.Engine, pieces: Iterable[bytes], version: int) -> bytes:
    """The file system of the image, as a tar."""
    path = f"/build?t=localhost/context:1&version={version}&dockerfile={next(iter(DOCKERFILE))}"
    log = engine.call("POST", path, iter(pieces), {"Content-Type": "application/x-tar"})
    assert b'"error"' not in log, log[-1000:]
    container = engine.json("POST", "/containers/create", {"Image": "localhost/context:1", "Cmd": ["x"]})["Id"]
    return engine.call("GET", f"/containers/{container}/export")


def arrived(data: bytes, tmp_path: Path, tree: Tree) -> Tree:
    """What of the tree is in the tar of an image: engines add files of their own."""
    (tmp_path / "image.tar").write_bytes(data)
    wanted = {entry.path.partition("/")[2] for entry in tree.entries}
    return Tree(entry for entry in TarContext(str(tmp_path / "image.tar")).tree.entries if entry.path in wanted)


def expected(tree: Tree) -> Tree:
    return Tree(entry._replace(path=entry.path[len("context/"):]) for entry in tree.entries if entry.path != "context")


def versions(engine: engines.Engine) -> tuple[int, ...]:
    return (1,) if engine.family == "podman" else (1, 2)


def test_arrives_as_it_is(engine, folder, tmp_path):
    tree = measure(folder)
    assert len(tree.entries) > len(NAMES) + 9
    for version in versions(engine):
        image = build(engine, packed(str(folder), tree, DOCKERFILE), version)
        assert arrived(image, tmp_path, tree).entries == expected(tree).entries


def test_a_link_above_the_context_arrives_except_at_podman(engine, folder, tmp_path):
    """Podman answers 500 and says nothing; absolute links, which lead out just as well, it takes."""
    os.symlink("../../../above", folder / "context" / "up")
    tree = measure(folder)
    if engine.family == "podman":
        with pytest.raises(engines.CallError, match=": 500 $"):
            build(engine, packed(str(folder), tree, DOCKERFILE), 1)
        return
    for version in versions(engine):
        image = build(engine, packed(str(folder), tree, DOCKERFILE), version)
        assert arrived(image, tmp_path, tree).entries == expected(tree).entries


def test_a_tar_arrives_as_it_is(engine, folder, tmp_path):
    tree = measure(folder)
    with tarfile.open(tmp_path / "context.tar.gz", "w:gz", encoding="utf-8", errors="surrogateescape", format=tarfile.GNU_FORMAT) as archive:
        archive.add(folder, ".")
    context = TarContext(str(tmp_path / "context.tar.gz"))
    assert context.tree.digest == tree.digest
    for version in versions(engine):
        image = build(engine, context.packed(DOCKERFILE), version)
        assert arrived(image, tmp_path, tree).entries == expected(tree).entries


def test_pipes_and_devices_arrive_where_docker_lets_them(engine, folder, tmp_path):
    """Through BuildKit of 20.10 they do not, with its own client either."""
    for path in (folder / "context").iterdir():
        if path.is_file() or path.is_symlink():
            path.unlink()
    os.mkfifo(folder / "context" / "pipe", 0o640)
    os.mknod(folder / "context" / "null", 0o20640, os.makedev(1, 3))
    tree = measure(folder)
    image = build(engine, packed(str(folder), tree, DOCKERFILE), 1)
    found = [entry for entry in arrived(image, tmp_path, tree).entries if entry.path in ("pipe", "null")]
    assert [(entry.kind, entry.mode, entry.target) for entry in found] == [("device", 0o640, "1:3"), ("fifo", 0o640, "")]


@pytest.mark.parametrize("version", [1, 2])
def test_the_same_tree_is_the_same_image_to_the_cache(docker, folder, version):
    def image() -> str:
        build(docker, packed(str(folder), measure(folder), DOCKERFILE), version)
        return docker.json("GET", "/images/localhost/context:1/json")["Id"]

    before = image()
    for path in folder.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (1, 1))
    assert image() == before
    (folder / "context" / "program").chmod(0o755)
    assert image() != before
