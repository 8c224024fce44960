# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What image_load wishes for: which images of an archive, under which names, for which platform."""

from __future__ import annotations

import json

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import ImageNotInArchive, InvalidInput, InvalidReference
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import Digest
from ansible_collections.stowage.oci.plugins.module_utils._oci.manifest import Descriptor
from ansible_collections.stowage.oci.plugins.module_utils._oci.platform import Platform
from ansible_collections.stowage.oci.plugins.module_utils._plan.names import want
from ansible_collections.stowage.oci.plugins.module_utils._plan.wish import Wanted, choose
from ansible_collections.stowage.oci.tests.unit import images
from ansible_collections.stowage.oci.tests.unit.plan.wishing import APP, BASE, OTHER, opened, wanted, wishes

UNNAMED = images.image([BASE])
ARM = images.image([BASE, images.layer({"arm": b"1"})], platform="linux/arm64")
LINUX = Platform("linux", "amd64")


@pytest.fixture(name="archive")
def _archive(tmp_path):
    return opened(tmp_path, APP, OTHER)


# Names


def test_an_image_is_wanted_under_the_names_that_the_archive_has(archive):
    app, other = wishes(archive)
    assert (app.label, app.references) == ("docker.io/library/app:1", ("docker.io/library/app:1",))
    assert other.references == ("registry.example.com/team/other:2",)
    (variant,) = app.variants
    assert variant.platform == LINUX
    assert variant.manifest == Descriptor(APP.descriptor()["mediaType"], Digest(APP.digest), len(APP.manifest))
    assert variant.config.digest == APP.config_digest
    assert variant.diff_ids == APP.diff_ids


@pytest.mark.parametrize(
    ("names", "references"),
    [
        ({"docker.io/library/app:1": "mine:2"}, ["mine:2", "registry.example.com/team/other:2"]),
        ({"app:1": "mine:2"}, ["mine:2", "registry.example.com/team/other:2"]),
        ({"docker.io/library/": "site.example.com/"}, ["site.example.com/app:1", "registry.example.com/team/other:2"]),
        (
            {"registry.example.com/": "a.example.com/", "registry.example.com/team/": "b.example.com/"},
            ["docker.io/library/app:1", "b.example.com/other:2"],
        ),
        ({"docker.io/": "a.example.com/", "registry.example.com/": "a.example.com/"}, ["a.example.com/library/app:1", "a.example.com/team/other:2"]),
        ({"app:1": "mine:1", "docker.io/library/": "b.example.com/"}, ["mine:1", "registry.example.com/team/other:2"]),
        ({"app:1": "mine:1", "docker.io/library/": "b.example.com/", APP.digest: "digest:1"}, ["digest:1", "registry.example.com/team/other:2"]),
        ({APP.digest: "digest:1"}, ["digest:1", "registry.example.com/team/other:2"]),
        ({APP.config_digest: "digest:1"}, ["digest:1", "registry.example.com/team/other:2"]),
    ],
)
def test_names_rename(archive, names, references):
    assert [reference for wish in wishes(archive, **names) for reference in wish.references] == references


def test_every_name_of_an_image_is_renamed_by_its_own_rule(tmp_path):
    many = APP._replace(names=("docker.io/library/app:1", "docker.io/library/app:stable", "quay.io/x/app:1"))
    (wish,) = want(opened(tmp_path, many).entries, {"app:1": "one:1", "docker.io/library/": "site.example.com/"}, "here")
    assert wish.references == ("one:1", "site.example.com/app:stable", "quay.io/x/app:1")


def test_two_names_that_become_one_are_one(tmp_path):
    many = APP._replace(names=("docker.io/library/app:1", "quay.io/library/app:1"))
    (wish,) = want(opened(tmp_path, many).entries, {"quay.io/": "docker.io/"}, "here")
    assert wish.references == ("docker.io/library/app:1",)


def test_an_image_without_a_name_must_get_one(tmp_path):
    archive = opened(tmp_path, UNNAMED)
    with pytest.raises(InvalidInput) as error:
        wishes(archive)
    assert str(error.value) == (
        "here: the image %s has no name: give it one with names, for example names: {'%s': 'app:1'}" % (UNNAMED.digest, UNNAMED.digest)
    )
    assert wishes(archive, **{UNNAMED.digest: "app:1"})[0].references == ("app:1",)


def test_a_bare_tag_is_no_name_but_a_handle(tmp_path):
    (entry,) = opened(tmp_path, UNNAMED._replace(names=("v1",)), annotate="oci").entries
    (wish,) = want([entry], {"v1": "app:1"}, "here")
    assert wish.references == ("app:1",)


def test_two_images_cannot_have_one_name(archive):
    with pytest.raises(InvalidInput, match="here: both docker.io/library/app:1 and .*/other:2 would be named app:1: choose with images, or rename"):
        wishes(archive, **{"registry.example.com/team/other:2": "app:1"})


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ({"app:1": "Not a name"}, InvalidReference, "'Not a name' is not an image reference"),
        ({"app:1": "a@sha256:" + "0" * 64}, InvalidInput, "here: .*/app:1 would be named a@sha256:0+, and a host names images by a tag"),
        ({"Nonsense:1:2": "app:1"}, InvalidReference, "'Nonsense:1:2' is not an image reference"),
        ({"nothing:1": "app:1", "quay.io/": "a/"}, InvalidInput, "names: nothing:1, quay.io/ fits no image of here, which holds docker.io/"),
        (
            {"docker.io/library/": "a.example.com"},
            InvalidInput,
            "names: docker.io/library/ is to become a.example.com, which is not the beginning of references, ending in / as docker.io/library/ does",
        ),
        ({"app:1": 1}, InvalidInput, "names: app:1 is to become 1, which is not a reference"),
    ],
)
def test_names_that_cannot_be_are_refused(archive, names, error, message):
    with pytest.raises(error, match=message):
        wishes(archive, **names)


def test_a_reference_with_tag_and_digest_is_set_as_its_tag(tmp_path):
    name = "docker.io/library/app:1@" + APP.digest
    (wish,) = want(opened(tmp_path, APP._replace(names=(name,))).entries, {}, "here")
    assert wish.references == (name,)


def test_a_wish_survives_its_journey(archive, tmp_path):
    for one in wishes(archive) + wanted(images.index([APP._replace(names=()), ARM], names=["multi:1"]), tmp_path=tmp_path / "index"):
        assert Wanted.parse(json.loads(json.dumps(one.json()))) == one


# Platforms


def multi(tmp_path, *children, **how):
    return wanted(images.index(children, names=["docker.io/library/multi:1"], **how), tmp_path=tmp_path)[0]


def test_the_hosts_own_platform_is_chosen_unless_another_is_asked_for(tmp_path):
    wish = multi(tmp_path, APP._replace(names=()), ARM)
    assert choose(wish, LINUX, None).diff_ids == APP.diff_ids
    assert choose(wish, Platform("linux", "arm64"), None).diff_ids == ARM.diff_ids
    assert choose(wish, LINUX, Platform("linux", "arm64")).diff_ids == ARM.diff_ids


def test_the_best_variant_wins(tmp_path):
    v6, v7 = [images.image([BASE], platform="linux/arm/" + variant, config={"User": variant}) for variant in ("v6", "v7")]
    wish = multi(tmp_path, v6, v7)
    assert choose(wish, Platform("linux", "arm", "v8"), None).config.digest == v7.config_digest
    assert choose(wish, Platform("linux", "arm", "v6"), None).config.digest == v6.config_digest


def test_a_config_without_a_platform_runs_anywhere(tmp_path):
    bare = images.dump({"rootfs": {"type": "layers", "diff_ids": []}})
    made = images.image([])
    manifest = json.loads(made.manifest.decode())
    manifest["config"].update(digest=images.sha256(bare), size=len(bare))
    made = made._replace(names=("bare:1",), config=bare, manifest=images.dump(manifest), platform={})
    (wish,) = wanted(made, tmp_path=tmp_path)
    assert choose(wish, Platform("windows", "arm64"), None).config.digest == images.sha256(bare)


@pytest.mark.parametrize(
    ("host", "asked", "message"),
    [
        (
            Platform("linux", "s390x"),
            None,
            "docker.io/library/multi:1 is in the archive for linux/amd64, linux/arm64, not for linux/s390x, which this host runs; "
            "its index names linux/ppc64le, which the archive lacks: to load it all the same, give platform: linux/amd64",
        ),
        (
            LINUX,
            Platform("linux", "arm", "v7"),
            "docker.io/library/multi:1 is in the archive for linux/amd64, linux/arm64, not for linux/arm/v7; "
            "its index names linux/ppc64le, which the archive lacks: name one of these with platform, or leave it away",
        ),
    ],
)
def test_says_which_platforms_there_are(tmp_path, host, asked, message):
    wish = multi(tmp_path, APP._replace(names=()), ARM, lacking=[images.image([BASE], platform="linux/ppc64le")])
    with pytest.raises(ImageNotInArchive) as error:
        choose(wish, host, asked)
    assert str(error.value) == message


def test_says_when_the_archive_has_an_index_alone(tmp_path):
    wish = multi(tmp_path, lacking=[ARM])
    with pytest.raises(ImageNotInArchive) as error:
        choose(wish, LINUX, None)
    assert str(error.value) == (
        "docker.io/library/multi:1 is in the archive for no platform, not for linux/amd64, which this host runs; "
        "its index names linux/arm64, which the archive lacks"
    )
