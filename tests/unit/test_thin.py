# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one form that every store loads."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._oci import manifest as _manifest
from ansible_collections.stowage.oci.plugins.module_utils._oci import thin
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import CHUNK, Digest
from ansible_collections.stowage.oci.plugins.module_utils._oci.manifest import OCI_LAYER, OCI_MANIFEST, Descriptor
from ansible_collections.stowage.oci.tests.unit import images

BASE = images.layer({"etc/os": b"base"}, "gzip")
TOP = images.layer({"app": b"1" * 700})
APP = images.image([BASE, TOP])
NOTES = {"key": "value"}


def descriptor(layer):
    return Descriptor(OCI_LAYER + ("+gzip" if layer.kind else ""), Digest(layer.digest), len(layer.blob))


def parsed(made):
    return _manifest.parse(made.manifest, "here")


def streamed(made, sent, manifest=None):
    """The files of the archive, and which blobs were read."""
    read = []

    def reader(digest):
        read.append(digest)
        return io.BytesIO(made.blobs[digest])

    data = b"".join(thin.stream(manifest or parsed(made), made.config, sent, NOTES, reader))
    assert len(data) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}, read


def test_is_a_layout_with_dockers_manifest():
    files, read = streamed(APP, [descriptor(BASE), descriptor(TOP)])
    assert read == [BASE.digest, TOP.digest]
    assert json.loads(files.pop("oci-layout").decode()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(files.pop("index.json").decode())
    assert index["manifests"] == [dict(APP.descriptor(), annotations=NOTES)]
    assert json.loads(files.pop("manifest.json").decode()) == [
        {"Config": images.path(APP.config_digest), "RepoTags": None, "Layers": [images.path(one.digest) for one in APP.layers]}
    ]
    assert files == {images.path(digest): data for digest, data in APP.blobs.items()}


def test_names_what_it_leaves_out():
    files, read = streamed(APP, [descriptor(TOP)])
    assert read == [TOP.digest]
    assert images.path(BASE.digest) not in files
    assert images.path(BASE.digest) in json.loads(files["manifest.json"].decode())[0]["Layers"]


def test_writes_a_repeated_layer_once():
    repeated = images.image([BASE, TOP, BASE])
    files, read = streamed(repeated, [descriptor(one) for one in repeated.layers])
    assert read == [BASE.digest, TOP.digest]
    assert len(json.loads(files["manifest.json"].decode())[0]["Layers"]) == 3


def test_may_have_no_layers():
    empty = images.image([])
    files, read = streamed(empty, [])
    assert read == [] and set(images.path(digest) for digest in empty.blobs) < set(files)


def test_depends_on_its_content_alone():
    first, second = [b"".join(thin.stream(parsed(APP), APP.config, [descriptor(TOP)], NOTES, lambda digest: io.BytesIO(TOP.blob))) for _run in "12"]
    assert first == second


def test_never_holds_more_than_a_chunk_of_a_blob():
    class Endless:
        left = 3 * CHUNK + 5

        def read(self, n):
            size = min(n, self.left)
            self.left -= size
            return b"x" * size

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            pass

    big = Descriptor(OCI_LAYER, Digest(TOP.digest), Endless.left)
    pieces = [len(piece) for piece in thin.stream(parsed(APP), APP.config, [big], NOTES, lambda digest: Endless())]
    assert max(pieces) == CHUNK
    assert sum(pieces) % 512 == 0


@pytest.mark.parametrize("size", [0, 1, (8 << 30) - 1, 8 << 30, 1 << 42])
def test_a_header_has_room_for_any_size(size):
    header = thin.header(thin.path(TOP.digest), size)
    assert len(header) == 512
    member = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
    assert (member.name, member.size, member.isreg()) == (images.path(TOP.digest), size, True)


def test_keeps_the_manifest_to_the_byte_if_it_says_the_same():
    assert thin.described(parsed(APP), [descriptor(one) for one in APP.layers]).raw == APP.manifest


@pytest.mark.parametrize("docker", [False, True])
def test_describes_layers_as_the_host_has_them(docker):
    made = images.image([BASE, TOP], docker=docker)
    own = Descriptor(OCI_LAYER, Digest(BASE.diff_id), len(BASE.tar))
    found = thin.described(parsed(made), [own, descriptor(TOP)])
    assert (found.media_type, found.layers) == (OCI_MANIFEST, (own, descriptor(TOP)))
    assert found.config.digest == made.config_digest
    assert found.config.media_type == _manifest.OCI_CONFIG
    assert _manifest.parse(found.raw, "here") == found


def test_a_docker_manifest_becomes_one_of_oci():
    made = images.image([BASE], docker=True)
    (layer,) = parsed(made).layers
    found = thin.described(parsed(made), [layer])
    assert found.media_type == OCI_MANIFEST and found.raw != made.manifest
    assert found.layers == (descriptor(BASE),)


def test_keeps_what_else_a_manifest_says():
    document = dict(json.loads(APP.manifest.decode()), annotations={"org.opencontainers.image.title": "app"})
    original = _manifest.parse(images.dump(document), "here")
    found = thin.described(original, [descriptor(TOP)])
    assert json.loads(found.raw.decode())["annotations"] == document["annotations"]


def test_names_a_blob_by_its_algorithm():
    assert thin.path("sha512:ab") == "blobs/sha512/ab"
