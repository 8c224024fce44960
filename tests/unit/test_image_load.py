# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_load, whole, against engines in memory; the controller is the few lines of loading.py."""

from __future__ import annotations

import functools
import json
import os

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._engine import probe, stores
from ansible_collections.stowage.oci.plugins.module_utils._engine.discover import connect
from ansible_collections.stowage.oci.plugins.module_utils._engine.transport import Transport
from ansible_collections.stowage.oci.plugins.module_utils._oci import compression
from ansible_collections.stowage.oci.plugins.modules import image_load
from ansible_collections.stowage.oci.tests.unit import images
from ansible_collections.stowage.oci.tests.unit.fakes.engine import FakeEngine, Stream
from ansible_collections.stowage.oci.tests.unit.images import image, layer, write_layout
from ansible_collections.stowage.oci.tests.unit.loading import PIECE, Interrupted, four_times, load, once
from ansible_collections.stowage.oci.tests.unit.running import fail, outcome, run

NAME, OTHER_NAME = "docker.io/library/app:1", "docker.io/library/other:1"
BASE = layer({"etc/os": b"base", "etc/big": os.urandom(3 * PIECE)}, "gzip")
APP = image([BASE, layer({"app": b"1"}, "gzip")], names=[NAME], config={"Cmd": ["/app"]})
NEXT = image([BASE, layer({"app": b"2"}, "gzip")], names=[NAME], config={"Cmd": ["/app"]})
OTHER = image([BASE, layer({"other": b"1"})], names=[OTHER_NAME], config={"Cmd": ["/other"]})
ONLY_BASE = image([BASE], names=["docker.io/library/base:1"])

STORES = {"old": ("classic", True), "classic": ("classic", False), "containerd": ("containerd", False), "podman": ("podman", False)}


@pytest.fixture(name="engine", params=STORES)
def _engine(request):
    with FakeEngine(*STORES[request.param]) as engine:
        yield engine


@pytest.fixture(name="containerd")
def _containerd():
    with FakeEngine("containerd") as engine:
        yield engine


@pytest.fixture(name="where")
def _where(tmp_path):
    """Options that every test gives."""
    return {"staging_dir": str(tmp_path / "staging")}


def written(tmp_path, *items, **how):
    return write_layout(tmp_path / ("bundle%d" % len(list(tmp_path.iterdir()))), items, **how)


def blobs(made, *layers):
    """What is sent of an image of which the host lacks these layers."""
    return {made.digest: len(made.manifest), made.config_digest: len(made.config), **{one.digest: len(one.blob) for one in layers}}


def is_right(engine, made, name=NAME):
    """The engine has this image under this name, and can save all of it."""
    record = engine.store.find(name)
    assert record and record.diff_ids == made.diff_ids and record.raw_config == made.config
    assert images.sha256(record.raw_config) == made.config_digest
    assert engine.store.export([record])


def left(where):
    """What is staged."""
    return sorted(os.listdir(where["staging_dir"])) if os.path.isdir(where["staging_dir"]) else []


# What is done


def test_a_host_gets_what_it_lacks_and_nothing_twice(engine, tmp_path, where):
    real, again = four_times(written(tmp_path, APP), engine_host=engine.url, **where)

    assert real.sent == blobs(APP, *APP.layers)
    assert (real.result["held_blobs"], real.result["held_bytes"]) == (0, 0)
    (entry,) = real.result["images"]
    assert (entry["reference"], entry["references"], entry["action"], entry["changed"]) == (NAME, [NAME], "loaded", True)
    assert (entry["layers"], entry["layers_sent"], entry["config_digest"]) == (2, 2, APP.config_digest)
    assert entry["image_id"] == engine.image_id(NAME)
    assert real.result["diff"] == {
        "before": {"images": [{"references": {NAME: None}}]},
        "after": {"images": [{"references": {NAME: APP.config_digest}, "layers_to_send": [one.digest for one in APP.layers]}]},
    }
    assert again.asks == [] and again.result["images"][0]["image_id"] == engine.image_id(NAME)
    assert (again.result["held_blobs"], again.result["held_bytes"]) == (4, sum(blobs(APP, *APP.layers).values()))
    is_right(engine, APP)
    assert left(where) == []
    assert engine.count("POST", "/images/load") == 1


def test_an_update_sends_its_layer_and_moves_the_name(engine, tmp_path, where):
    load(written(tmp_path, APP), engine_host=engine.url, **where)
    old = engine.image_id(NAME)
    engine.loaded_bytes.clear()

    real, _again = four_times(written(tmp_path, NEXT), engine_host=engine.url, **where)

    assert real.sent == blobs(NEXT, NEXT.layers[1])
    assert (real.result["held_blobs"], real.result["held_bytes"]) == (1, len(BASE.blob))
    assert real.result["diff"]["before"] == {"images": [{"references": {NAME: old}}]}
    is_right(engine, NEXT)
    assert engine.image_id(old) == old
    assert sum(engine.loaded_bytes) < 16 << 10


@pytest.mark.parametrize("kind", ["", "gzip", "xz"])
def test_another_compression_is_the_same_layer(engine, tmp_path, where, kind):
    """The host pulled gzip layers; the archive has them otherwise."""
    engine.offer("docker.io/library/base:1", ONLY_BASE)
    engine.pull("docker.io/library/base:1")
    packed = images.Layer(BASE.tar, images.compress(BASE.tar, kind), kind)
    made = image([packed, layer({"app": b"1"}, kind)], names=[NAME])

    real, _again = four_times(written(tmp_path, made), engine_host=engine.url, **where)

    blob = made.layers[1].diff_id if kind == "xz" else made.layers[1].digest
    assert set(real.sent) == {made.digest, made.config_digest, blob}
    is_right(engine, made)


def test_zstd_is_expanded_for_an_engine_that_does_not_read_it(engine, tmp_path, where):
    made = image([BASE, layer({"app": b"1"}, "zstd")], names=[NAME])

    real, _again = four_times(written(tmp_path, made), engine_host=engine.url, **where)

    old = engine.daemon.old
    assert (made.layers[1].diff_id in real.sent, made.layers[1].digest in real.sent) == (old, not old)
    sizes = [[need["size"] for need in ask["missing"] if "layer 2" in need["what"]] for ask in real.asks]
    assert sizes == ([[None], [len(made.layers[1].tar)]] if old else [[len(made.layers[1].blob)]])
    is_right(engine, made)


def test_podman_4_is_not_told_of_zstd(tmp_path, where):
    made = image([layer({"app": b"1"}, "zstd")], names=[NAME])
    with FakeEngine("podman") as engine:
        load(written(tmp_path, made), engine_host=engine.url, **where)
        manifest = json.loads(engine.store.find(NAME).manifest.decode())
    assert [(one["mediaType"], one["digest"]) for one in manifest["layers"]] == [("application/vnd.oci.image.layer.v1.tar", made.layers[0].digest)]


def test_what_is_there_under_another_name_is_tagged(engine, tmp_path, where):
    load(written(tmp_path, APP), engine_host=engine.url, **where)

    real, _again = four_times(written(tmp_path, APP), engine_host=engine.url, names={NAME: "mine:1"}, **where)

    assert (real.sent, real.actions) == ({}, ["tagged"])
    assert real.result["images"][0]["image_id"] == engine.image_id("mine:1") == engine.image_id(NAME)
    assert real.result["diff"]["after"]["images"] == [{"references": {"mine:1": APP.config_digest}, "layers_to_send": []}]
    assert engine.count("POST", "/images/load") == 1


def test_what_was_loaded_thin_is_known_by_its_annotation(containerd, tmp_path, where):
    """Its ID is of no manifest in the archive, and no image needs to be inspected to know it."""
    containerd.load(images.tar(images.docker_archive([ONLY_BASE])))
    load(written(tmp_path, APP), engine_host=containerd.url, **where)
    assert containerd.image_id(NAME) != APP.digest
    containerd.hold(OTHER)
    containerd.calls.clear()

    real = load(written(tmp_path, APP), engine_host=containerd.url, names={NAME: "mine:1"}, **where)

    assert (real.actions, real.sent) == (["tagged"], {})
    assert containerd.count("GET", "/images/%s/json" % containerd.image_id(OTHER_NAME)) == 0
    assert containerd.count("POST", ".*/push") == 0


def test_several_names_are_all_set(engine, tmp_path, where):
    named = APP._replace(names=(NAME, "docker.io/library/app:stable", "registry.example.com/app:1"))
    engine.hold(OTHER)
    engine.tag(OTHER_NAME, "app:stable")

    real, _again = four_times(written(tmp_path, named), engine_host=engine.url, **where)

    assert real.result["images"][0]["references"] == list(named.names)
    for name in named.names:
        is_right(engine, APP, name)
    is_right(engine, OTHER, OTHER_NAME)


def test_images_of_one_base_send_it_once(engine, tmp_path, where):
    real, _again = four_times(written(tmp_path, APP, OTHER), engine_host=engine.url, **where)

    assert real.sent == {**blobs(APP, *APP.layers), **blobs(OTHER, OTHER.layers[1])}
    assert [entry["layers_sent"] for entry in real.result["images"]] == [2, 1]
    is_right(engine, APP)
    is_right(engine, OTHER, OTHER_NAME)


def test_one_layer_in_two_compressions_is_sent_once(engine, tmp_path, where):
    plain = images.Layer(BASE.tar, BASE.tar, "")
    twin = image([plain], names=["docker.io/library/twin:1"], config={"Cmd": ["/twin"]})

    real, _again = four_times(written(tmp_path, APP, twin), engine_host=engine.url, **where)

    assert BASE.digest in real.sent and plain.digest not in real.sent
    is_right(engine, twin, "twin:1")


@pytest.mark.parametrize("kind", ["xz", "bzip2"])
def test_a_layer_that_is_expanded_for_two_images_has_its_size(engine, tmp_path, where, kind):
    shared = layer({"etc/os": b"shared"}, kind)
    made = [image([shared, layer({"f": name.encode()})], names=["docker.io/library/%s:1" % name]) for name in ("a", "b")]

    real, _again = four_times(written(tmp_path, *made), engine_host=engine.url, **where)

    assert real.sent[shared.diff_id] == len(shared.tar)
    for one in made:
        is_right(engine, one, one.names[0])
    if engine.store.name == "containerd":
        for one in made:
            manifest = json.loads(engine.store.find(one.names[0]).manifest.decode())
            assert manifest["layers"][0] == {"mediaType": images.OCI + "layer.v1.tar", "digest": shared.diff_id, "size": len(shared.tar)}


def test_only_the_wanted_images_are_loaded(engine, tmp_path, where):
    src = written(tmp_path, APP, OTHER)
    real, _again = four_times(src, engine_host=engine.url, images=["other:1"], **where)

    assert list(real.entries) == [OTHER_NAME]
    assert engine.image_id(NAME) is None
    assert list(load(src, engine_host=engine.url, images=[APP.digest, "other:1"], **where).entries) == [NAME, OTHER_NAME]


def test_the_same_content_in_two_manifests_is_there_once_it_is_there(engine, tmp_path, where):
    """Nobody looks at all images of the host to learn that."""
    plain = [images.Layer(one.tar, one.tar, "") for one in APP.layers]
    twin = image(plain, names=["docker.io/library/twin:1"], config={"Cmd": ["/app"]})
    assert twin.config == APP.config
    four_times(written(tmp_path, APP, twin), engine_host=engine.url, **where)
    engine.calls.clear()
    load(written(tmp_path, APP, twin), engine_host=engine.url, **where)
    assert engine.count("GET", "/images/json") == 0


# Shapes of images


def foreign(made):
    """As Windows images have it: the layer may be had elsewhere, and yet it is in the archive."""
    document = json.loads(made.manifest.decode())
    document["layers"][0].update(mediaType="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", urls=["https://example.com/layer"])
    return made._replace(manifest=images.dump(document))


@pytest.mark.parametrize(
    "made",
    [
        foreign(image(APP.layers, names=[NAME], docker=True)),
        image([], names=[NAME]),
        image([BASE, layer({}), BASE, layer({}), layer({})], names=[NAME]),
        image([layer({"f": b"%d" % number}) for number in range(127)], names=[NAME]),
        image(APP.layers, names=[NAME], docker=True),
        image(APP.layers, names=[NAME], created=None),
        image(APP.layers, names=[NAME], config={"Labels": {"a": "b"}, "Healthcheck": {"Test": ["CMD", "x"]}, "StopTimeout": 3}),
    ],
    ids=["foreign layer", "no layers", "repeated layers", "127 layers", "docker types", "no time", "rich config"],
)
def test_an_image_of_any_shape(engine, tmp_path, where, made):
    real, _again = four_times(written(tmp_path, made), engine_host=engine.url, **where)

    assert real.sent == blobs(made, *made.layers)
    is_right(engine, made)


@pytest.mark.parametrize("writer", ["docker", "podman", "crane"])
def test_docker_archives(engine, tmp_path, where, writer):
    src = images.write_docker_archive(tmp_path / "app.tar", [APP, OTHER], writer)
    real, _again = four_times(src, engine_host=engine.url, **where)
    assert real.actions == ["loaded", "loaded"]
    is_right(engine, APP)
    is_right(engine, OTHER, OTHER_NAME)


def test_an_archive_may_lack_what_the_host_has(engine, tmp_path, where):
    engine.hold(ONLY_BASE)
    real, _again = four_times(written(tmp_path, APP, without=[BASE.digest]), engine_host=engine.url, **where)
    assert BASE.digest not in real.sent
    is_right(engine, APP)


ARM = image([BASE, layer({"arm": b"1"}, "gzip")], platform="linux/arm64/v8")
AMD = APP._replace(names=())


def test_the_hosts_platform_is_taken(engine, tmp_path, where):
    multi = images.index([ARM, AMD, images.attestation(AMD)], names=[NAME])
    real, _again = four_times(written(tmp_path, multi), engine_host=engine.url, **where)
    assert real.sent == blobs(AMD, *AMD.layers)
    is_right(engine, AMD)


def test_another_platform_may_be_wanted(engine, tmp_path, where):
    multi = images.index([ARM, AMD], names=[NAME])
    real, _again = four_times(written(tmp_path, multi), engine_host=engine.url, platform="arm64", **where)
    assert real.sent == blobs(ARM, *ARM.layers)
    is_right(engine, ARM)


def test_an_image_for_another_platform_fails_alone(engine, tmp_path, where):
    src = written(tmp_path, ARM._replace(names=(NAME,)), OTHER)
    for check in (True, False, True, False):
        result = load(src, check, engine_host=engine.url, **where).result
        assert result["failed"]
        assert result["msg"] == (
            "docker.io/library/app:1 is in the archive for linux/arm64, not for linux/amd64, which this host runs: "
            "to load it all the same, give platform: linux/arm64"
        )
        assert [(entry["reference"], entry["action"]) for entry in result["images"]][0] == (NAME, "failed")
    assert engine.image_id(NAME) is None
    is_right(engine, OTHER, OTHER_NAME)


# Believed by nobody


def vanishing(engine):
    """The base is there when the host is asked, and gone when the image is loaded."""
    engine.hold(ONLY_BASE)
    return lambda: engine.lose("base:1")


def test_a_base_that_vanishes_is_sent_after_all(engine, tmp_path, where):
    loaded = load(written(tmp_path, APP), engine_host=engine.url, between=vanishing(engine), **where)

    assert [[need["what"] for need in ask["missing"]] for ask in loaded.asks] == [
        ["the manifest of %s" % NAME, "the config of %s" % NAME, "layer 2 of %s" % NAME],
        ["layer 1 of %s" % NAME],
    ]
    assert loaded.asks[1]["state"]["distrusted"] == [APP.config_digest]
    assert loaded.sent == blobs(APP, *APP.layers)
    assert (loaded.result["held_blobs"], loaded.result["held_bytes"]) == (0, 0)
    is_right(engine, APP)
    assert left(where) == []
    assert engine.count("POST", "/images/load") == 2


def test_others_are_done_before_the_full_send(engine, tmp_path, where):
    """The one that failed comes again, the other is not loaded twice and is still reported as loaded."""
    early = image([layer({"early": b"1"})], names=["docker.io/library/early:1"])
    loaded = load(written(tmp_path, early, APP), engine_host=engine.url, between=vanishing(engine), **where)

    assert loaded.actions == ["loaded", "loaded"] and loaded.result["changed"]
    assert loaded.asks[1]["state"]["done"][0]["reference"] == "docker.io/library/early:1"
    assert [entry["references"] for entry in loaded.result["diff"]["before"]["images"]] == [{"docker.io/library/early:1": None}, {NAME: None}]
    assert loaded.sent == {**blobs(APP, *APP.layers), **blobs(early, *early.layers)}
    assert loaded.result["held_blobs"] == 0
    is_right(engine, APP)
    is_right(engine, early, "early:1")
    assert engine.count("POST", "/images/load") == 3


LIES = {
    "success, and nothing is there": (200, Stream([{"stream": "Loaded image: app:1"}])),
    "an error in the stream": (200, Stream([{"errorDetail": {"message": "no space"}, "error": "no space left on device"}])),
    "a refusal": (500, {"message": "no space left on device"}),
    "half a load as ordinary output": (200, Stream([{"stream": "Loaded image: x"}, {"stream": "Error unpacking image x: no space left on device"}])),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_thin_load_that_comes_to_nothing_is_followed_by_a_full_one(engine, tmp_path, where, lie):
    engine.hold(ONLY_BASE)
    engine.answer("POST", "/images/load", *LIES[lie])

    loaded = load(written(tmp_path, APP), engine_host=engine.url, **where)

    assert loaded.sent == blobs(APP, *APP.layers) and loaded.actions == ["loaded"]
    is_right(engine, APP)
    assert left(where) == []


@pytest.mark.parametrize("lie", LIES)
def test_a_full_load_that_comes_to_nothing_is_an_error(engine, tmp_path, where, lie):
    engine.hold(ONLY_BASE)
    engine.tag("base:1", NAME)
    before = dict(engine.store.names)
    engine.answer("POST", "/images/load", *LIES[lie], times=2)

    result = load(written(tmp_path, APP), engine_host=engine.url, **where).result

    reason = "it reported success, and has no such image" if lie.startswith("success") else "no space left on device"
    assert result["failed"] and not result["changed"]
    assert result["msg"].startswith("%s: the engine at %s did not load it: " % (NAME, engine.url))
    assert result["msg"].endswith(reason)
    assert engine.store.names == before and len(engine.store.records) == 1
    # A second run sends nothing again.
    assert load(written(tmp_path, APP), engine_host=engine.url, **where).sent == {}
    is_right(engine, APP)
    assert left(where) == []


def test_what_shows_other_layers_is_no_success(engine, tmp_path, where):
    shown = {"Id": APP.config_digest, "RootFS": {"Layers": APP.diff_ids[:1]}, "RepoTags": ["other:1"]}
    if engine.store.name == "containerd":
        shown["Id"] = APP.digest
    image_id = shown["Id"]
    engine.after("POST", "/images/load", lambda: engine.answer("GET", "/images/%s/json" % image_id, 200, shown))
    result = load(written(tmp_path, APP), engine_host=engine.url, **where).result
    assert result["msg"] == "%s: the engine at %s did not load it: it shows other layers than were sent" % (NAME, engine.url)
    assert engine.image_id(NAME) is None
    assert engine.count("DELETE", ".*") == 0  # it has a name, and so it is somebody else's by now


@pytest.mark.parametrize("then", ["it works", "it fails"])
def test_half_an_image_is_taken_away(containerd, tmp_path, where, then):
    """The thin load leaves one without a layer: nothing names it, and it does not stay."""
    containerd.hold(image([layer({"old": b"1"})], names=[NAME]))
    before = containerd.image_id(NAME)
    lose = vanishing(containerd)
    halves = []

    def broken():
        halves.append(containerd.image_id(APP.digest))
        if then == "it fails":
            containerd.answer("POST", "/images/load", *LIES["an error in the stream"])

    containerd.after("POST", "/images/load", broken)

    loaded = load(written(tmp_path, APP), engine_host=containerd.url, between=lose, **where)

    assert halves == [APP.digest]
    assert containerd.count("DELETE", "/images/" + APP.digest) == 1
    assert loaded.actions == ["loaded" if then == "it works" else "failed"]
    assert set(containerd.store.records) == ({before, APP.digest} if then == "it works" else {before})
    assert containerd.image_id(NAME) == (APP.digest if then == "it works" else before)


@pytest.mark.parametrize("name", [None, NAME])
def test_half_an_image_that_was_there_before_is_made_whole(containerd, tmp_path, where, name):
    half = APP._replace(names=(name,) if name else ())
    containerd.load(images.tar(images.layout([half], docker=True, without=[BASE.digest])))
    assert containerd.image_id(APP.digest) and not containerd.store.complete(containerd.store.find(APP.digest))
    real, _again = four_times(written(tmp_path, APP), engine_host=containerd.url, **where)
    assert real.sent == blobs(APP, *APP.layers)
    is_right(containerd, APP)


def test_half_an_image_that_cannot_be_taken_away_is_made_whole(containerd, tmp_path, where):
    lose = vanishing(containerd)
    containerd.answer("DELETE", "/images/" + APP.digest, 500, {"message": "oh"})
    loaded = load(written(tmp_path, APP), engine_host=containerd.url, between=lose, **where)
    assert loaded.actions == ["loaded"] and loaded.sent == blobs(APP, *APP.layers)
    is_right(containerd, APP)


def test_a_name_of_the_probe_never_stays(containerd, tmp_path, where):
    containerd.hold(ONLY_BASE)
    loaded = load(written(tmp_path, APP), engine_host=containerd.url, **where)
    assert loaded.sent == blobs(APP, APP.layers[1])
    assert sorted(containerd.store.names) == [NAME, "docker.io/library/base:1"]


# Somebody else's hands


def test_a_name_that_is_moved_between_the_rounds_is_left_alone(engine, tmp_path, where):
    engine.hold(ONLY_BASE, image([layer({"x": b"x"})], names=[NAME]))
    before = engine.image_id(NAME)

    result = load(written(tmp_path, APP, OTHER), engine_host=engine.url, between=lambda: engine.tag("base:1", NAME), **where).result

    moved = engine.image_id("base:1")
    assert result["failed"] and result["msg"] == (
        "%s: somebody else moved it from %s to %s while this task ran; it was left alone, and what was loaded stays: run again to set it"
        % (NAME, before, moved)
    )
    assert [entry["action"] for entry in result["images"]] == ["failed", "loaded"]
    assert engine.image_id(NAME) == moved
    is_right(engine, OTHER, OTHER_NAME)


def test_a_name_that_was_right_and_is_moved_between_the_rounds_is_left_alone(engine, tmp_path, where):
    """The image had two names, of which only one was to be set."""
    engine.hold(OTHER, APP)
    named = APP._replace(names=(NAME, "docker.io/library/app:stable"))
    fresh = image([layer({"new": b"1"})], names=["docker.io/library/new:1"])

    result = load(written(tmp_path, named, fresh), engine_host=engine.url, between=lambda: engine.tag(OTHER_NAME, NAME), **where).result

    assert "somebody else moved it from" in result["msg"]
    assert engine.image_id(NAME) == engine.image_id(OTHER_NAME)


def test_a_name_that_is_taken_away_between_the_rounds_is_left_alone(engine, tmp_path, where):
    engine.hold(ONLY_BASE, image([layer({"x": b"x"})], names=[NAME]))

    result = load(written(tmp_path, APP), engine_host=engine.url, between=lambda: engine.lose(NAME), **where).result

    assert " to nothing while this task ran" in result["msg"]
    assert engine.image_id(NAME) is None


def test_a_name_that_is_made_right_meanwhile_is_fine(engine, tmp_path, where):
    engine.hold(ONLY_BASE)

    loaded = load(written(tmp_path, APP), engine_host=engine.url, between=lambda: engine.hold(APP), **where)

    assert loaded.actions == ["kept"] and not loaded.result["changed"]
    is_right(engine, APP)


def test_a_name_that_is_moved_right_before_it_is_set_is_left_alone(engine, tmp_path, where):
    engine.hold(ONLY_BASE)
    engine.after("POST", "/images/load", lambda: engine.tag("base:1", NAME))

    result = load(written(tmp_path, APP), engine_host=engine.url, **where).result

    assert result["failed"] and not result["changed"]
    assert result["msg"].startswith("%s: somebody else moved it from nothing to %s while" % (NAME, engine.image_id("base:1")))
    assert engine.image_id(NAME) == engine.image_id("base:1")
    again = load(written(tmp_path, APP), engine_host=engine.url, **where)
    assert (again.actions, again.sent) == (["tagged"], {})


def test_a_name_that_is_moved_right_after_it_was_set_is_left_alone(engine, tmp_path, where):
    engine.hold(ONLY_BASE)
    loaded = APP.digest if engine.store.name == "containerd" else APP.config_digest
    engine.after("POST", "/images/%s/tag" % loaded, lambda: engine.tag("base:1", NAME))

    result = load(written(tmp_path, APP), engine_host=engine.url, **where).result

    assert "somebody else moved it from sha256:" in result["msg"]
    assert engine.image_id(NAME) == engine.image_id("base:1")


def test_a_name_that_somebody_else_sets_right_is_not_set_again(engine, tmp_path, where):
    engine.after("POST", "/images/load", lambda: engine.tag(APP.digest if engine.store.name == "containerd" else APP.config_digest, NAME))
    assert load(written(tmp_path, APP), engine_host=engine.url, **where).actions == ["loaded"]
    assert engine.count("POST", "/images/.*/tag") == 0


def test_says_what_was_done_of_an_image_that_failed_half_way(engine, tmp_path, where):
    engine.hold(ONLY_BASE)
    second = "docker.io/library/app:stable"
    engine.after("POST", "/images/load", lambda: engine.tag("base:1", second))

    result = load(written(tmp_path, APP._replace(names=(NAME, second))), engine_host=engine.url, **where).result

    assert result["failed"] and result["changed"]
    assert [(entry["action"], entry["changed"]) for entry in result["images"]] == [("failed", True)]
    assert result["diff"] == {"before": {"images": [{"references": {NAME: None}}]}, "after": {"images": [{"references": {NAME: APP.config_digest}}]}}
    is_right(engine, APP)


def test_a_moved_name_stays_an_error_when_another_image_needs_a_round_more(engine, tmp_path, where):
    lose = vanishing(engine)
    engine.hold(image([layer({"x": b"x"})], names=[OTHER_NAME]), image([layer({"y": b"y"})], names=["docker.io/library/y:1"]))
    disturb = once(lambda: (lose(), engine.tag("y:1", OTHER_NAME)))
    result = load(written(tmp_path, OTHER, APP), engine_host=engine.url, between=disturb, **where).result

    assert [entry["action"] for entry in result["images"]] == ["failed", "loaded"]
    assert "somebody else moved it" in result["msg"]
    assert engine.image_id(OTHER_NAME) == engine.image_id("y:1")
    is_right(engine, APP)


# An engine in trouble


def test_an_engine_that_stops_in_the_middle_costs_nothing_twice(engine, tmp_path, where):
    engine.break_load(after=PIECE)

    broken = load(written(tmp_path, APP), engine_host=engine.url, **where)

    assert broken.result["failed"] and not broken.result["changed"]
    assert broken.result["msg"].startswith("the engine at %s broke off during POST /images/load (" % engine.url)
    assert broken.result["msg"].endswith("): see whether it still runs, and run again")
    again = load(written(tmp_path, APP), engine_host=engine.url, **where)
    assert again.sent == {} and again.asks == [] and again.actions == ["loaded"]
    is_right(engine, APP)
    assert left(where) == []


def test_one_that_fails_does_not_stop_the_others(engine, tmp_path, where):
    engine.answer("POST", "/images/load", 500, {"message": "oh"})
    alone = image([layer({"alone": b"1"})], names=["docker.io/library/alone:1"])
    result = load(written(tmp_path, alone, OTHER), engine_host=engine.url, **where).result
    assert [entry["action"] for entry in result["images"]] == ["failed", "loaded"]
    assert result["msg"].endswith("did not load it: oh")
    is_right(engine, OTHER, OTHER_NAME)


def test_what_shares_layers_with_one_that_failed_is_sent_in_full(engine, tmp_path, where):
    engine.answer("POST", "/images/load", 500, {"message": "oh"})
    loaded = load(written(tmp_path, APP, OTHER), engine_host=engine.url, **where)
    assert [entry["action"] for entry in loaded.result["images"]] == ["failed", "loaded"]
    is_right(engine, OTHER, OTHER_NAME)


# Staging


def test_an_interrupted_transfer_goes_on(engine, tmp_path, where):
    src = written(tmp_path, APP)
    with pytest.raises(Interrupted):
        load(src, engine_host=engine.url, stop_after=2 * PIECE, **where)
    sent = sum(blobs(APP, *APP.layers).values())

    checked, real = [load(src, check, engine_host=engine.url, **where) for check in (True, False)]

    assert checked.sent == real.sent
    assert sent - 3 * PIECE <= real.sent_bytes <= sent - PIECE
    is_right(engine, APP)
    assert left(where) == []


def staged(where, digest):
    """The pieces of a blob."""
    return sorted(
        os.path.join(folder, name)
        for folder, _folders, names in os.walk(where["staging_dir"])
        for name in names
        if os.path.basename(folder) == digest.replace(":", "-")
    )


def test_a_piece_that_is_damaged_on_disk_is_sent_again(engine, tmp_path, where):
    src = written(tmp_path, APP)

    def damage():
        with open(staged(where, BASE.digest)[1], "r+b") as piece:
            piece.write(b"\0" * 100)

    loaded = load(src, engine_host=engine.url, between=once(damage), **where)

    assert [need["staged"] for need in loaded.asks[1]["missing"]] == [PIECE]
    assert loaded.actions == ["loaded"]
    is_right(engine, APP)


def interrupt():
    raise Interrupted


def test_a_blob_that_is_not_its_digest_never_reaches_the_engine(engine, tmp_path, where):
    src = written(tmp_path, APP, OTHER)
    path = src / images.path(APP.layers[1].digest)
    path.write_bytes(b"x" * path.stat().st_size)

    result = load(src, engine_host=engine.url, **where).result

    assert result["failed"]
    assert result["msg"].startswith("layer 2 of %s: its bytes are sha256:" % NAME)
    assert result["msg"].endswith("not %s as promised: the archive is damaged, make or copy it again" % APP.layers[1].digest)
    assert [entry["action"] for entry in result["images"]] == ["failed", "loaded"]
    assert engine.image_id(NAME) is None
    assert engine.count("POST", "/images/load") == 1
    is_right(engine, OTHER, OTHER_NAME)


def test_a_full_disk_is_an_error_before_anything_is_sent(engine, tmp_path, where, monkeypatch):
    free = os.statvfs(str(tmp_path))
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result([free[0], free[1], free[2], free[3], 10] + list(free[5:])))
    for check in (True, False):
        loaded = load(written(tmp_path, APP), check, engine_host=engine.url, **where)
        assert loaded.asks == []
        assert loaded.result["msg"].startswith("staging what is sent needs %.1f kB in %s" % (sum(blobs(APP, *APP.layers).values()) / 1e3, tmp_path))
        assert ", where 41.0 kB are free: make room" in loaded.result["msg"]
    assert engine.count("POST", ".*") == 0


def test_a_full_disk_is_an_error_before_what_is_expanded_is_sent(tmp_path, where, monkeypatch):
    made = image([layer({"zeros": b"\0" * 500_000}, "zstd")], names=[NAME])
    free = os.statvfs(str(tmp_path))
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result([free[0], 1000, free[2], free[3], 300] + list(free[5:])))
    src = written(tmp_path, made)
    with FakeEngine("classic", old=True) as engine:
        for check in (True, False):
            loaded = load(src, check, engine_host=engine.url, **where)
            assert loaded.sent == {} and len(loaded.asks) == 1
            assert loaded.result["msg"].startswith("staging what is sent needs 502.")
            assert ", where 300.0 kB are free: make room" in loaded.result["msg"]


def test_no_room_for_the_full_send_fails_that_image_alone(engine, tmp_path, where, monkeypatch):
    free = os.statvfs(str(tmp_path))
    early = image([layer({"early": b"1"})], names=["docker.io/library/early:1"])

    lose = vanishing(engine)

    def fill():
        lose()
        monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result([free[0], free[1], free[2], free[3], 1] + list(free[5:])))

    result = load(written(tmp_path, early, APP), engine_host=engine.url, between=fill, **where).result

    assert [entry["action"] for entry in result["images"]] == ["loaded", "failed"] and result["changed"]
    assert result["msg"].startswith("staging what is sent needs ")


def test_somebody_elses_folder_is_refused(engine, tmp_path, where):
    staging = tmp_path / "staging"
    staging.mkdir()
    (tmp_path / "target").mkdir()
    (staging / ("stowage.oci-%d" % os.geteuid())).symlink_to(tmp_path / "target")
    for check in (True, False):
        loaded = load(written(tmp_path, APP), check, engine_host=engine.url, **where)
        assert "is not a folder that this user alone can use: remove it, or name another folder with staging_dir" in loaded.result["msg"]
    assert engine.count("POST", ".*") == 0


def test_a_config_that_changes_before_it_is_loaded_is_an_error(engine, tmp_path, where, monkeypatch):
    verified = image_load.Staged.lacks

    def lacks(self, needs):
        missing = verified(self, needs)
        if not missing:
            with open(staged(where, APP.config_digest)[0], "r+b") as piece:
                piece.write(b"X")
        return missing

    monkeypatch.setattr(image_load.Staged, "lacks", lacks)
    result = load(written(tmp_path, APP), engine_host=engine.url, **where).result
    assert result["msg"] == "%s: its bytes changed while they were used: is something else writing where they lie?" % APP.config_digest
    assert engine.count("POST", "/images/load") == 0


def test_layers_that_vanish_before_they_are_loaded_are_an_error(engine, tmp_path, where, monkeypatch):
    verified = image_load.Staged.lacks

    def lacks(self, needs):
        missing = verified(self, needs)
        for path in [] if missing else staged(where, BASE.digest):
            self.reader = functools.partial(losing, self.reader, path)
        return missing

    def losing(reader, path, digest):
        stream = reader(digest)
        if digest == BASE.digest and os.path.exists(path):
            os.unlink(path)
        return stream

    monkeypatch.setattr(image_load.Staged, "lacks", lacks)
    result = load(written(tmp_path, APP), engine_host=engine.url, **where).result
    assert result["msg"].endswith(": cannot be read: No such file or directory")
    assert engine.image_id(NAME) is None


def test_what_another_bundle_has_staged_stays(engine, tmp_path, where):
    src = written(tmp_path, APP)
    with pytest.raises(Interrupted):
        load(src, engine_host=engine.url, stop_after=2 * PIECE, **where)
    alone = image([layer({"alone": b"1"})], names=["docker.io/library/alone:1"])

    load(written(tmp_path, alone), engine_host=engine.url, **where)
    load(written(tmp_path, alone), engine_host=engine.url, **where)

    assert load(src, engine_host=engine.url, **where).sent_bytes < sum(blobs(APP, *APP.layers).values()) - PIECE
    assert left(where) == []


# The push probe


def asks_by_push(engine):
    return engine.count("POST", "/images/127.0.0.1:.*/push")


def test_one_push_tells_all_layers_of_a_base(containerd, tmp_path, where):
    containerd.hold(ONLY_BASE, OTHER)
    assert load(written(tmp_path, APP), engine_host=containerd.url, **where).sent == blobs(APP, APP.layers[1])
    assert asks_by_push(containerd) == 1  # once a task, of the image that has most of the layers
    containerd.calls.clear()
    assert load(written(tmp_path, NEXT), engine_host=containerd.url, **where).sent == blobs(NEXT, NEXT.layers[1])
    assert asks_by_push(containerd) == 0  # the image that we loaded says it


def test_layers_of_several_images_are_put_together(containerd, tmp_path, where):
    one, two, three = [layer({"f": name.encode()}, "gzip") for name in ("one", "two", "three")]
    containerd.hold(image([one], names=["docker.io/library/a:1"]), image([one, two], names=["docker.io/library/b:1"], created=None))
    containerd.hold(image([layer({"g": b"g"}), three], names=["docker.io/library/c:1"]))
    made = image([one, two, three], names=[NAME])
    assert load(written(tmp_path, made), engine_host=containerd.url, **where).sent == blobs(made)
    is_right(containerd, made)


def test_an_image_without_a_name_is_not_touched(containerd, tmp_path, where):
    """Docker would delete it together with the name that the probe gives it."""
    containerd.hold(ONLY_BASE._replace(names=()))
    loaded = load(written(tmp_path, APP), engine_host=containerd.url, **where)
    assert loaded.sent == blobs(APP, *APP.layers)
    assert containerd.image_id(ONLY_BASE.digest) == ONLY_BASE.digest
    assert asks_by_push(containerd) == 0


def test_an_image_with_a_name_that_no_look_up_finds_is_not_touched(containerd, tmp_path, where):
    """A load takes a name as it is in the archive, and Docker would take it away together with the one that the probe gives."""
    containerd.hold(ONLY_BASE._replace(names=("base:1",)))
    loaded = load(written(tmp_path, APP), engine_host=containerd.url, **where)
    assert loaded.sent == blobs(APP, *APP.layers)
    assert "base:1" in containerd.store.names
    assert asks_by_push(containerd) == 0


@pytest.mark.parametrize(
    ("names", "survives"),
    [({"RepoTags": ["base:1"]}, True), ({"RepoTags": ["base:1", "Not a name"]}, False), ({"RepoTags": None, "RepoDigests": None}, False)],
)
def test_knows_what_survives_a_probe(containerd, names, survives):
    containerd.hold(ONLY_BASE)
    engine = connect({"engine_host": containerd.url, "engine_timeout": 10, **dict.fromkeys(TLS), "engine_validate_certs": True})
    assert stores._survives(engine, dict(names, Id=containerd.image_id("base:1"))) is survives


TLS = ("engine_ca_cert", "engine_client_cert", "engine_client_key")


def test_an_image_that_was_pulled_by_digest_is_asked(containerd, tmp_path, where):
    containerd.pull("registry.example.com/base@" + containerd.offer("registry.example.com/base:1", ONLY_BASE))
    assert load(written(tmp_path, APP), engine_host=containerd.url, **where).sent == blobs(APP, APP.layers[1])


def test_an_image_of_an_index_is_asked(containerd, tmp_path, where):
    containerd.offer("docker.io/library/base:1", images.index([ARM, ONLY_BASE._replace(names=())]))
    containerd.pull("docker.io/library/base:1")
    assert load(written(tmp_path, APP), engine_host=containerd.url, **where).sent == blobs(APP, APP.layers[1])


def test_an_engine_that_does_not_reach_us_is_not_asked_again(containerd, tmp_path, where):
    containerd.hold(*[image([BASE, layer({"f": b"%d" % n})], names=["docker.io/library/n%d:1" % n]) for n in range(5)])
    containerd.answer("POST", "/images/127.0.0.1:.*/push", 200, Stream([{"error": "dial tcp 127.0.0.1: connect: connection refused"}]), times=9)
    names = set(containerd.store.names)
    loaded = load(written(tmp_path, APP), engine_host=containerd.url, **where)
    assert loaded.sent == blobs(APP, *APP.layers) and loaded.actions == ["loaded"]
    assert asks_by_push(containerd) == 2
    assert set(containerd.store.names) == names | {NAME}


@pytest.mark.parametrize("answer", [(401, {"message": "denied"}), (500, {"message": "oh"})])
def test_a_push_that_is_refused_is_no_error(containerd, tmp_path, where, answer):
    containerd.hold(ONLY_BASE)
    containerd.answer("POST", "/images/127.0.0.1:.*/push", *answer, times=2)
    assert load(written(tmp_path, APP), engine_host=containerd.url, **where).actions == ["loaded"]


def test_without_a_loopback_nothing_is_asked(containerd, tmp_path, where, monkeypatch):
    def no_loopback():
        raise OSError("no loopback")

    monkeypatch.setattr(probe, "_Registry", no_loopback)
    containerd.hold(ONLY_BASE)
    assert load(written(tmp_path, APP), engine_host=containerd.url, **where).sent == blobs(APP, *APP.layers)
    assert asks_by_push(containerd) == 0


def test_an_engine_on_another_machine_is_not_asked(containerd, tmp_path, where, monkeypatch):
    containerd.hold(ONLY_BASE)
    monkeypatch.setattr(Transport, "near", False)
    assert load(written(tmp_path, APP), engine_host=containerd.url, **where).sent == blobs(APP, *APP.layers)
    assert asks_by_push(containerd) == 0


# An archive on the host


@pytest.mark.parametrize("kind", ["", "gzip", "xz"])
def test_an_archive_on_the_host_needs_no_transfer(engine, tmp_path, where, kind):
    src = images.write_docker_archive(tmp_path / "app.tar", [APP, OTHER])
    src = images.pack(src, kind) if kind else src
    os.makedirs(where["staging_dir"])
    given = dict(where, src=str(src), remote_src=True, engine_host=engine.url)

    results = [outcome(image_load, check, given) for check in (True, False, True, False)]

    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0]["diff"] == results[1]["diff"] and results[2]["diff"] == results[3]["diff"]
    assert all((result["sent_bytes"], result["sent_blobs"]) == (0, 0) and "ask" not in result for result in results)
    assert [entry["action"] for entry in results[1]["images"]] == ["loaded", "loaded"]
    is_right(engine, APP)
    is_right(engine, OTHER, OTHER_NAME)
    assert left(where) == []


def test_zstd_layers_on_the_host_are_expanded_where_they_must_be(engine, tmp_path):
    made = image([layer({"app": b"1"}, "zstd"), layer({"b": b"1"}, "zstd")], names=[NAME])
    run(image_load, src=str(written(tmp_path, made)), remote_src=True, engine_host=engine.url, staging_dir=str(tmp_path))
    is_right(engine, made)


def test_a_bomb_is_not_expanded_to_the_end(tmp_path, where, monkeypatch):
    """A layer that an old Docker must get uncompressed; the manifest does not say how large that is."""
    monkeypatch.setattr(compression, "FREE", 1 << 20)
    monkeypatch.setattr(compression, "RATIO", 50)
    bomb = images.Layer(b"", images.compress(b"\0" * (8 << 20), "zstd"), "zstd")
    src = written(tmp_path, image([bomb], names=[NAME]), OTHER)
    os.makedirs(where["staging_dir"])
    with FakeEngine("classic", old=True) as engine:
        result = fail(image_load, src=str(src), remote_src=True, engine_host=engine.url, **where)
        is_right(engine, OTHER, OTHER_NAME)
    assert result["msg"].startswith("layer 1 of %s: expands to more than 50 times its size, as decompression bombs do" % NAME)
    assert left(where) == []


def test_a_damaged_archive_on_the_host_fails_for_the_image_that_it_damages(engine, tmp_path):
    src = written(tmp_path, APP, OTHER)
    path = src / images.path(APP.layers[1].digest)
    path.write_bytes(b"x" * path.stat().st_size)

    result = fail(image_load, src=str(src), remote_src=True, engine_host=engine.url, staging_dir=str(tmp_path))

    assert result["msg"].startswith("layer 2 of %s in %s: its bytes are sha256:" % (NAME, src))
    assert [entry["action"] for entry in result["images"]] == ["failed", "loaded"]
    assert engine.count("POST", "/images/load") == 1
    is_right(engine, OTHER, OTHER_NAME)


def test_a_layer_that_is_nowhere_is_named(engine, tmp_path):
    src = written(tmp_path, APP, OTHER, without=[APP.layers[1].digest])
    result = fail(image_load, src=str(src), remote_src=True, engine_host=engine.url, staging_dir=str(tmp_path))
    message = "%s lacks layer 2 of %s (%s), and the host does not have it: name an archive that holds it as base, or bring one with all layers"
    assert result["msg"] == message % (src, NAME, APP.layers[1].digest)
    is_right(engine, OTHER, OTHER_NAME)


@pytest.mark.parametrize("remote_src", [False, True])
def test_a_differential_archive_is_completed_by_its_base(engine, tmp_path, remote_src):
    (tmp_path / "base").mkdir()
    base, src = written(tmp_path / "base", ONLY_BASE), written(tmp_path, APP, without=[APP.layers[0].digest])
    params = dict(base=[str(base)], engine_host=engine.url, staging_dir=str(tmp_path))
    if remote_src:
        run(image_load, src=str(src), remote_src=True, **params)
    else:
        loaded = load(src, **params)
        assert loaded.sent.keys() == {APP.digest, APP.config_digest, *(one.digest for one in APP.layers)}
    is_right(engine, APP)


def vanishing_in_the_act(engine):
    """The base goes between the last look at it and the load."""
    engine.hold(ONLY_BASE)
    asked = ("DELETE", "/images/127.0.0.1:.*") if engine.store.name == "containerd" else ("GET", "/images/%s/json" % engine.image_id("base:1"))
    engine.after(asked[0], asked[1], lambda: engine.lose("base:1"))


def test_an_archive_on_the_host_is_sent_in_full_if_need_be(engine, tmp_path):
    vanishing_in_the_act(engine)
    result = run(image_load, src=str(written(tmp_path, APP)), remote_src=True, engine_host=engine.url, staging_dir=str(tmp_path))
    assert result["images"][0]["action"] == "loaded"
    is_right(engine, APP)
    assert engine.count("POST", "/images/load") == 2


def test_only_what_finds_no_room_to_expand_fails(engine, tmp_path, where, monkeypatch):
    """Together they do not fit, one of them does."""
    made = [image([layer({"f": os.urandom(size)})], names=["docker.io/library/n%d:1" % size]) for size in (30_000, 20_000)]
    src = images.pack(write_layout(tmp_path / "app.tar", made), "gzip")
    free = os.statvfs(str(tmp_path))
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result([free[0], 1000, free[2], free[3], 31] + list(free[5:])))

    result = fail(image_load, src=str(src), remote_src=True, engine_host=engine.url, staging_dir=str(tmp_path))

    assert result["msg"].startswith("expanding %s needs 41.0 kB in %s" % (src, tmp_path))
    assert [entry["action"] for entry in result["images"]] == ["failed", "loaded"]


def test_no_room_to_expand_is_an_error(engine, tmp_path, where):
    result = fail(image_load, src=str(written(tmp_path, APP)), remote_src=True, engine_host=engine.url, **where)
    assert result["msg"].startswith("%s/stowage.oci-" % where["staging_dir"])
    assert result["msg"].endswith(": No such file or directory: give blobs another place with staging_dir")


def test_an_error_without_a_name_is_told_all_the_same(engine, tmp_path, where, monkeypatch):
    def full(self, needs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_load.Staged, "lacks", full)
    result = load(written(tmp_path, APP), engine_host=engine.url, **where).result
    assert result["msg"] == "%s: No space left on device: give blobs another place with staging_dir" % where["staging_dir"]


# The module alone


def test_it_is_no_plain_module(engine, tmp_path):
    result = fail(image_load, src=str(tmp_path), engine_host=engine.url)
    assert result["msg"] == "src is on the controller, and image_load was called as a plain module: call it as a task, stowage.oci.image_load"


def test_no_engine_is_an_error(tmp_path):
    result = load(written(tmp_path, APP), engine_host="unix:///nowhere", staging_dir=str(tmp_path)).result
    assert result["msg"].startswith("no engine answers at unix:///nowhere (No such file or directory)")


@pytest.mark.parametrize("others", [0, 30])
def test_a_run_that_does_nothing_asks_little(engine, tmp_path, where, others):
    """A ping, an info, and a look at each name, however many other images there are."""
    made = [image([BASE, layer({"f": b"%d" % n})], names=["docker.io/library/n%d:1" % n]) for n in range(10)]
    src = written(tmp_path, *made)
    load(src, engine_host=engine.url, **where)
    engine.hold(*[image([layer({"o": b"%d" % n})], names=["docker.io/library/o%d:1" % n]) for n in range(others)])
    engine.calls.clear()

    assert set(load(src, engine_host=engine.url, **where).actions) == {"kept"}

    assert len(engine.calls) == 2 + len(made)


def test_a_missing_name_is_no_reason_to_look_at_all_images(engine, tmp_path, where):
    src = written(tmp_path, APP)
    load(src, engine_host=engine.url, **where)
    engine.hold(*[image([layer({"o": b"%d" % n})], names=["docker.io/library/o%d:1" % n]) for n in range(30)])
    engine.calls.clear()

    assert load(src, engine_host=engine.url, names={NAME: "mine:1"}, **where).actions == ["tagged"]

    assert engine.count("GET", ".*") < 10


def test_an_empty_list_is_nothing_to_do(engine, tmp_path):
    params = dict(src=str(written(tmp_path, APP)), remote_src=True, staging_dir=str(tmp_path), engine_host=engine.url)
    assert run(image_load, images=[], **params)["images"] == []
    assert engine.image_id(NAME) is None


def test_says_which_option_names_no_archive(engine, tmp_path):
    params = dict(remote_src=True, staging_dir=str(tmp_path), engine_host=engine.url)
    message = fail(image_load, src=str(tmp_path / "none.tar"), **params)["msg"]
    assert message == "src: %s: cannot be read: No such file or directory" % (tmp_path / "none.tar")
    message = fail(image_load, src=str(written(tmp_path, APP)), base=[str(tmp_path / "none.tar")], **params)["msg"]
    assert message == "base: %s: cannot be read: No such file or directory" % (tmp_path / "none.tar")
