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
