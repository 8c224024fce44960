# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of image_load: what is wished for, which image is there, what is done, which blobs that takes."""

from __future__ import annotations

import json
import random

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import ArchiveError, ImageNotInArchive, InvalidInput, InvalidReference
from ansible_collections.stowage.oci.plugins.module_utils._oci import image as _image
from ansible_collections.stowage.oci.plugins.module_utils._oci.archive import Archive
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import Digest
from ansible_collections.stowage.oci.plugins.module_utils._oci.holdings import CONFIG_KEY, ChainHoldings, DescriptorHoldings, DiffIdHoldings, Layer
from ansible_collections.stowage.oci.plugins.module_utils._oci.manifest import OCI_LAYER, Descriptor
from ansible_collections.stowage.oci.plugins.module_utils._oci.platform import Platform
from ansible_collections.stowage.oci.plugins.module_utils._plan import load
from ansible_collections.stowage.oci.plugins.module_utils._plan.load import Local, Need, Wanted, want
from ansible_collections.stowage.oci.tests.unit import images

BASE = images.layer({"etc/os": b"base"}, "gzip")
TOP = images.layer({"app": b"1"}, "gzip")
APP = images.image([BASE, TOP], names=["docker.io/library/app:1"], config={"Cmd": ["/app"]})
OTHER = images.image([BASE, images.layer({"other": b"1"})], names=["registry.example.com/team/other:2"])
UNNAMED = images.image([BASE])
ARM = images.image([BASE, images.layer({"arm": b"1"})], platform="linux/arm64")
LINUX = Platform("linux", "amd64")


def opened(tmp_path, *items, **how):
    return Archive(str(images.write_layout(tmp_path / "layout", items, **how)), str(tmp_path / "scratch"))


@pytest.fixture(name="archive")
def _archive(tmp_path):
    return opened(tmp_path, APP, OTHER)


def wishes(archive, **names):
    return want(archive.entries, names, "here")


def wanted(*items, tmp_path, **how):
    return want(opened(tmp_path, *items, **how).entries, {}, "here")


# Wishes


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
    assert load.choose(wish, LINUX, None).diff_ids == APP.diff_ids
    assert load.choose(wish, Platform("linux", "arm64"), None).diff_ids == ARM.diff_ids
    assert load.choose(wish, LINUX, Platform("linux", "arm64")).diff_ids == ARM.diff_ids


def test_the_best_variant_wins(tmp_path):
    v6, v7 = [images.image([BASE], platform="linux/arm/" + variant, config={"User": variant}) for variant in ("v6", "v7")]
    wish = multi(tmp_path, v6, v7)
    assert load.choose(wish, Platform("linux", "arm", "v8"), None).config.digest == v7.config_digest
    assert load.choose(wish, Platform("linux", "arm", "v6"), None).config.digest == v6.config_digest


def test_a_config_without_a_platform_runs_anywhere(tmp_path):
    bare = images.dump({"rootfs": {"type": "layers", "diff_ids": []}})
    made = images.image([])
    manifest = json.loads(made.manifest.decode())
    manifest["config"].update(digest=images.sha256(bare), size=len(bare))
    made = made._replace(names=("bare:1",), config=bare, manifest=images.dump(manifest), platform={})
    (wish,) = wanted(made, tmp_path=tmp_path)
    assert load.choose(wish, Platform("windows", "arm64"), None).config.digest == images.sha256(bare)


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
        load.choose(wish, host, asked)
    assert str(error.value) == message


def test_says_when_the_archive_has_an_index_alone(tmp_path):
    wish = multi(tmp_path, lacking=[ARM])
    with pytest.raises(ImageNotInArchive) as error:
        load.choose(wish, LINUX, None)
    assert str(error.value) == (
        "docker.io/library/multi:1 is in the archive for no platform, not for linux/amd64, which this host runs; "
        "its index names linux/arm64, which the archive lacks"
    )


# Which image is there


def variant_of(made, tmp_path):
    return wanted(made._replace(names=("x:1",)), tmp_path=tmp_path)[0].variants[0]


def shown(made, image_id, **more):
    """What the containerd store shows of an image."""
    config = json.loads(made.config.decode())
    document = {
        "Id": image_id,
        "RootFS": {"Type": "layers", "Layers": made.diff_ids},
        "Created": config.get("created"),
        "Os": config["os"],
        "Architecture": config["architecture"],
        "Config": dict(config["config"], Env=None, User=""),
    }
    return dict(document, **more)


def annotated(digest):
    return {"Descriptor": {"annotations": {CONFIG_KEY: digest}}}


@pytest.mark.parametrize(
    ("document", "by_content", "same"),
    [
        (lambda: shown(APP, APP.config_digest), False, True),
        (lambda: shown(APP, APP.digest), True, True),
        (lambda: shown(APP, "sha256:" + "0" * 64, **annotated(APP.config_digest)), True, True),
        (lambda: shown(APP, "sha256:" + "0" * 64, **annotated("sha256:" + "1" * 64)), True, False),
        (lambda: shown(APP, "sha256:" + "0" * 64), True, True),
        (lambda: shown(APP, "sha256:" + "0" * 64, Descriptor={"annotations": None}), True, True),
        (lambda: shown(APP, "sha256:" + "0" * 64), False, False),
        (lambda: shown(APP, "sha256:" + "0" * 64, **annotated(APP.config_digest)), False, False),
        (lambda: shown(APP, "sha256:" + "0" * 64, Config={"Cmd": ["/other"]}), True, False),
        (lambda: shown(APP, "sha256:" + "0" * 64, Os="windows"), True, False),
        (lambda: shown(APP, APP.config_digest, RootFS={}), False, False),
        (lambda: shown(APP, APP.digest, RootFS=None), True, False),
        (lambda: shown(APP, APP.digest, RootFS={"Layers": APP.diff_ids[:1]}), True, False),
    ],
)
def test_tells_this_image_from_others(tmp_path, document, by_content, same):
    assert load.same(document(), variant_of(APP, tmp_path), by_content) is same


# The plan


def never(media_type):
    return False


class Case:
    """Two images of one base, and a host that holds ``held`` of their diff IDs."""

    def __init__(self, archive, held=()):
        self.wishes = wishes(archive)
        self.images = [(one, one.variants[0]) for one in self.wishes]
        self.named = dict.fromkeys([text for one in self.wishes for text in one.references])
        self.present = {}
        self.holdings = DiffIdHoldings(frozenset(held))

    def plan(self, expands=never, distrusted=()):
        return load.plan(self.images, self.named, self.present, self.holdings, expands, distrusted)


def held_of(step):
    return [part.held is not None for part in step.parts]


def test_what_is_there_under_its_name_is_kept(archive):
    case = Case(archive)
    case.named = {text: Local("sha256:1", True) for text in case.named}
    case.holdings = None
    assert [(step.action, step.moves, step.image_id, step.parts) for step in case.plan()] == [("kept", (), "sha256:1", ())] * 2
    assert load.needs(case.plan()) == []


def test_what_is_there_under_another_name_is_tagged(archive):
    case = Case(archive)
    app, other = case.images
    case.present = {app[1].config.digest: "sha256:1", other[1].config.digest: "sha256:2"}
    case.named[other[0].label] = Local("sha256:old", False)
    case.holdings = None
    assert [(step.action, step.moves, step.image_id) for step in case.plan()] == [
        ("tagged", ((app[0].label, None),), "sha256:1"),
        ("tagged", ((other[0].label, "sha256:old"),), "sha256:2"),
    ]
    assert load.needs(case.plan()) == []


def test_of_several_names_only_the_wrong_ones_are_set(tmp_path):
    (wish,) = wanted(APP._replace(names=("a:1", "b:1", "c:1")), tmp_path=tmp_path)
    named = {"a:1": Local("sha256:1", True), "b:1": Local("sha256:2", False), "c:1": None}
    (step,) = load.plan([(wish, wish.variants[0])], named, {}, None, never)
    assert (step.action, step.moves, step.image_id) == ("tagged", (("b:1", "sha256:2"), ("c:1", None)), "sha256:1")


def test_what_is_not_there_is_loaded_with_what_is_lacking(archive):
    case = Case(archive, held=[BASE.diff_id])
    app, other = case.plan()
    assert (app.action, app.moves, app.image_id) == ("loaded", (("docker.io/library/app:1", None),), None)
    assert held_of(app) == held_of(other) == [True, False]
    assert [part.blob for part in app.sent] == [TOP.digest]
    assert [need.digest for need in load.needs([app])] == [APP.digest, APP.config_digest, TOP.digest]


def test_layers_of_an_image_before_need_not_be_sent_again(archive):
    app, other = Case(archive).plan()
    assert held_of(app) == [False, False]
    assert held_of(other) == [True, False]
    assert [need.digest for need in load.needs([app, other])].count(BASE.digest) == 1


def test_of_a_distrusted_image_everything_is_sent(archive):
    case = Case(archive, held=[BASE.diff_id, TOP.diff_id])
    app, other = case.plan(distrusted={APP.config_digest})
    assert held_of(app) == [False, False]
    assert held_of(other) == [True, False]


def test_nobody_may_forget_to_ask_what_is_held(archive):
    case = Case(archive)
    case.holdings = None
    with pytest.raises(ValueError, match="nobody asked what is held"):
        case.plan()


def test_what_an_engine_does_not_read_is_sent_expanded(archive):
    app, other = Case(archive).plan(expands=lambda media_type: media_type.endswith("+gzip"))
    assert [part.blob for part in app.parts] == APP.diff_ids
    assert [part.expand for part in other.parts] == [True, False]
    assert other.parts[0].held == Descriptor(OCI_LAYER, Digest(BASE.diff_id), BASE_SIZE)
    needs = {need.digest: need for need in load.needs([app, other])}
    assert needs[BASE.diff_id] == Need(BASE.diff_id, BASE.digest, None, "layer 1 of docker.io/library/app:1")
    assert needs[OTHER.layers[1].digest].size == len(OTHER.layers[1].blob)


BASE_SIZE = len(BASE.blob)


@pytest.mark.parametrize("kind", ["gzip", ""])
def test_a_layer_in_two_compressions_is_one_layer(tmp_path, kind):
    plain = images.layer({"etc/os": b"base"})
    first, second = (BASE, plain) if kind else (plain, BASE)
    archive = opened(tmp_path, images.image([first], names=["a:1"]), images.image([second], names=["b:1"], config={"User": "b"}))
    a, b = Case(archive).plan()
    assert held_of(a) == [False] and held_of(b) == [True]
    assert [need.digest for need in load.needs([a, b]) if need.what.startswith("layer")] == [first.digest]


def test_a_repeated_layer_is_needed_once(tmp_path):
    made = images.image([BASE, TOP, BASE, BASE], names=["a:1"])
    (step,) = load.plan([(one, one.variants[0]) for one in wanted(made, tmp_path=tmp_path)], {"a:1": None}, {}, ChainHoldings(frozenset()), never)
    assert len(step.sent) == 4
    assert [need.what for need in load.needs([step])] == ["the manifest of a:1", "the config of a:1", "layer 1 of a:1", "layer 2 of a:1"]


def test_an_image_of_no_layers_needs_its_documents(tmp_path):
    made = images.image([], names=["a:1"])
    (step,) = load.plan([(one, one.variants[0]) for one in wanted(made, tmp_path=tmp_path)], {"a:1": None}, {}, DescriptorHoldings({}), never)
    assert step.action == "loaded" and step.parts == ()
    assert [need.digest for need in load.needs([step])] == [made.digest, made.config_digest]


def test_says_which_blobs_are_nowhere(tmp_path):
    archive = opened(tmp_path, APP, without=[TOP.digest, BASE.digest])
    pairs = [(one, one.variants[0]) for one in wishes(archive)]
    steps = load.plan(pairs, {"docker.io/library/app:1": None}, {}, DiffIdHoldings(frozenset([BASE.diff_id])), never)
    with pytest.raises(ArchiveError) as error:
        load.absent(load.needs(steps), archive)
    assert str(error.value) == (
        "%s lacks layer 2 of docker.io/library/app:1 (%s), and the host does not have it: name an archive that holds it as base, or bring one with all "
        "layers" % (archive.where, TOP.digest)
    )


def test_nothing_is_absent_that_is_there(archive):
    steps = Case(archive).plan()
    assert load.absent(load.needs(steps), archive) is None


# Any images on any host


def chance(seed):
    """Some images over few layers, and a host of any store that holds some of them."""
    dice = random.Random(seed)
    blobs = [images.layer({"f": b"%d" % number}, dice.choice(["", "gzip"])) for number in range(5)]
    made = [
        images.image([dice.choice(blobs) for _each in range(dice.randrange(5))], names=["image%d:1" % number], config={"User": str(number)})
        for number in range(4)
    ]
    there = [[dice.choice(blobs) for _each in range(dice.randrange(4))] for _each in range(3)]
    store = dice.choice(["classic", "podman", "containerd"])
    if store == "classic":
        held = ChainHoldings(frozenset(str(chain) for some in there for chain in _image.chain_ids(one.diff_id for one in some)))
    elif store == "podman":
        held = DiffIdHoldings(frozenset(one.diff_id for some in there for one in some))
    else:
        held = DescriptorHoldings({one.diff_id: Descriptor(OCI_LAYER, Digest(one.diff_id), 1) for some in there for one in some})
    return made, held


@pytest.mark.parametrize("seed", range(60))
def test_any_host_can_put_any_image_together(tmp_path, seed):
    """Whatever is held: each layer is held or sent, needed blobs are sent once, and a second plan sends nothing."""
    made, held = chance(seed)
    archive = opened(tmp_path, *made)
    pairs = [(one, one.variants[0]) for one in wishes(archive)]
    named = {text: None for one, _variant in pairs for text in one.references}
    steps = load.plan(pairs, named, {}, held, never)
    needs = load.needs(steps)
    assert len({need.digest for need in needs}) == len(needs)
    got = {need.digest for need in needs}
    for step in steps:
        assert [part.layer for part in step.parts] == list(step.variant.layers)
        assert all(part.held or part.blob in got for part in step.parts)
        assert step.variant.manifest.digest in got and step.variant.config.digest in got
        held = held.plus(step.variant.layers, [part.held or part.layer.descriptor for part in step.parts])
    assert all(all(descriptor for descriptor in held.held(variant.layers)) for _one, variant in pairs)
    assert {part.blob for step in load.plan(pairs, named, {}, held, never) for part in step.sent} == set()


def test_a_layer_says_what_it_is():
    assert Layer(Descriptor(OCI_LAYER, Digest(BASE.digest), 1), Digest(BASE.diff_id)).diff_id == BASE.diff_id
