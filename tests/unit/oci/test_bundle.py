# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import BlobMismatch
from ansible_collections.stowage.oci.plugins.module_utils._oci import bundle, manifest, place
from ansible_collections.stowage.oci.plugins.module_utils._oci.archive import Archive
from ansible_collections.stowage.oci.plugins.module_utils._oci.bundle import DOCKER_ARCHIVE, OCI_ARCHIVE, OCI_LAYOUT, Member
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import Digest
from ansible_collections.stowage.oci.plugins.module_utils._oci.extent import Extent
from ansible_collections.stowage.oci.plugins.module_utils._oci.image import assemble
from ansible_collections.stowage.oci.tests.unit.bundling import Written, listed
from ansible_collections.stowage.oci.tests.unit.images import attestation, image, index, layer, path, sha256

BASE = layer({"etc/os-release": b"ID=base\n" * 500})
APP = image([BASE, layer({"app": b"1"})], names=["docker.io/library/app:1"], config={"Cmd": ["/app"]})
WEB = image([BASE, layer({"web": b"2"})], names=["registry.example/team/web:2"])
ARM = image([layer({"app": b"arm"})], platform="linux/arm/v6", names=["docker.io/library/app:1"])
BOTH = index([APP, ARM], names=["docker.io/library/app:1"])

GOLDEN = {
    OCI_ARCHIVE: "00a58658350b1aba104b5cfbe7894bf0edbba7ec51788d4f657a1a67d56e2e35",
    DOCKER_ARCHIVE: "085919ee6ef639a273a7c9e98d4ce0ebdb9627a3cd8959881f638192d2a432be",
    OCI_LAYOUT: "a6bbe8a60ae956a3322c621cfe0799ac742513f8b7da7e85525037737692edba",
}
"""Whoever changes these makes every bundle of the world another file."""


def members(data):
    """The members of a tar, as Python's own reader sees them, and their bytes."""
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        return [(member, opened.extractfile(member).read()) for member in opened]


# The same bytes


def literal(tmp_path):
    """Two members and their blobs, in which no byte is anybody else's."""
    blobs = {}
    found = []
    for name, text in (("docker.io/library/app:1", b"1"), ("registry.example/team/web:2", b"2")):
        layers = []
        for data in (b"base" * 1000, text):
            where = tmp_path / hashlib.sha256(data).hexdigest()
            where.write_bytes(data)
            digest = Digest("sha256:" + where.name)
            blobs[digest] = Extent(str(where), 0, len(data))
            layers.append(manifest.Descriptor(manifest.OCI_LAYER, digest, len(data)))
        diff_ids = ",".join('"%s"' % one.digest for one in layers)
        config = b'{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[%s]}}' % diff_ids.encode()
        made = manifest.make(manifest.Descriptor(manifest.OCI_CONFIG, Digest.of(config), len(config)), layers)
        found.append(Member(name, (assemble((), made, config, "here"),)))
    return found, blobs


@pytest.mark.parametrize("form", [OCI_ARCHIVE, DOCKER_ARCHIVE])
def test_the_same_images_are_the_same_bytes_everywhere(tmp_path, form):
    found, blobs = literal(tmp_path)
    assert bundle.write_tar(bundle.files(found, form), blobs, io.BytesIO()) == GOLDEN[form]


def test_the_same_images_are_the_same_folder_everywhere(tmp_path):
    found, blobs = literal(tmp_path)
    files = bundle.files(found, OCI_LAYOUT)
    bundle.write_folder(files, blobs, str(tmp_path / "made"))
    assert place.measure(str(tmp_path / "made")) == (bundle.size(files, OCI_LAYOUT), GOLDEN[OCI_LAYOUT])


@pytest.mark.parametrize("form", [OCI_ARCHIVE, DOCKER_ARCHIVE])
def test_the_order_of_the_images_is_not_in_the_bytes(tmp_path, form):
    (tmp_path / "other").mkdir()
    assert Written(tmp_path, APP, WEB).tar(form) == Written(tmp_path / "other", WEB, APP).tar(form)


def test_a_tar_has_documents_first_each_blob_once_and_nothing_of_the_host(tmp_path):
    found = members(Written(tmp_path, WEB, APP).tar())
    documents = [path(digest) for made in (APP, WEB) for digest in (made.digest, made.config_digest)]
    layers = [path(one.digest) for one in (BASE, APP.layers[1], WEB.layers[1])]
    assert [member.name for member, _data in found] == ["oci-layout", "index.json", "manifest.json"] + documents + layers
    for member, data in found:
        assert (member.mtime, member.mode, member.uid, member.gid, member.uname, member.gname) == (0, 0o644, 0, 0, "", "")
        assert member.isreg() and member.size == len(data)
        assert not member.name.startswith("blobs/") or path(sha256(data)) == member.name


# What readers find


@pytest.mark.parametrize("form", [OCI_ARCHIVE, DOCKER_ARCHIVE])
def test_what_was_written_is_read_back(tmp_path, form):
    written = Written(tmp_path, APP, WEB)
    (tmp_path / "made.tar").write_bytes(written.tar(form))
    found = Archive(str(tmp_path / "made.tar"), "")
    assert [(entry.names, entry.absent) for entry in found.entries] == [((made.names[0],), ()) for made in (APP, WEB)]
    for entry, made in zip(found.entries, (APP, WEB)):
        (one,) = entry.variants
        assert one.config.digest == made.config_digest
        assert [digest for digest in made.diff_ids if not found.holds(digest)] == []
        assert form == DOCKER_ARCHIVE or one.manifest.raw == made.manifest


def test_names_are_told_in_every_way_that_tools_read(tmp_path):
    found = {member.name: data for member, data in members(Written(tmp_path, APP, WEB).tar())}
    entries = json.loads(found["index.json"])["manifests"]
    assert entries == [
        {
            "mediaType": manifest.OCI_MANIFEST,
            "digest": made.digest,
            "size": len(made.manifest),
            "platform": {"architecture": "amd64", "os": "linux"},
            "annotations": {"io.containerd.image.name": made.names[0], "org.opencontainers.image.ref.name": made.names[0]},
        }
        for made in (APP, WEB)
    ]
    assert json.loads(found["manifest.json"]) == [
        {"Config": path(made.config_digest), "RepoTags": list(made.names), "Layers": [path(one.digest) for one in made.layers]}
        for made in (APP, WEB)
    ]


@pytest.mark.parametrize("form", [OCI_ARCHIVE, DOCKER_ARCHIVE])
def test_one_image_of_two_names_is_there_once(tmp_path, form):
    twice = APP._replace(names=("docker.io/library/app:1", "docker.io/library/app:latest"))
    found = {member.name: data for member, data in members(Written(tmp_path, twice).tar(form))}
    (item,) = json.loads(found["manifest.json"])
    assert item["RepoTags"] == list(twice.names)
    assert len(found) == {OCI_ARCHIVE: 3 + 2 + 2, DOCKER_ARCHIVE: 1 + 1 + 2}[form]
    if form == OCI_ARCHIVE:
        assert [one["annotations"]["io.containerd.image.name"] for one in json.loads(found["index.json"])["manifests"]] == list(twice.names)


def test_a_whole_index_is_kept_to_the_byte(tmp_path):
    found = {member.name: data for member, data in members(Written(tmp_path, BOTH).tar())}
    (entry,) = json.loads(found["index.json"])["manifests"]
    assert (entry["mediaType"], entry["digest"], "platform" in entry) == (manifest.OCI_INDEX, BOTH.digest, False)
    assert found[path(BOTH.digest)] == BOTH.raw
    assert {path(digest) for digest in BOTH.blobs} == {name for name in found if name.startswith("blobs/")}


@pytest.mark.parametrize("whole", [True, False])
def test_an_index_that_lists_more_is_replaced_by_one_that_does_not(tmp_path, whole):
    attested = index([APP, ARM, attestation(APP)], names=BOTH.names)
    found = {member.name: data for member, data in members(Written(tmp_path, attested, whole_index=whole).tar())}
    (entry,) = json.loads(found["index.json"])["manifests"]
    assert entry["digest"] != attested.digest and path(attested.digest) not in found
    assert [(one["digest"], one["platform"]) for one in json.loads(found[path(entry["digest"])])["manifests"]] == [
        (APP.digest, {"architecture": "amd64", "os": "linux"}),
        (ARM.digest, {"architecture": "arm", "os": "linux", "variant": "v6"}),
    ]


def test_what_is_left_of_an_index_is_as_the_index_has_it(tmp_path):
    attested = index([ARM, APP, attestation(APP)], names=BOTH.names)
    found = {member.name: data for member, data in members(Written(tmp_path, attested).tar())}
    (entry,) = json.loads(found["index.json"])["manifests"]
    assert found[path(entry["digest"])] == manifest.subset(manifest.parse(attested.raw, "index"), {APP.digest, ARM.digest}).raw


def test_images_that_the_index_does_not_list_itself_come_under_one_of_their_own(tmp_path):
    nested = index([BOTH], names=BOTH.names)
    found = {member.name: data for member, data in members(Written(tmp_path, nested).tar())}
    (entry,) = json.loads(found["index.json"])["manifests"]
    assert [one["digest"] for one in json.loads(found[path(entry["digest"])])["manifests"]] == [APP.digest, ARM.digest]


def test_one_platform_of_an_index_is_its_manifest(tmp_path):
    written = Written(tmp_path, BOTH)
    written.members = [one._replace(variants=one.variants[1:]) for one in written.members]
    found = {member.name: data for member, data in members(written.tar())}
    (entry,) = json.loads(found["index.json"])["manifests"]
    assert (entry["digest"], entry["platform"]["variant"]) == (ARM.digest, "v6")
    assert {name for name in found if name.startswith("blobs/")} == {path(digest) for digest in ARM.blobs}


@pytest.mark.parametrize("order", [(APP, ARM), (ARM, APP)])
@pytest.mark.parametrize("form", [OCI_ARCHIVE, DOCKER_ARCHIVE])
def test_who_reads_manifest_json_alone_gets_the_common_platform(tmp_path, order, form):
    found = {member.name: data for member, data in members(Written(tmp_path, index(order, names=BOTH.names)).tar(form))}
    (item,) = json.loads(found["manifest.json"])
    assert APP.config_digest.partition(":")[2] in item["Config"]
    assert form == OCI_ARCHIVE or len(found) == 1 + 1 + len(APP.layers)


def test_or_else_the_first(tmp_path):
    found = {member.name: data for member, data in members(Written(tmp_path, ARM).tar(DOCKER_ARCHIVE))}
    assert ARM.config_digest.partition(":")[2] + ".json" in found


def test_a_platform_that_nobody_states_is_left_out(tmp_path):
    bare = image([BASE], platform="", names=["docker.io/library/bare:1"])
    found = {member.name: data for member, data in members(Written(tmp_path, bare).tar())}
    (entry,) = json.loads(found["index.json"])["manifests"]
    assert "platform" not in entry


# Writing


def test_a_wrong_blob_is_not_written(tmp_path):
    written = Written(tmp_path, APP)
    where = tmp_path / "source" / path(APP.layers[1].digest)
    where.write_bytes(where.read_bytes()[::-1])
    with pytest.raises(BlobMismatch, match="layer 2 of docker.io/library/app:1: its bytes are sha256:"):
        written.tar()


def test_a_folder_is_changed_in_place(tmp_path):
    folder = Written(tmp_path, APP).folder(tmp_path / "made")
    base, config = folder / path(BASE.digest), folder / path(APP.config_digest)
    (folder / path(APP.layers[1].digest)).write_bytes(b"x" * len(APP.layers[1].blob))
    config.write_bytes(b"short")
    (folder / "blobs/sha256/stale").write_bytes(b"from a run that was killed")
    before = os.stat(str(base))
    (tmp_path / "next").mkdir()

    Written(tmp_path / "next", APP, WEB).folder(folder)

    after = os.stat(str(base))
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    found = listed(folder)
    assert {name for name in found if name.startswith("blobs/")} == {path(digest) for made in (APP, WEB) for digest in made.blobs}
    assert all(path(sha256(data)) == name for name, data in found.items() if name.startswith("blobs/"))

    (tmp_path / "last").mkdir()
    Written(tmp_path / "last", APP).folder(folder)
    assert {name for name in listed(folder) if name.startswith("blobs/")} == {path(digest) for digest in APP.blobs}


def test_a_folder_stays_what_it_was_until_all_is_there(tmp_path):
    folder = Written(tmp_path, APP).folder(tmp_path / "made")
    before = listed(folder)
    (tmp_path / "next").mkdir()
    broken = Written(tmp_path / "next", WEB)
    (tmp_path / "next/source" / path(WEB.layers[1].digest)).write_bytes(b"x" * len(WEB.layers[1].blob))
    with pytest.raises(BlobMismatch):
        broken.folder(folder)
    assert {name: listed(folder)[name] for name in before} == before
    assert [entry.names for entry in Archive(str(folder), "").entries] == [APP.names]
