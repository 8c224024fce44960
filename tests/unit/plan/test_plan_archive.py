# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidInput, InvalidReference
from ansible_collections.stowage.oci.plugins.module_utils._oci.archive import Archive
from ansible_collections.stowage.oci.plugins.module_utils._oci.bundle import DOCKER_ARCHIVE, OCI_ARCHIVE
from ansible_collections.stowage.oci.plugins.module_utils._oci.place import Old
from ansible_collections.stowage.oci.plugins.module_utils._oci.platform import parse as platform
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse
from ansible_collections.stowage.oci.plugins.module_utils._plan.archive import Keep, Offer, Sought, Write, choose, decide, shown, wanted
from ansible_collections.stowage.oci.tests.unit.images import image, index, layer, write_docker_archive, write_layout

BASE = layer({"etc/os": b"base"}, "gzip")
APP = image([BASE, layer({"app": b"1"})], names=["docker.io/library/app:1"])
NEXT = image([BASE, layer({"app": b"2"})], names=["docker.io/library/app:1"])
WEB = image([BASE], names=["registry.example/web:2"], config={"Cmd": ["/web"]})
ARM = image([layer({"app": b"arm"})], platform="linux/arm64", names=["docker.io/library/app:1"])
BOTH = index([APP, ARM], names=["docker.io/library/app:1"])


def inspect(made, image_id):
    """What an engine shows of an image."""
    config = json.loads(made.config)
    return {
        "Id": image_id,
        "Created": config.get("created"),
        "Os": config["os"],
        "Architecture": config["architecture"],
        "Config": config["config"],
        "RootFS": {"Layers": made.diff_ids},
    }


def by_config(made):
    """As the classic store and Podman offer it."""
    return Offer(platform("%(os)s/%(architecture)s" % made.platform), None, inspect(made, made.config_digest), size=10)


def by_manifest(made, document=None):
    """As the containerd store does, or a registry."""
    return Offer(platform("%(os)s/%(architecture)s" % made.platform), made.digest, document, True, 20)


def sought(*offers, name="app:1"):
    return Sought(parse(name), "sha256:" + "0" * 64, None, None, offers)


@pytest.fixture(name="old")
def _old(tmp_path):
    def made(*items, form=OCI_ARCHIVE, **how):
        return Old(form, Archive(str(write_layout(tmp_path / "old.tar", items, **how)), ""), "")

    return made


@pytest.mark.parametrize("offer", [by_config, by_manifest])
def test_keeps_what_is_the_same(old, offer):
    wish = [sought(offer(APP)), sought(offer(WEB), name="registry.example/web:2")]
    assert decide(OCI_ARCHIVE, wish, old(APP, WEB)) == Keep()


def test_keeps_the_same_content_under_another_manifest(old):
    offer = by_manifest(NEXT, inspect(APP, NEXT.digest))
    assert decide(OCI_ARCHIVE, [sought(offer)], old(APP)) == Keep()
    # By what it shows only the containerd store's image is known; elsewhere the ID is the config's digest.
    assert decide(OCI_ARCHIVE, [sought(offer._replace(by_content=False))], old(APP)) == Write({"docker.io/library/app:1": "other_content"}, ())


def test_keeps_all_platforms(old):
    assert decide(OCI_ARCHIVE, [sought(by_manifest(ARM), by_manifest(APP))], old(BOTH)) == Keep()


def test_writes_what_has_the_same_platforms_under_another_index(old):
    wish = sought(by_manifest(APP), by_manifest(ARM))
    assert decide(OCI_ARCHIVE, [wish._replace(target=BOTH.digest)], old(BOTH)) == Keep()
    assert decide(OCI_ARCHIVE, [wish._replace(target=APP.digest)], old(BOTH)) == Write({"docker.io/library/app:1": "other_content"}, ())


@pytest.mark.parametrize("offer", [by_config, by_manifest])
def test_writes_what_is_another(old, offer):
    wish = [sought(offer(NEXT)), sought(offer(WEB), name="registry.example/web:2")]
    assert decide(OCI_ARCHIVE, wish, old(APP, WEB)) == Write({"docker.io/library/app:1": "other_content"}, ())


@pytest.mark.parametrize(
    ("offers", "there"),
    [([by_manifest(APP)], BOTH), ([by_manifest(APP), by_manifest(ARM)], APP), ([by_manifest(ARM)], APP), ([by_manifest(APP)], ARM)],
    ids=range(4),
)
def test_writes_other_platforms(old, offers, there):
    assert decide(OCI_ARCHIVE, [sought(*offers)], old(there)) == Write({"docker.io/library/app:1": "other_platforms"}, ())


def test_writes_what_is_absent(old):
    wish = [sought(by_config(APP)), sought(by_config(WEB), name="web:1")]
    assert decide(OCI_ARCHIVE, wish, old(APP)) == Write({"docker.io/library/web:1": "absent"}, ())
    assert decide(OCI_ARCHIVE, wish, None) == Write({"docker.io/library/app:1": "absent", "docker.io/library/web:1": "absent"}, ())


def test_takes_out_what_is_not_wanted(old):
    nameless = image([BASE], names=[], config={"Cmd": ["/other"]})
    odd = image([BASE], names=["No:Such:Name"], config={"Cmd": ["/odd"]})
    plan = decide(OCI_ARCHIVE, [sought(by_config(APP))], old(APP, WEB, nameless, odd))
    assert plan == Write({}, ("No:Such:Name", "registry.example/web:2", nameless.digest))


def test_one_image_of_two_names_may_lose_one(old):
    twice = APP._replace(names=("docker.io/library/app:1", "docker.io/library/app:latest"))
    assert decide(OCI_ARCHIVE, [sought(by_config(APP))], old(twice)) == Write({}, ("docker.io/library/app:latest",))
    assert decide(OCI_ARCHIVE, [sought(by_config(APP)), sought(by_config(APP), name="app")], old(twice)) == Keep()


@pytest.mark.parametrize("form", [DOCKER_ARCHIVE, ""])
def test_writes_another_format(old, form):
    assert decide(OCI_ARCHIVE, [sought(by_config(APP))], old(APP, form=form)) == Write({"docker.io/library/app:1": "other_format"}, ())


def test_writes_what_lacks_a_layer(old, tmp_path):
    lacking = old(APP, without=[BASE.digest])
    assert decide(OCI_ARCHIVE, [sought(by_config(APP))], lacking) == Write({"docker.io/library/app:1": "incomplete"}, ())
    assert decide(OCI_ARCHIVE, [sought(by_config(APP))], Old(OCI_ARCHIVE, None, "it is damaged")) == Write({"docker.io/library/app:1": "damaged"}, ())


def test_a_docker_archive_is_known_by_content(tmp_path):
    there = Old(DOCKER_ARCHIVE, Archive(str(write_docker_archive(tmp_path / "old.tar", [APP])), ""), "")
    assert decide(DOCKER_ARCHIVE, [sought(by_config(APP))], there) == Keep()
    assert decide(DOCKER_ARCHIVE, [sought(by_manifest(APP, inspect(APP, APP.digest)))], there) == Keep()
    assert decide(DOCKER_ARCHIVE, [sought(by_config(NEXT))], there) == Write({"docker.io/library/app:1": "other_content"}, ())


def test_a_docker_archive_takes_one_platform():
    with pytest.raises(InvalidInput, match="app:1: a docker-archive holds one platform of an image, and this comes for linux/amd64, linux/arm64"):
        decide(DOCKER_ARCHIVE, [sought(by_manifest(APP), by_manifest(ARM))], None)


def test_chooses_platforms():
    offers = (by_manifest(APP), by_manifest(ARM))
    assert choose([], offers, "here") == offers
    assert choose([platform("linux/arm64/v8")], offers, "here") == offers[1:]
    assert choose([platform("arm64"), platform("amd64"), platform("amd64")], offers, "here") == offers[::-1]
    with pytest.raises(InvalidInput, match="here is not there for linux/s390x: name .* with platform, or leave it away: linux/amd64, linux/arm64$"):
        choose([platform("amd64"), platform("s390x")], offers, "here")


def test_reads_what_is_wanted():
    digest = "@sha256:" + "a" * 64
    found = wanted(["app:1", "docker.io/library/app:1", "web", "quay.io/x/y:2" + digest])
    assert [reference.spelling for reference in found] == ["app:1", "web", "quay.io/x/y:2" + digest]
    assert [sought(name=reference.spelling).name for reference in found] == ["docker.io/library/app:1", "docker.io/library/web:latest", "quay.io/x/y:2"]
    with pytest.raises(InvalidReference, match="app@sha256:a* has no tag, and a bundle names its images by repository and tag"):
        wanted(["app" + digest])
    with pytest.raises(InvalidInput, match="both app:1 and app:1@sha256:a* would be named docker.io/library/app:1 in the bundle"):
        wanted(["app:1", "app:1" + digest])


def test_shows_digests_as_the_source_has_them(old):
    image_of = sought(by_config(NEXT))._replace(config_digest=NEXT.config_digest)
    assert shown(image_of, old(APP)) == ({"linux/amd64": APP.config_digest}, {"linux/amd64": NEXT.config_digest})
    assert shown(sought(by_manifest(ARM)), old(BOTH)) == ({"linux/amd64": APP.digest, "linux/arm64": ARM.digest}, {"linux/arm64": ARM.digest})
    assert shown(sought(by_manifest(APP), name="web"), old(APP)) == ({}, {"linux/amd64": APP.digest})
    assert shown(sought(by_manifest(APP)), None) == ({}, {"linux/amd64": APP.digest})


def test_adds_up_sizes():
    assert sought(by_manifest(APP), by_manifest(ARM)).size == 40
