# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of image_load: which image is there, what is done, which blobs that takes."""

from __future__ import annotations

import json
import random

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import ArchiveError
from ansible_collections.stowage.oci.plugins.module_utils._oci import image as _image
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import Digest
from ansible_collections.stowage.oci.plugins.module_utils._oci.holdings import CONFIG_KEY, ChainHoldings, DescriptorHoldings, DiffIdHoldings, Layer
from ansible_collections.stowage.oci.plugins.module_utils._oci.manifest import OCI_LAYER, Descriptor
from ansible_collections.stowage.oci.plugins.module_utils._plan import load
from ansible_collections.stowage.oci.plugins.module_utils._plan.load import Local, Need
from ansible_collections.stowage.oci.tests.unit import images
from ansible_collections.stowage.oci.tests.unit.plan.wishing import APP, BASE, OTHER, TOP, opened, wanted, wishes


@pytest.fixture(name="archive")
def _archive(tmp_path):
    return opened(tmp_path, APP, OTHER)


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
