# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import ArchiveError
from ansible_collections.stowage.oci.plugins.module_utils._oci import manifest
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import Digest
from ansible_collections.stowage.oci.plugins.module_utils._oci.manifest import Descriptor, Index, Manifest
from ansible_collections.stowage.oci.plugins.module_utils._oci.platform import Platform
from ansible_collections.stowage.oci.tests.unit import images

D = "sha256:" + "0" * 64
BASE = images.layer({"etc/os-release": b"x"})
APP = images.image([BASE, images.layer({"app": b"1"}, "gzip")])
ARM = images.image([BASE], platform="linux/arm/v6")


def test_reads_a_manifest_and_keeps_its_bytes():
    found = manifest.parse(APP.manifest, "here")
    assert isinstance(found, Manifest)
    assert found.raw == APP.manifest
    assert found.digest == APP.digest
    assert found.media_type == manifest.OCI_MANIFEST
    assert found.config.digest == APP.config_digest
    assert [layer.json() for layer in found.layers] == [layer.descriptor() for layer in APP.layers]
    assert found.artifact == ""


def test_reads_dockers_types_as_those_of_oci():
    found = manifest.parse(images.image([BASE, APP.layers[1]], docker=True).manifest, "here")
    assert found.media_type == manifest.DOCKER_MANIFEST
    assert found.artifact == ""
    types = [manifest.oci_type(one.media_type) for one in (found.config,) + found.layers]
    assert types == [manifest.OCI_CONFIG, manifest.OCI_LAYER, manifest.OCI_LAYER + "+gzip"]
    assert manifest.oci_type("text/plain") == "text/plain"


@pytest.mark.parametrize("docker", [False, True])
def test_reads_an_index(docker):
    made = images.index([APP, images.attestation(APP)], lacking=[ARM], docker=docker)
    found = manifest.parse(made.raw, "here")
    assert isinstance(found, Index)
    assert found.digest == made.digest
    assert found.media_type == (manifest.DOCKER_LIST if docker else manifest.OCI_INDEX)
    assert [child.digest for child in found.manifests] == [child.digest for child in made.children + made.lacking]
    assert [child.attestation for child in found.manifests] == [False, True, False]
    assert found.manifests[2].platform == Platform("linux", "arm", "v6")


def test_a_document_says_its_type_or_whoever_points_to_it_does():
    document = json.loads(APP.manifest)
    del document["mediaType"]
    raw = images.dump(document)
    assert manifest.parse(raw, "here").media_type == manifest.OCI_MANIFEST
    assert manifest.parse(raw, "here", manifest.DOCKER_MANIFEST).media_type == manifest.DOCKER_MANIFEST
    assert manifest.parse(b'{"schemaVersion":2,"manifests":[]}', "here").media_type == manifest.OCI_INDEX


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (images.artifact(), "application/vnd.cncf.helm.config.v1+json"),
        (images.artifact(config_type="application/vnd.oci.empty.v1+json", artifactType="a/b"), "application/vnd.oci.empty.v1+json"),
        (images.artifact(config_type=manifest.OCI_CONFIG), "application/vnd.cncf.helm.chart.content.v1.tar+gzip"),
    ],
)
def test_tells_artifacts_from_images(made, kind):
    assert manifest.parse(made.manifest, "here").artifact == kind


def test_foreign_layers_are_layers():
    document = json.loads(APP.manifest)
    for media_type in ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "application/vnd.oci.image.layer.nondistributable.v1.tar"):
        document["layers"][0].update(mediaType=media_type, urls=["https://example.com/layer"])
        assert manifest.parse(images.dump(document), "here").artifact == ""


def test_an_attestation_has_the_annotation_or_an_unknown_platform():
    entry = {"mediaType": manifest.OCI_MANIFEST, "digest": D, "size": 1}
    assert not Descriptor.parse(entry, "here").attestation
    assert Descriptor.parse(dict(entry, annotations={manifest.REFERENCE_TYPE: "attestation-manifest"}), "here").attestation
    assert Descriptor.parse(dict(entry, platform={"os": "unknown", "architecture": "unknown"}), "here").attestation


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ([], "a descriptor is wanted where this has []"),
        ("x", "a descriptor is wanted where this has x"),
        ({"digest": D}, "a descriptor is malformed: its size is None"),
        ({"digest": D, "size": -1}, "its size is -1"),
        ({"digest": D, "size": 1 << 63}, "its size is 9223372036854775808"),
        ({"digest": D, "size": True}, "its size is True"),
        ({"digest": D, "size": 1.5}, "its size is 1.5"),
        ({"digest": D, "size": "1"}, "its size is 1"),
        ({"size": 1}, "None is not a digest"),
        ({"digest": [D], "size": 1}, "is not a digest"),
        ({"digest": "sha256:short", "size": 1}, "a sha256 digest has 64"),
        ({"digest": D, "size": 1, "platform": [1]}, "its platform is [1]"),
        ({"digest": D, "size": 1, "platform": {"os": 3}}, "its platform is [3, '', '']"),
        ({"digest": D, "size": 1, "annotations": []}, "a JSON object is wanted where this has []"),
        ({"digest": D, "size": 1, "annotations": {"a": 1}}, "the annotations of %s are not all text" % D),
        ({"digest": D, "size": 1, "mediaType": 7}, "text is wanted where this has 7"),
    ],
)
def test_says_what_is_wrong_with_a_descriptor(document, why):
    with pytest.raises(ArchiveError) as caught:
        Descriptor.parse(document, "here")
    assert str(caught.value).startswith("here: ")
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON (Expecting value"),
        (b"\xff\xfe{}", "not JSON ("),
        (b"[]", "a JSON object is wanted where this has []"),
        (b'"x"', "a JSON object is wanted where this has x"),
        (b"{}", "not an image manifest of schema version 2"),
        (b'{"schemaVersion":1,"fsLayers":[]}', "old schema 1 images must be converted first"),
        (b'{"schemaVersion":2}', "neither an image manifest nor an index: no media type"),
        (b'{"schemaVersion":2,"mediaType":"a/b"}', "neither an image manifest nor an index: a/b"),
        (b'{"schemaVersion":2,"mediaType":["a/b"],"manifests":[]}', "text is wanted where this has ['a/b']"),
        (b'{"schemaVersion":2,"manifests":{}}', "a list is wanted where this has {}"),
        (b'{"schemaVersion":2,"manifests":[],"layers":[]}', "both an index and an image manifest"),
        (b'{"schemaVersion":2,"config":{},"layers":[]}', "a descriptor is malformed"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "JSON nested more than 64 deep"),
        (b"[" * 1000000, "not JSON ("),
        (b"[" * 2000000 + b"]" * 2000000, "not JSON ("),
        (b'{"a":"\\ud800"}', "not JSON ("),
        (b'{"a":"\\uDC00x"}', "not JSON ("),
    ],
)
def test_says_what_is_no_manifest(raw, why):
    with pytest.raises(ArchiveError) as caught:
        manifest.parse(raw, "here")
    assert str(caught.value).startswith("here: ")
    assert why in str(caught.value)
    assert len(str(caught.value)) < 400


def test_reads_escaped_characters_of_two_halves():
    assert manifest.load(b'{"a":"\\ud83d\\ude00 \\u003c"}', "here") == {"a": "\U0001f600 <"}


def test_makes_the_same_bytes_of_the_same_parts():
    docker = manifest.parse(images.image(APP.layers, docker=True).manifest, "here")
    made = manifest.make(docker.config, docker.layers, {"annotations": {"b": "é", "a": "1"}, "schemaVersion": 1})
    assert made.raw == manifest.make(docker.config, list(docker.layers), {"schemaVersion": 1, "annotations": {"a": "1", "b": "é"}}).raw
    found = manifest.parse(made.raw, "here")
    assert found == made
    assert [one.media_type for one in (found.config,) + found.layers] == [manifest.OCI_CONFIG, manifest.OCI_LAYER, manifest.OCI_LAYER + "+gzip"]
    assert [one.digest for one in found.layers] == [one.digest for one in APP.layers]
    assert json.loads(made.raw)["annotations"] == {"a": "1", "b": "é"}
    assert manifest.make(Descriptor("", Digest(D), 1), ()).config.media_type == manifest.OCI_CONFIG


# Indexes of some manifests


def parsed(document):
    return manifest.parse(json.dumps(document, indent=3).encode(), "here")


@pytest.mark.parametrize("media_type", [{}, {"mediaType": manifest.OCI_INDEX}, {"mediaType": manifest.DOCKER_LIST}])
def test_a_part_of_an_index_keeps_all_that_it_says_of_the_others(media_type):
    entries = [
        dict(ARM.descriptor(), platform={"variant": "v6", "os": "linux", "architecture": "arm", "os.features": ["x"]}, annotations={"é": "1"}),
        dict(images.attestation(APP).descriptor(), platform={"os": "unknown", "architecture": "unknown"}),
        dict(APP.descriptor(), urls=["https://example.com/app"]),
    ]
    document = dict(media_type, schemaVersion=2, manifests=entries, annotations={"built": "today"})
    found = manifest.subset(parsed(document), {APP.digest, ARM.digest})
    assert found.raw.decode() == json.dumps(dict(document, manifests=entries[::2]), separators=(",", ":"), ensure_ascii=False)
    assert found == manifest.parse(found.raw, "here")
    other = manifest.subset(parsed(document), {one["digest"] for one in entries[1:]})
    assert manifest.subset(other, {APP.digest}) == manifest.subset(found, {APP.digest})


def test_all_of_an_index_is_the_index_to_the_byte():
    whole = parsed({"schemaVersion": 2, "manifests": [APP.descriptor(), ARM.descriptor()]})
    assert manifest.subset(whole, {ARM.digest, APP.digest, D}) is whole


@pytest.mark.parametrize("docker", [[], [0], [0, 1]])
def test_makes_the_same_index_of_the_same_manifests(docker):
    made = [images.image([BASE], platform=one, docker=number in docker) for number, one in enumerate(("linux/arm/v6", "linux/amd64"))]
    read = [manifest.parse(one.manifest, "here") for one in made]
    platforms = [Platform("linux", "arm", "v6"), Platform("linux", "amd64")]
    children = [Descriptor(one.media_type, one.digest, len(one.raw), platform) for one, platform in zip(read, platforms)]
    found = manifest.make_index(children)
    assert found == manifest.make_index(children[::-1]) == manifest.parse(found.raw, "here")
    assert json.loads(found.raw.decode()) == {
        "schemaVersion": 2,
        "mediaType": manifest.DOCKER_LIST if len(docker) == 2 else manifest.OCI_INDEX,
        "manifests": [dict(one.descriptor(), platform=one.platform) for one in made[::-1]],
    }


def test_an_entry_states_no_platform_that_is_not_known():
    unknown = Descriptor(manifest.OCI_MANIFEST, Digest(D), 1, Platform("linux", ""))
    assert unknown.entry() == unknown.json()
