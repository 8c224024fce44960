# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import ArchiveError, InvalidInput, InvalidReference
from ansible_collections.stowage.oci.plugins.module_utils._oci import manifest, platform
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import Digest
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse
from ansible_collections.stowage.oci.plugins.module_utils._plan.content import described, left, narrowed, tree
from ansible_collections.stowage.oci.plugins.module_utils._plan.copy import Copy, Facts, Keep, Site, Wish, compare, decide, distinct, is_path
from ansible_collections.stowage.oci.tests.unit.images import artifact, attestation, image, index, layer

BASE = layer({"base": b"0"})
APP = image([BASE, layer({"app": b"1"})])
TOOL = image([BASE, layer({"tool": b"1"})])
ARM = image([layer({"app": b"2"})], platform="linux/arm64")
OLD = image([layer({"app": b"3"})], platform="linux/arm/v6")
MULTI = index([APP, ARM, OLD, attestation(APP)])
AMD64, ARM64, ARMV6 = map(platform.parse, ("linux/amd64", "linux/arm64", "linux/arm/v6"))


# Names


@pytest.mark.parametrize(
    ("text", "registry", "prefix"),
    [
        ("registry.example.com", "registry.example.com", ""),
        ("registry.example.com/", "registry.example.com", ""),
        ("localhost:5000/team/x", "localhost:5000", "team/x/"),
        ("localhost", "localhost", ""),
        ("docker.io", "docker.io", ""),
        ("index.docker.io/library", "docker.io", "library/"),
    ],
)
def test_a_site_is_a_registry_or_a_part_of_it(text, registry, prefix):
    assert Site.parse(text, "src") == (registry, prefix)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "destination: '' is no registry: write host"),
        ("team", "destination: team is no registry, as a registry's name has a dot or a port"),
        ("team/app", "destination: team/app is no registry, as a registry's name has a dot or a port"),
        ("https://registry.example.com", r"destination: https://registry.example.com is no registry: write host.* \(leave out https://, a registry"),
        ("ann:secret@registry.example.com", r"destination: ann:\*\*\*@registry.example.com is no registry: .* \(credentials do not belong in it"),
        (" registry.example.com", "leave out the blanks"),
        ("registry.example.com/Team", "must be lower case"),
    ],
)
def test_what_is_no_site_is_refused(text, said):
    with pytest.raises(InvalidInput, match=said):
        Site.parse(text, "destination")


@pytest.mark.parametrize(
    ("site", "text", "found"),
    [
        ("docker.io", "nginx", "docker.io/library/nginx:latest"),
        ("docker.io/library", "nginx:1", "docker.io/library/nginx:1"),
        ("localhost:5000/team", "app:1@" + APP.digest, "localhost:5000/team/app:1@" + APP.digest),
        ("localhost:5000/team", "localhost:5000/team/app:1", "localhost:5000/team/app:1"),
    ],
)
def test_an_image_of_a_site_is_written_from_below_it_or_in_full(site, text, found):
    reference = Site.parse(site, "src").source(text)
    assert str(reference) == found and reference.spelling == text


@pytest.mark.parametrize("text", ["quay.io/team/app:1", "localhost:5000/other/app:1"])
def test_an_image_of_another_site_is_refused(text):
    with pytest.raises(InvalidInput, match="%s is not in src, localhost:5000/team/" % text):
        Site.parse("localhost:5000/team", "src").source(text)


@pytest.mark.parametrize(
    ("site", "text", "found"),
    [
        ("localhost:5000", "quay.io/team/app:1", "localhost:5000/team/app:1"),
        ("localhost:5000/mirror", "nginx", "localhost:5000/mirror/library/nginx:latest"),
        ("localhost:5000", "app:1@" + APP.digest, "localhost:5000/library/app:1"),
        ("localhost:5000", "app@" + APP.digest, "localhost:5000/library/app@" + APP.digest),
        ("docker.io", "quay.io/app:1", "docker.io/library/app:1"),
    ],
)
def test_the_destination_keeps_the_path_and_the_tag(site, text, found):
    reference = parse(text)
    assert str(Site.parse(site, "destination").target(reference.repository, reference)) == found


def wish(source, target=None):
    return Wish(source, parse(source), parse(target or "localhost:5000/" + parse(source).repository + ":1"))


def test_two_images_of_one_name_are_refused():
    assert distinct([wish("quay.io/a:1"), wish("quay.io/b:1"), wish("quay.io/a:1")]) == [wish("quay.io/a:1"), wish("quay.io/b:1")]
    with pytest.raises(InvalidInput, match="both quay.io/a:1 and ghcr.io/a:1 would be localhost:5000/a:1"):
        distinct([wish("quay.io/a:1"), wish("ghcr.io/a:1")])


def test_a_name_that_is_too_long_for_its_place_is_refused():
    reference = parse("quay.io/%s:1" % ("a" * 250))
    with pytest.raises(InvalidReference, match="longer than 255"):
        Site.parse("localhost:5000/mirror", "destination").target(reference.repository, reference)


# Platforms


def parsed(item):
    return manifest.parse(item.raw, "index")


@pytest.mark.parametrize("platforms", [[], [AMD64, ARM64, ARMV6]])
def test_an_index_of_which_all_is_wanted_stays_as_it_is(platforms):
    assert narrowed(parsed(MULTI), platforms, "x").raw == MULTI.raw


def test_one_platform_of_an_index_is_its_manifest():
    chosen = narrowed(parsed(MULTI), [ARM64], "x")
    assert (chosen.digest, chosen.size, chosen.media_type) == (ARM.digest, len(ARM.manifest), manifest.OCI_MANIFEST)
    assert narrowed(parsed(index([APP, attestation(APP)])), [AMD64], "x").digest == APP.digest


@pytest.mark.parametrize("docker", [False, True])
def test_some_platforms_of_an_index_come_to_the_part_of_it_that_lists_them(docker):
    children = [image([BASE], docker=docker, platform=one) for one in ("linux/arm/v6", "linux/amd64", "linux/arm64")]
    whole = index(children + [attestation(children[0])], docker=docker)
    first, second = (narrowed(parsed(whole), platforms, "x") for platforms in ([AMD64, ARMV6], [ARMV6, AMD64]))
    assert first.raw == second.raw
    document = json.loads(whole.raw.decode())
    assert json.loads(first.raw.decode()) == dict(document, manifests=document["manifests"][:2])
    assert first.media_type == (manifest.DOCKER_LIST if docker else manifest.OCI_INDEX)
    assert [child.digest for child in first.manifests] == [child.digest for child in children[:2]]


def test_all_of_a_part_is_the_part():
    part = narrowed(parsed(MULTI), [AMD64, ARM64], "x")
    assert narrowed(part, [ARM64, AMD64], "x").raw == narrowed(part, [], "x").raw == part.raw
    assert narrowed(part, [ARM64], "x").digest == ARM.digest


def test_one_manifest_may_serve_several_platforms():
    listed = [dict(OLD.descriptor(), platform={"os": "linux", "architecture": "arm", "variant": one}) for one in ("v6", "v7")]
    whole = manifest.parse(json.dumps({"schemaVersion": 2, "manifests": [APP.descriptor()] + listed}).encode(), "index")
    assert narrowed(whole, [ARMV6, platform.parse("linux/arm/v7")], "x").digest == OLD.digest


def test_what_is_left_of_an_index_is_none_where_one_image_is_which_stands_for_itself():
    assert left(parsed(index([APP, attestation(APP)])), {APP.digest}) is None
    assert left(parsed(MULTI), {APP.digest, ARM.digest, OLD.digest}).raw == MULTI.raw


def test_a_platform_that_is_not_there_is_an_error():
    with pytest.raises(InvalidInput, match="x is not there for linux/s390x: name one .*, or leave it away: linux/amd64, linux/arm64, linux/arm/v6$"):
        narrowed(parsed(MULTI), [platform.parse("linux/s390x")], "x")
    with pytest.raises(InvalidInput, match="x is not there for linux/amd64: it states no platform, so name the manifest"):
        narrowed(manifest.parse(json.dumps({"schemaVersion": 2, "manifests": [APP.descriptor()]}).encode(), "index"), [AMD64], "x")


# What belongs to an image


def content(item, without=()):
    """The tree of a made image or index."""
    raw = item.blobs[item.digest]
    whole = described(manifest.parse(raw, "x"))
    return tree(whole, raw, "x", lambda child: None if child.digest in without else item.blobs.get(child.digest))


def test_a_tree_has_what_is_named_before_what_names_it():
    outer = index([MULTI, TOOL])
    found = content(outer)
    digests = [document.descriptor.digest for document in found.documents]
    assert digests == [child.digest for child in MULTI.children] + [MULTI.digest, TOOL.digest, outer.digest]
    assert found.root.descriptor.digest == outer.digest and not found.lacking
    assert set(found.blobs) == set(outer.blobs) - set(digests)
    assert found.blobs[BASE.digest].what == "layer 1 of x" and found.blobs[APP.config_digest].what == "the config of x"


def test_what_a_source_lacks_is_listed():
    found = content(MULTI, without=[ARM.digest])
    assert [child.digest for child in found.lacking] == [ARM.digest]
    assert ARM.layers[0].digest not in found.blobs


def test_layers_that_are_never_pushed_are_no_blobs_of_it():
    foreign = json.loads(APP.manifest)
    foreign["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    raw = json.dumps(foreign).encode()
    found = tree(described(manifest.parse(raw, "x")), raw, "x", lambda child: None)
    assert set(found.blobs) == {APP.config_digest, APP.layers[1].digest}


def test_what_is_no_image_is_refused():
    with pytest.raises(ArchiveError, match="x is no image, but application/vnd.cncf.helm"):
        content(artifact())
    deep = index([APP])
    for _level in range(4):
        deep = index([deep])
    with pytest.raises(ArchiveError, match="x: indexes nested more than 4 deep"):
        content(deep)


# What is to be done


def test_a_name_is_kept_if_it_stands_for_the_same_digest():
    digest = Digest(APP.digest)
    assert compare(digest, digest) == Keep("same_digest")
    assert compare(digest, None) == Copy("absent") and compare(digest, Digest(ARM.digest)) == Copy("other_digest")


def plan(items, has=(), elsewhere=None, holds=lambda digest: True):
    """Of images by name, what is done: (repository, digest) -> (mounts, follows)."""
    found = decide({wish(name): content(item) for name, item in items.items()}, Facts(set(has), elsewhere or {}), "bundle.tar", holds)
    return {move.key: (move.mounts, move.follows) for move in found.moves}, found


def test_all_that_is_lacking_is_sent():
    moves, found = plan({"quay.io/app:1": APP})
    assert moves == {("app", digest): ((), False) for digest in set(APP.blobs) - {APP.digest}} and not found.held


def test_what_is_there_is_held():
    moves, found = plan({"quay.io/app:1": APP}, [("app", BASE.digest)])
    assert set(moves) == {("app", APP.layers[1].digest), ("app", APP.config_digest)} and set(found.held) == {("app", BASE.digest)}


def test_nothing_of_a_manifest_that_is_there_is_lacking():
    moves, found = plan({"quay.io/app:1": MULTI}, [("app", APP.digest), ("app", ARM.digest)])
    assert {digest for _repository, digest in moves} == set(MULTI.blobs) - set(APP.blobs) - set(ARM.blobs) - {
        MULTI.digest,
        OLD.digest,
        MULTI.children[3].digest,
    }
    assert {digest for _repository, digest in found.held} == (set(APP.blobs) | set(ARM.blobs)) - {APP.digest} - {ARM.digest}


def test_a_blob_that_two_repositories_lack_is_sent_to_one_and_mounted_by_the_other():
    moves, _found = plan({"quay.io/app:1": APP, "quay.io/tool:1": TOOL})
    assert moves["app", BASE.digest] == ((), False) and moves["tool", BASE.digest] == (("app",), True)
    assert moves["tool", TOOL.layers[1].digest] == ((), False)


def test_a_blob_that_another_repository_has_is_mounted_at_once():
    moves, _found = plan({"quay.io/app:1": APP, "quay.io/tool:1": TOOL}, elsewhere={BASE.digest: ["app", "one", "two", "three"]})
    assert moves["app", BASE.digest] == (("one", "two"), False) and moves["tool", BASE.digest] == (("app", "one"), False)


def test_a_blob_that_nobody_has_fails_its_images_alone():
    moves, found = plan({"quay.io/app:1": APP, "quay.io/arm:1": ARM}, holds=lambda digest: digest != BASE.digest)
    assert {repository for repository, _digest in moves} == {"arm"}
    ((failed, error),) = found.failures.items()
    assert failed.spelling == "quay.io/app:1"
    assert str(error) == (
        "layer 1 of x (%s) is neither in bundle.tar nor in localhost:5000/app: "
        "give the earlier bundle that has it as base, or bundle the image as a whole" % BASE.digest
    )


def test_the_bases_that_were_searched_are_named():
    images = {wish("quay.io/app:1"): content(APP)}
    found = decide(images, Facts(set(), {}), "bundle.tar", lambda digest: digest != BASE.digest, ["one.tar", "two.tar"])
    assert [str(error) for error in found.failures.values()] == [
        "layer 1 of x (%s) is neither in bundle.tar with the base one.tar, two.tar nor in localhost:5000/app: "
        "give the earlier bundle that has it as base, or bundle the image as a whole" % BASE.digest
    ]


@pytest.mark.parametrize(
    "src", ["/x", "./x", "../x", ".x", "none.tar", "a/none.TAR", "b.tgz", "b.tar.gz", "b.tar.zst", "b.zip", "a@1.2.tar", "registry.example.com/x.tar"]
)
def test_what_can_only_be_meant_as_a_path(src):
    assert is_path(src)


@pytest.mark.parametrize(
    "src",
    [
        "registry.example.com", "localhost:5000", "localhost", "registry.zip:443", "registry.example.com/tar", "gz", "a.target",
        "https://registry.example.com/x.tar", "deploy:secret@registry.example.com/x.tar",
    ],
)
def test_what_may_be_a_registry(src):
    assert not is_path(src)


def test_a_blob_that_the_destination_has_somewhere_need_not_be_in_the_source():
    assert not plan({"quay.io/app:1": APP}, [("app", BASE.digest)], holds=lambda digest: digest != BASE.digest)[1].failures
    assert not plan({"quay.io/app:1": APP}, elsewhere={BASE.digest: ["base"]}, holds=lambda digest: digest != BASE.digest)[1].failures


def test_a_platform_that_nobody_has_is_named():
    whole = content(MULTI, without=[ARM.digest, MULTI.children[3].digest])
    facts = Facts(set(), {})
    ((_wish, error),) = decide({wish("quay.io/app:1"): whole}, facts, "bundle.tar", lambda digest: True).failures.items()
    assert str(error) == (
        "quay.io/app:1: its index names linux/arm64 (%s), an attestation (%s), which neither bundle.tar nor localhost:5000/app has: "
        "name the platforms that are there with platform, or give all of the image" % (ARM.digest, MULTI.children[3].digest)
    )
    facts = Facts({("app", ARM.digest), ("app", MULTI.children[3].digest)}, {})
    assert not decide({wish("quay.io/app:1"): whole}, facts, "bundle.tar", lambda digest: True).failures
