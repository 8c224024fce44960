# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import ArchiveError
from ansible_collections.stowage.oci.plugins.module_utils._oci import image, manifest
from ansible_collections.stowage.oci.plugins.module_utils._oci.platform import Platform
from ansible_collections.stowage.oci.tests.unit import images

BASE = images.layer({"etc/os-release": b"x"})
TOP = images.layer({"app": b"1"}, "gzip")
HEALTH = {"Test": ["CMD", "true"], "Interval": 5}
RUN = {"Healthcheck": HEALTH, "Cmd": ["/app"], "Env": ["A=1"], "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}}}
APP = images.image([BASE, TOP], platform="linux/arm/v7", config=RUN)


def parsed(document):
    return image.parse_config(images.dump(document), "here")


def test_reads_a_config():
    found = image.parse_config(APP.config, "here")
    assert found.digest == APP.config_digest
    assert found.size == len(APP.config)
    assert found.platform == Platform("linux", "arm", "v7")
    assert list(found.diff_ids) == APP.diff_ids


def test_an_image_may_have_no_layers():
    assert image.parse_config(images.image([]).config, "here").diff_ids == ()
    assert parsed({"rootfs": {"type": "layers", "diff_ids": None}}).diff_ids == ()


def test_chains_diff_ids_as_the_specification_says():
    first, second = APP.diff_ids
    assert image.chain_ids([]) == ()
    assert image.chain_ids(APP.diff_ids) == (first, "sha256:" + hashlib.sha256(("%s %s" % (first, second)).encode()).hexdigest())


def test_puts_manifest_and_config_together():
    found = image.assemble(["app:1"], manifest.parse(APP.manifest, "here"), APP.config, "here")
    assert found.label == "app:1"
    assert found.names == ("app:1",)
    assert [layer.descriptor.digest for layer in found.layers] == [layer.digest for layer in APP.layers]
    assert [layer.diff_id for layer in found.layers] == APP.diff_ids
    assert [layer.chain_id for layer in found.layers] == list(image.chain_ids(APP.diff_ids))
    assert found._replace(names=()).label == APP.digest[:19]


def test_manifest_and_config_agree_on_the_layers():
    with pytest.raises(ArchiveError, match="^here: the manifest has 2 layers and the config 1: the archive is damaged"):
        image.assemble([], manifest.parse(APP.manifest, "here"), images.image([BASE]).config, "here")


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({}, "not an image config: it has no rootfs.diff_ids"),
        ({"rootfs": {}}, "not an image config"),
        ({"rootfs": None}, "not an image config"),
        ({"rootfs": []}, "a JSON object is wanted where this has []"),
        ({"rootfs": {"diff_ids": "x"}}, "a list is wanted where this has x"),
        ({"rootfs": {"diff_ids": ["x"]}}, "'x' is not a digest"),
        ({"rootfs": {"diff_ids": [None]}}, "None is not a digest"),
        ({"rootfs": {"diff_ids": []}, "os": 1}, "its platform is [1, '', '']"),
        ({"rootfs": {"diff_ids": []}, "config": [1]}, "a JSON object is wanted where this has [1]"),
    ],
)
def test_says_what_is_no_config(document, why):
    with pytest.raises(ArchiveError) as caught:
        parsed(document)
    assert str(caught.value).startswith("here: ")
    assert why in str(caught.value)


def inspect(**changes):
    """What an engine shows of APP."""
    shown = {
        "RootFS": {"Type": "layers", "Layers": APP.diff_ids},
        "Created": "2024-05-01T10:00:00Z",
        "Os": "linux",
        "Architecture": "arm",
        "Variant": "v7",
        "Config": dict(RUN, Hostname="", Volumes=None, OnBuild=[], Tty=False, Shell={}, Healthcheck=dict(HEALTH, Retries=0)),
    }
    return dict(shown, **changes)


def test_an_engine_shows_the_same_fingerprint():
    assert image.fingerprint_of_inspect(inspect()) == image.parse_config(APP.config, "here").fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"RootFS": {}},
        {"RootFS": None},
        {"RootFS": {"Layers": APP.diff_ids[::-1]}},
        {"Created": "2024-05-01T10:00:01Z"},
        {"Created": ""},
        {"Os": "windows"},
        {"Architecture": "arm64"},
        {"Variant": ""},
        {"Config": dict(RUN, Cmd=["/other"])},
        {"Config": dict(RUN, Shell=["/bin/bash"])},
        {"Config": None},
    ],
)
def test_any_difference_is_another_fingerprint(changes):
    assert image.fingerprint_of_inspect(inspect(**changes)) != image.fingerprint_of_inspect(inspect())


@pytest.mark.parametrize(
    ("stated", "shown"),
    [
        ("2024-05-01T10:00:00Z", "2024-05-01T10:00:00.000Z"),
        ("2024-05-01T10:00:00.120Z", "2024-05-01T10:00:00.12Z"),
        ("2024-05-01T10:00:00+00:00", "2024-05-01T10:00:00Z"),
        ("2024-05-01t10:00:00z", "2024-05-01T10:00:00Z"),
        ("2024-05-01T10:00:00.5+02:00", "2024-05-01T10:00:00.50+02:00"),
        (None, "0001-01-01T00:00:00Z"),
        (None, ""),
        ("yesterday", "yesterday"),
    ],
)
def test_one_time_in_two_spellings_is_one_fingerprint(stated, shown):
    config = images.image([BASE, TOP], platform="linux/arm/v7", config=RUN, created=stated).config
    assert image.parse_config(config, "here").fingerprint == image.fingerprint_of_inspect(inspect(Created=shown))


@pytest.mark.parametrize(("key", "value"), [("StopTimeout", 3), ("Hostname", "a3b1db6aa1c4"), ("Image", "sha256:0"), ("Tty", True)])
def test_what_the_containerd_store_never_shows_counts_for_nothing(key, value):
    document = json.loads(APP.config)
    document["config"][key] = value
    assert parsed(document).fingerprint == image.parse_config(APP.config, "here").fingerprint
