# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_info, whole, against engines in memory."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.oci.plugins.modules import image_info
from ansible_collections.stowage.oci.tests.unit.fakes.engine import FakeEngine
from ansible_collections.stowage.oci.tests.unit.images import image, index, layer, layout, sha256, tar
from ansible_collections.stowage.oci.tests.unit.running import fail, four_times, run

BASE, SAME = layer({"etc/os": b"base" * 100}, "gzip"), layer({"lib": b"shared"}, "gzip")
HISTORY = [
    {"created": "2024-05-01T10:00:00Z", "created_by": "COPY os /etc/os"},
    {"created": "2024-05-01T10:00:00Z", "created_by": "ENV A=b", "empty_layer": True},
    {"created": "2024-05-01T10:00:00Z", "created_by": "COPY lib /lib"},
    {"created": "2024-05-01T10:00:00Z", "created_by": "RUN /app --setup"},
    {"created": "2024-05-01T10:00:00Z", "created_by": 'CMD ["/app"]', "empty_layer": True},
]
APP = image([BASE, SAME, layer({"app": b"1"}, "gzip")], names=["docker.io/library/app:1"], history=HISTORY, config={"Labels": {"who": "me"}})
OTHER = image([BASE, layer({"app": b"2"}, "gzip")], names=["docker.io/library/other:1"], history=HISTORY[:1] + HISTORY[3:])
OPAQUE = image([SAME], names=["docker.io/library/opaque:1"])


@pytest.fixture(name="engine", params=["classic", "containerd", "podman"])
def _engine(request):
    with FakeEngine(request.param) as engine:
        engine.hold(APP, OTHER, OPAQUE)
        yield engine


def identity(engine, made):
    return made.digest if engine.store.name == "containerd" else made.config_digest


def chain(*layers):
    found = layers[0].diff_id
    for one in layers[1:]:
        found = sha256(("%s %s" % (found, one.diff_id)).encode())
    return found


def test_all_images_with_all_that_is_known(engine):
    result, _again = four_times(image_info, engine_host=engine.url)

    assert not result["changed"] and result["missing"] == []
    assert [entry["reference"] for entry in result["images"]] == ["docker.io/library/%s:1" % name for name in ("app", "opaque", "other")]
    found = result["images"][0]
    digest = None if engine.store.name == "classic" else APP.digest
    assert found["image_id"] == identity(engine, APP)
    assert found["digest"] == digest
    assert found["config_digest"] == (None if engine.store.name == "containerd" else APP.config_digest)
    assert found["tags"] == ["docker.io/library/app:1"]
    assert found["digests"] == (["docker.io/library/app@" + digest] if digest else [])
    assert (found["platform"], found["complete"], found["labels"]) == ("linux/amd64", True, {"who": "me"})
    assert found["created"] == "2024-05-01T10:00:00Z"
    assert found["size"] >= sum(one["size"] for one in found["layers"])
    assert (found["action"], found["changed"]) == ("found", False)


def test_layers(engine):
    found = run(image_info, engine_host=engine.url, images=["app:1"])["images"][0]["layers"]

    assert [one["diff_id"] for one in found] == APP.diff_ids
    assert [one["chain_id"] for one in found] == [chain(*APP.layers[:number]) for number in (1, 2, 3)]
    assert [one["command"] for one in found] == ["COPY os /etc/os", "COPY lib /lib", "RUN /app --setup"]
    assert [one["digest"] for one in found] == [None, None, None]
    sizes = {"classic": [400, 6, 1], "podman": [10240] * 3, "containerd": [12288, 8192, 8192]}[engine.store.name]
    assert [one["size"] for one in found] == sizes


def test_a_layer_is_shared_only_on_the_same_layers(engine):
    engine.tag("other:1", "other:stable")
    found = run(image_info, engine_host=engine.url, images=["app:1", "opaque:1"])["images"]

    others = ["docker.io/library/other:1", "docker.io/library/other:stable"]
    assert [one["shared_with"] for one in found[0]["layers"]] == [others, [], []]
    assert [one["shared_with"] for one in found[1]["layers"]] == [[]]


def test_shared_with_an_untagged_image(engine):
    bare = image([BASE, layer({"app": b"bare"}, "gzip")])
    engine.hold(bare)
    result = run(image_info, engine_host=engine.url)

    by_name = {entry["reference"]: entry for entry in result["images"]}
    assert identity(engine, bare) in by_name["docker.io/library/app:1"]["layers"][0]["shared_with"]
    assert by_name[identity(engine, bare)]["tags"] == []


def test_history_that_does_not_fit_gives_no_commands(engine):
    found = run(image_info, engine_host=engine.url, images=["opaque:1"])["images"][0]["layers"]
    assert [(one["command"], one["size"]) for one in found] == [(None, None)]


def test_missing_ones_are_named_as_they_were_written(engine):
    names = ["app", "other:1", "app:1@sha256:" + 64 * "1", "sha256:" + 64 * "0", "app:1", identity(engine, OTHER)]
    result, _again = four_times(image_info, engine_host=engine.url, images=names)

    assert [entry["reference"] for entry in result["images"]] == ["other:1", "app:1", identity(engine, OTHER)]
    assert result["missing"] == ["app", "app:1@sha256:" + 64 * "1", "sha256:" + 64 * "0"]


def test_no_images_at_all():
    with FakeEngine() as engine:
        result = run(image_info, engine_host=engine.url)
        assert (result["images"], result["missing"]) == ([], [])
        assert run(image_info, engine_host=engine.url, images=[])["images"] == []


def test_by_digest(engine):
    multi = index([APP, image([BASE], platform="linux/arm64")])
    digest = engine.offer("127.0.0.1:5000/app:1", multi)
    engine.pull("127.0.0.1:5000/app:1")
    name = "127.0.0.1:5000/app@" + digest
    found = run(image_info, engine_host=engine.url, images=[name])["images"][0]

    assert found["digest"] == digest
    assert name in found["digests"]
    assert found["platform"] == "linux/amd64"


def test_intermediate_images_are_left_out_unless_they_are_asked_for(engine):
    between = image([BASE, layer({"between": b"1"}, "gzip")])
    engine.hold(between)
    engine.adopt(identity(engine, between), "app:1")

    assert identity(engine, between) not in [entry["image_id"] for entry in run(image_info, engine_host=engine.url)["images"]]
    result = run(image_info, engine_host=engine.url, images=[identity(engine, between)])
    assert [entry["image_id"] for entry in result["images"]] == [identity(engine, between)]


def test_an_image_that_goes_meanwhile_is_not_there(engine):
    engine.after("GET", "/images/%s/json" % identity(engine, OTHER), lambda: engine.lose("other:1"))
    result = run(image_info, engine_host=engine.url)

    assert [entry["reference"] for entry in result["images"]] == ["docker.io/library/app:1", "docker.io/library/opaque:1"]
    assert result["missing"] == []


def test_an_image_that_was_asked_for_and_goes_meanwhile_is_missing(engine):
    engine.after("GET", "/images/docker.io/library/other:1/json", lambda: engine.lose("other:1"))
    result = run(image_info, engine_host=engine.url, images=["other:1"])

    assert (result["images"], result["missing"]) == ([], ["other:1"])


def test_one_image_that_cannot_be_read_does_not_hide_the_others():
    for store in ("classic", "containerd"):
        with FakeEngine(store) as engine:
            engine.hold(APP, OTHER, OPAQUE)
            engine.answer("GET", "/images/%s/history" % identity(engine, OTHER), 500, {"message": "corrupt database"})
            result = fail(image_info, engine_host=engine.url)

            assert result["msg"] == "the engine at %s refused (HTTP 500): corrupt database" % engine.url
            assert [entry["action"] for entry in result["images"]] == ["found", "found", "failed"]


def test_podman_breaks_down_over_a_history_without_times():
    timeless = image([BASE], names=["docker.io/library/timeless:1"], history=[{"created_by": "COPY os /etc/os"}])
    with FakeEngine("podman") as engine:
        engine.hold(timeless)
        found = run(image_info, engine_host=engine.url, images=["timeless:1"])["images"][0]

    assert [(one["diff_id"], one["command"], one["size"]) for one in found["layers"]] == [(BASE.diff_id, None, None)]


def test_digests_of_layers_that_image_load_noted():
    rows = '[["%s","application/vnd.oci.image.layer.v1.tar+gzip","%s",%d]]' % (BASE.diff_id, BASE.digest, len(BASE.blob))
    files = layout([APP._replace(names=(), annotations={"io.stowage.layers": rows, "io.stowage.config.digest": APP.config_digest})], docker=True)
    with FakeEngine("containerd") as engine:
        engine.load(tar(files))
        found = run(image_info, engine_host=engine.url)["images"][0]

    assert [one["digest"] for one in found["layers"]] == [BASE.digest, None, None]
    assert found["config_digest"] == APP.config_digest


def test_half_an_image():
    with FakeEngine("containerd") as engine:
        engine.load(tar(layout([APP], docker=True, without=[SAME.digest])))
        found = run(image_info, engine_host=engine.url)["images"][0]

    assert (found["complete"], found["platform"], found["created"], found["layers"]) == (False, None, None, [])
    assert (found["image_id"], found["tags"]) == (APP.digest, ["docker.io/library/app:1"])


def test_what_is_said_of_the_host(engine):
    result = run(image_info, engine_host=engine.url)

    name, version, api = {
        "classic": ("Docker", "28.5.2+dfsg4", "1.51"), "containerd": ("Docker", "28.5.2+dfsg4", "1.51"), "podman": ("Podman", "4.3.1", "1.41")
    }[engine.store.name]
    assert result["store"] == engine.store.name
    assert result["engine"] == {"name": name, "version": version, "api": api, "url": engine.url}
    driver, root = {
        "classic": ("overlay2", "/var/lib/docker"),
        "containerd": ("overlayfs", "/var/lib/docker/containerd/daemon"),
        "podman": ("overlay", "/var/lib/containers/storage"),
    }[engine.store.name]
    assert (result["storage"]["driver"], result["storage"]["root"]) == (driver, root)
    assert result["storage"]["backing_file_system"]
    word = {"classic": "The classic store", "containerd": "twice the disk", "podman": "four times its size"}[engine.store.name]
    assert word in " ".join(result["weaknesses"])


def test_storage_of_the_systems_own_containerd():
    with FakeEngine("containerd") as engine:
        engine.says(Containerd={"Address": "/run/containerd/containerd.sock"})
        assert run(image_info, engine_host=engine.url)["storage"]["root"] == "/var/lib/containerd"


def test_two_hundred_images_cost_two_calls_each_and_one_list():
    with FakeEngine() as engine:
        for number in range(200):
            engine.hold(image([BASE, layer({"app": b"%d" % number})], names=["docker.io/library/app:%d" % number]))
        assert len(run(image_info, engine_host=engine.url)["images"]) == 200
        assert engine.count("GET", "/images/json") == 1
        assert engine.count("GET", "/images/.+/(json|history)") == 400


def test_a_malformed_name():
    with FakeEngine() as engine:
        assert "'App:1' is not an image reference" in fail(image_info, engine_host=engine.url, images=["App:1"])["msg"]


def test_what_fails_alike_for_several_images_is_said_once():
    with FakeEngine("classic") as engine:
        engine.hold(APP, OTHER)
        for made in (APP, OTHER):
            engine.answer("GET", "/images/%s/history" % identity(engine, made), 500, {"message": "corrupt database"})
        result = fail(image_info, engine_host=engine.url)
        assert [entry["msg"] for entry in result["images"]] == [result["msg"]] * 2
        assert result["msg"] == "the engine at %s refused (HTTP 500): corrupt database" % engine.url
