# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build is given, from the options that name it."""

from __future__ import annotations

import io
import os
import re
import tarfile

import pytest

from ansible_collections.stowage.oci.plugins.module_utils._errors import ContextChanged, ContextError, InvalidInput
from ansible_collections.stowage.oci.plugins.module_utils._flow.context import opened
from ansible_collections.stowage.oci.plugins.module_utils._oci.hashes import Hashes
from ansible_collections.stowage.oci.tests.unit.images import COMPRESSIONS, pack, tar, write


@pytest.fixture(name="root")
def _root(tmp_path):
    """A folder for contexts, and for what lies outside of them."""
    return tmp_path


def look(path=None, dockerfile=None, inline=None):
    params = {"path": None if path is None else str(path), "dockerfile": dockerfile, "dockerfile_inline": inline}
    return opened(params, Hashes(None))


def folder(root, files):
    return write(root / "context", {name: text.encode() for name, text in files.items()})


def archive(root, files):
    return write(root / "context.tar", {name: text.encode() for name, text in files.items()})


def names(context):
    return [entry.path for entry in context.tree.entries]


def sent(context, extra=()):
    """The files that a builder gets."""
    with tarfile.open(fileobj=io.BytesIO(b"".join(context.packed(dict(extra))))) as found:
        return {member.name: (found.extractfile(member).read(), member.mtime) for member in found if member.isreg()}


def refused(message, *args, error=InvalidInput):
    with pytest.raises(error) as raised:
        look(*args)
    assert re.search(message, str(raised.value)), raised.value


# Folders


def test_a_folder_with_its_dockerfile(root):
    path = folder(root, {"Dockerfile": "FROM a", "sub/file": "1"})
    context = look(path)
    assert (context.dockerfile, context.where, context.name) == (b"FROM a", str(path / "Dockerfile"), "Dockerfile")
    assert (context.folder, context.file, context.ignore) == (str(path), str(path / "Dockerfile"), None)
    assert names(context) == ["Dockerfile", "sub", "sub/file"]
    assert sent(context) == {"Dockerfile": (b"FROM a", 0), "sub/file": (b"1", 0)}


def test_other_files_for_the_builder(root):
    context = look(folder(root, {"Dockerfile": "FROM a", "file": "1"}))
    assert sent(context, {"file": b"2", "more": b"3"}) == {"Dockerfile": (b"FROM a", 0), "file": (b"2", 0), "more": (b"3", 0)}


@pytest.mark.parametrize(
    ("there", "name"), [(["Dockerfile", "Containerfile"], "Dockerfile"), (["Containerfile"], "Containerfile")]
)
def test_the_usual_names(root, there, name):
    assert look(folder(root, {one: "FROM " + one for one in there})).name == name


def test_a_folder_of_a_usual_name_is_no_dockerfile(root):
    path = folder(root, {"Containerfile": "FROM a", "Dockerfile/file": "1"})
    assert look(path).name == "Containerfile"


@pytest.mark.parametrize("named", ["deploy/my.Dockerfile", "./deploy/../deploy/my.Dockerfile"])
def test_a_dockerfile_that_is_named(root, named):
    path = folder(root, {"Dockerfile": "FROM a", "deploy/my.Dockerfile": "FROM b"})
    context = look(path, named)
    assert (context.dockerfile, context.name, context.file) == (b"FROM b", "deploy/my.Dockerfile", str(path / "deploy/my.Dockerfile"))


def test_a_whole_path_into_the_folder(root):
    path = folder(root, {"Dockerfile": "FROM a", "b": "FROM b"})
    assert look(path, str(path / "b")).name == "b"


@pytest.mark.parametrize("whole", [True, False])
def test_a_dockerfile_outside(root, whole):
    path = folder(root, {"file": "1"})
    outside = root / "outside"
    outside.write_text("FROM b")
    context = look(path, str(outside) if whole else "../outside")
    assert (context.dockerfile, context.name, context.file, context.where) == (b"FROM b", None, str(outside), str(outside))
    assert names(context) == ["file"]


def test_a_dockerfile_that_is_a_link_is_read_and_is_none_in_the_context(root):
    """A link leads nowhere for the builder."""
    path = folder(root, {"file": "1"})
    (root / "outside").write_text("FROM b")
    (path / "Dockerfile").symlink_to("../outside")
    context = look(path)
    assert (context.dockerfile, context.name) == (b"FROM b", None) and names(context) == ["Dockerfile", "file"]


def test_a_dockerfile_that_is_ignored(root):
    context = look(folder(root, {"Dockerfile": "FROM a", ".dockerignore": "Dockerfile\n", "file": "1"}))
    assert (context.dockerfile, context.name, context.ignore) == (b"FROM a", None, b"Dockerfile\n")
    assert names(context) == [".dockerignore", "file"]


def test_an_ignore_file_that_is_ignored(root):
    context = look(folder(root, {"Dockerfile": "FROM a", ".dockerignore": ".dockerignore\n*.log\n", "a.log": "1"}))
    assert (context.ignore, names(context)) == (None, ["Dockerfile"])


def test_an_ignore_file_of_the_dockerfiles_own(root):
    files = {"a.Dockerfile": "FROM a", "Dockerfile": "FROM b", "a.log": "", "a.txt": ""}
    path = folder(root, dict(files, **{".dockerignore": "*.txt\n", "a.Dockerfile.dockerignore": "*.log\n"}))
    context = look(path, "a.Dockerfile")
    assert "a.txt" in names(context) and "a.log" not in names(context)
    assert context.ignore == b"*.txt\n"
    assert "a.log" in names(look(path)) and "a.txt" not in names(look(path))


def test_an_ignore_file_beside_a_dockerfile_outside(root):
    path = folder(root, {"file": "1", "a.log": "1"})
    (root / "outside").write_text("FROM b")
    (root / "outside.dockerignore").write_text("*.log\n")
    assert names(look(path, "../outside")) == ["file"]


def test_a_dockerfile_from_the_task_with_a_folder(root):
    path = folder(root, {"Dockerfile": "FROM a", ".dockerignore": "*.log\n", "a.log": ""})
    context = look(path, inline="FROM \u00e4")
    assert (context.dockerfile, context.where, context.name, context.file) == ("FROM \u00e4".encode(), "dockerfile_inline", None, None)
    assert (context.folder, names(context)) == (str(path), [".dockerignore", "Dockerfile"])


def test_tells_what_the_folder_holds_now(root):
    path = folder(root, {"Dockerfile": "FROM a", "file": "1"})
    context = look(path)
    assert context.measured().digest == context.tree.digest
    (path / "file").write_text("2")
    assert context.measured().digest != context.tree.digest
    with pytest.raises(ContextChanged, match="/context/file: changed while the build context was read"):
        sent(context)


# Tars


@pytest.mark.parametrize("kind", ["", *COMPRESSIONS])
def test_a_tar_with_its_dockerfile(root, kind):
    path = archive(root, {"Dockerfile": "FROM a", "file": "1", ".dockerignore": "file\n"})
    path = pack(path, kind) if kind else path
    context = look(path)
    assert (context.dockerfile, context.where, context.name) == (b"FROM a", "Dockerfile in %s" % path, "Dockerfile")
    assert (context.folder, context.file, context.ignore, context.measured) == (None, None, None, None)
    assert names(context) == [".dockerignore", "Dockerfile", "file"]
    assert sent(context, {"more": b"2"})["more"] == (b"2", 0) and sent(context)["file"][0] == b"1"


@pytest.mark.parametrize(("named", "text"), [(None, b"FROM c"), ("b", b"FROM b"), ("./sub/../b", b"FROM b")])
def test_a_dockerfile_in_a_tar(root, named, text):
    assert look(archive(root, {"./Containerfile": "FROM c", "./b": "FROM b"}), named).dockerfile == text


def test_a_dockerfile_beside_a_tar(root):
    (root / "outside").write_text("FROM b")
    context = look(archive(root, {"Dockerfile": "FROM a"}), str(root / "outside"))
    assert (context.dockerfile, context.where, context.name, context.file) == (b"FROM b", str(root / "outside"), None, str(root / "outside"))


def test_a_dockerfile_from_the_task_with_a_tar(root):
    context = look(archive(root, {"Dockerfile": "FROM a"}), inline="FROM b")
    assert (context.dockerfile, context.where, context.name, names(context)) == (b"FROM b", "dockerfile_inline", None, ["Dockerfile"])


# Nothing


def test_no_context_at_all():
    context = look(inline="FROM a")
    assert (context.dockerfile, context.where, context.name, context.folder) == (b"FROM a", "dockerfile_inline", None, None)
    assert names(context) == [] and sent(context, {"Dockerfile": b"FROM a"}) == {"Dockerfile": (b"FROM a", 0)}


# What is wrong


def test_says_what_is_missing(root):
    path = folder(root, {"file": "1"})
    refused("^path: give the folder or tar of the context, or dockerfile_inline for a build without one$")
    refused("^path: give the folder or tar of the context", None, "Dockerfile")
    refused("^path: there is no .*/nowhere on this host: give the folder or tar of the context$", root / "nowhere")
    refused("^dockerfile: there is neither Dockerfile nor Containerfile in .*/context: name the one that is meant$", path)
    refused("^.*/context/none cannot be read: No such file or directory$", path, "none")
    refused("^.*/context cannot be read: Is a directory$", path, ".")
    tarred = archive(root, {"file": "1"})
    refused("^dockerfile: there is no Dockerfile or Containerfile in .*/context.tar: name the one that is meant$", tarred)
    refused("^dockerfile: there is no none in .*/context.tar: name the one that is meant$", tarred, "none")
    refused("^.*/none cannot be read: No such file or directory$", tarred, str(root / "none"))


def test_says_that_there_are_two_dockerfiles(root):
    refused("^dockerfile and dockerfile_inline: give one of them$", folder(root, {"a": "FROM a"}), "a", "FROM b")


@pytest.mark.parametrize("data", [b"FROM a\n", tar({"Dockerfile": b"FROM a" * 500})[:700]], ids=["a file", "a part"])
def test_says_that_a_file_is_no_tar(root, data):
    (root / "file").write_bytes(data)
    refused("/file: not a tar, or not all of it", root / "file", error=ContextError)


def test_says_that_a_pipe_is_no_context(root):
    os.mkfifo(str(root / "pipe"))
    refused("/pipe is neither a folder nor a tar that can be read: a build context is one of them", root / "pipe")


def test_says_that_a_tar_changed(root):
    path = archive(root, {"Dockerfile": "FROM a"})
    context = look(path)
    archive(root, {"Dockerfile": "FROM a", "b": "1"})
    with pytest.raises(ContextChanged, match="/context.tar: changed while it was read"):
        sent(context)
