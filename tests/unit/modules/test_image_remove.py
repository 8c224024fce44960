# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_remove, whole, against engines in memory."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.oci.plugins.modules import image_remove
from ansible_collections.stowage.oci.tests.unit.fakes.engine import FakeEngine
from ansible_collections.stowage.oci.tests.unit.images import image, layer, layout, tar
from ansible_collections.stowage.oci.tests.unit.running import fail, four_times, run

BASE = layer({"etc/os": b"base" * 100}, "gzip")
ONE, TWO = layer({"app": b"1"}, "gzip"), layer({"app": b"2"}, "gzip")
HISTORY = [{"created": "2024-05-01T10:00:00Z", "created_by": "COPY os /etc/os"}, {"created": "2024-05-01T10:00:00Z", "created_by": "COPY app /app"}]
APP = image([BASE, ONE], names=["docker.io/library/app:1"], history=HISTORY)
NEXT = image([BASE, TWO], names=["docker.io/library/app:2"], history=HISTORY)
REMOTE = "127.0.0.1:5000/app"

# What a layer of each of these files is to a store, and what the containerd store keeps beside it.
UNIT = {"classic": (400, 1), "containerd": (12288, 8192), "podman": (10240, 10240)}


def beside(engine, made):
    return sum(map(len, made.blobs.values())) if engine.store.name == "containerd" else 0


@pytest.fixture(name="engine", params=["classic", "containerd", "podman"])
def _engine(request):
    with FakeEngine(request.param) as engine:
        engine.hold(APP, NEXT)
        yield engine


def identity(engine, made):
    return made.digest if engine.store.name == "containerd" else made.config_digest


def actions(result):
    return [(entry["reference"], entry["action"]) for entry in result["images"]]


def moved(engine):
    """A tag was pulled, and again when it named another image."""
    for made, name in ((APP, "app:1"), (NEXT, "app:2")):
        engine.offer(REMOTE + ":1", made)
        engine.pull(REMOTE + ":1")
        engine.store.remove(name, False)


# Names


def test_an_image_goes_with_its_last_name(engine):
    real, again = four_times(image_remove, engine_host=engine.url, images=["app:1"])

    assert actions(real) == [("app:1", "removed")] and actions(again) == [("app:1", "absent")]
    entry = real["images"][0]
    assert (entry["image_id"], entry["digest"]) == (identity(engine, APP), None if engine.store.name == "classic" else APP.digest)
    assert real["diff"]["before"]["images"] == [{key: entry[key] for key in ("reference", "image_id", "digest")}]
    assert real["diff"]["after"]["images"] == [{"reference": "app:1", "image_id": None, "digest": None}]
    assert engine.image_id(identity(engine, APP)) is None
    assert engine.image_id("app:2") == identity(engine, NEXT)
    assert real["freed_bytes"] == UNIT[engine.store.name][1]
    assert again["freed_bytes"] == 0


def test_an_image_with_another_name_loses_the_one(engine):
    engine.tag("app:1", "app:stable")
    real, _again = four_times(image_remove, engine_host=engine.url, images=["app:1"])

    assert actions(real) == [("app:1", "untagged")]
    assert engine.image_id("app:1") is None
    assert engine.image_id("app:stable") == identity(engine, APP)
    assert real["freed_bytes"] == 0


def test_all_names_in_one_task(engine):
    engine.tag("app:1", "app:stable")
    real, _again = four_times(image_remove, engine_host=engine.url, images=["app:stable", "app:1", "app:2", "docker.io/library/app:2"])

    assert actions(real) == [("app:stable", "untagged"), ("app:1", "removed"), ("app:2", "removed"), ("docker.io/library/app:2", "absent")]
    first, second = UNIT[engine.store.name]
    assert real["freed_bytes"] == first + 2 * second + max(beside(engine, APP), beside(engine, NEXT))
    assert engine.store.records == {}


def test_absent_is_fine_and_costs_a_call_each(engine):
    missing = "sha256:" + 64 * "0"
    result = run(image_remove, engine_host=engine.url, images=["nothing:1", missing])

    assert not result["changed"] and {entry["action"] for entry in result["images"]} == {"absent"}
    assert [call.path for call in engine.calls[2:]] == ["/images/docker.io/library/nothing:1/json", "/images/%s/json" % missing]


def test_check_mode_touches_nothing(engine):
    result = run(image_remove, check=True, engine_host=engine.url, images=["app:1", identity(engine, NEXT)])

    assert result["changed"] and result["freed_bytes"] > 0
    assert engine.count("DELETE", ".*") == 0
    assert len(engine.store.records) == 2


# IDs


def test_by_id(engine):
    for text, made in ((identity(engine, APP), APP), (identity(engine, NEXT)[7:21], NEXT)):
        real, _again = four_times(image_remove, engine_host=engine.url, images=[text])
        assert actions(real) == [(text, "removed")]
        assert engine.image_id(identity(engine, made)) is None


def test_by_id_with_several_names_needs_force(engine):
    engine.tag("app:1", "registry.example.com/app:1")
    for check in (True, False):
        result = fail(image_remove, check, engine_host=engine.url, images=[identity(engine, APP), "app:2"])
        message = result["msg"]
        assert message.startswith("%s is named " % identity(engine, APP))
        assert "docker.io/library/app:1" in message and "registry.example.com/app:1" in message
        assert message.endswith(": remove those names, or set force to remove all of them")
        assert actions(result)[0] == (identity(engine, APP), "failed")
    assert engine.image_id("app:1") == identity(engine, APP)
    assert engine.image_id("app:2") is None

    real, _again = four_times(image_remove, engine_host=engine.url, images=[identity(engine, APP)], force=True)
    assert actions(real) == [(identity(engine, APP), "removed")]
    assert engine.image_id("registry.example.com/app:1") is None


def test_an_id_after_its_names(engine):
    engine.tag("app:1", "app:stable")
    real, _again = four_times(image_remove, engine_host=engine.url, images=["app:stable", identity(engine, APP)])
    assert actions(real) == [("app:stable", "untagged"), (identity(engine, APP), "removed")]


def test_too_few_digits(engine):
    known = ["sha256:%012d%052d" % (1, number) for number in (1, 2)]
    summaries = [{"Id": image_id, "RepoTags": [], "RepoDigests": []} for image_id in known]
    engine.answer("GET", "/images/json", 200, summaries)
    message = fail(image_remove, engine_host=engine.url, images=["%012d" % 1])["msg"]
    assert message == "%012d: 2 images have IDs that begin so: write more of its digits" % 1


# Digests


def test_a_tag_with_a_digest_goes_only_if_it_is_that(engine):
    engine.store.remove("app:1", False)
    digest = engine.offer(REMOTE + ":1", APP)
    engine.pull(REMOTE + ":1")
    wrong = "%s:1@%s" % (REMOTE, NEXT.digest)
    assert actions(run(image_remove, engine_host=engine.url, images=[wrong, REMOTE + ":2@" + digest])) == [
        (wrong, "absent"), (REMOTE + ":2@" + digest, "absent")
    ]

    right = "%s:1@%s" % (REMOTE, digest)
    real, _again = four_times(image_remove, engine_host=engine.url, images=[right])
    assert actions(real) == [(right, "removed")]
    assert real["images"][0]["digest"] == digest
    assert engine.image_id(REMOTE + ":1") is None


def test_a_digest_alone_takes_all_tags_of_its_repository(engine):
    engine.store.remove("app:1", False)
    digest = engine.offer(REMOTE + ":1", APP)
    engine.pull(REMOTE + ":1")
    engine.tag(REMOTE + ":1", REMOTE + ":2")
    engine.tag(REMOTE + ":1", "elsewhere:1")
    real, _again = four_times(image_remove, engine_host=engine.url, images=[REMOTE + "@" + digest])

    assert actions(real) == [(REMOTE + "@" + digest, "untagged")]
    assert engine.image_id(REMOTE + ":1") is None and engine.image_id(REMOTE + ":2") is None
    assert engine.image_id("elsewhere:1") == identity(engine, APP)


def test_an_image_that_was_pulled_by_digest(engine):
    engine.store.remove("app:1", False)
    digest = engine.offer(REMOTE + ":1", APP)
    engine.pull(REMOTE + "@" + digest)
    real, _again = four_times(image_remove, engine_host=engine.url, images=[REMOTE + "@" + digest])

    assert actions(real) == [(REMOTE + "@" + digest, "removed")]
    assert engine.image_id(identity(engine, APP)) is None


def test_an_untagged_image_by_its_digest(engine):
    moved(engine)
    real, _again = four_times(image_remove, engine_host=engine.url, images=[REMOTE + "@" + APP.digest])

    assert actions(real) == [(REMOTE + "@" + APP.digest, "removed")]
    assert engine.image_id(identity(engine, APP)) is None
    assert engine.image_id(REMOTE + ":1") == identity(engine, NEXT)


# Containers


def test_in_use_by_a_stopped_container(engine):
    engine.contain("app:1", "web")
    for check in (True, False):
        for text in ("app:1", identity(engine, APP)):
            result = fail(image_remove, check, engine_host=engine.url, images=[text, "app:9"])
            assert result["msg"] == "%s is in use by the stopped container web: remove it first, or set force" % text
            assert actions(result) == [(text, "failed"), ("app:9", "absent")]
            assert not result["changed"] and result["freed_bytes"] == 0
    assert engine.count("DELETE", ".*") == 0

    real, _again = four_times(image_remove, engine_host=engine.url, images=["app:1"], force=True)
    assert actions(real) == [("app:1", "removed")]
    # Docker keeps the container, and with it the layer.
    assert real["freed_bytes"] == (UNIT["podman"][1] if engine.store.name == "podman" else 0)
    assert [one["Names"] for one in engine.store.containers] == ([] if engine.store.name == "podman" else [["/web"]])


@pytest.mark.parametrize("state", ["running", "paused", "restarting"])
def test_in_use_by_a_running_container_is_never_removed(engine, state):
    engine.contain("app:1", "web", state)
    engine.contain("app:1", "old")
    for force in (False, True):
        for check in (True, False):
            message = fail(image_remove, check, engine_host=engine.url, images=["app:1"], force=force)["msg"]
            assert message == "app:1 is in use by the running container web: stop and remove it first"
    assert engine.count("DELETE", ".*") == 0


def test_a_name_that_is_not_the_last_goes_though_the_image_is_in_use(engine):
    engine.contain("app:1", "web", "running")
    engine.tag("app:1", "app:stable")
    real, _again = four_times(image_remove, engine_host=engine.url, images=["app:1"])
    assert actions(real) == [("app:1", "untagged")]


def test_force_does_not_touch_a_container_when_the_image_stays(engine):
    engine.contain("app:1", "web")
    engine.tag("app:1", "app:stable")
    real, _again = four_times(image_remove, engine_host=engine.url, images=["app:1"], force=True)
    assert actions(real) == [("app:1", "untagged")]
    assert [one["Names"] for one in engine.store.containers] == [["/web"]]
    assert not [call for call in engine.calls if "force" in call.query]


# What other images were built on


def test_a_parent_is_kept_as_long_as_the_classic_store_keeps_it(engine):
    engine.adopt("app:1", "app:2")
    real, _again = four_times(image_remove, engine_host=engine.url, images=["app:1"])

    assert actions(real) == [("app:1", "untagged" if engine.store.name == "classic" else "removed")]
    assert engine.image_id("app:1") is None
    if engine.store.name == "classic":
        for check in (True, False):
            message = fail(image_remove, check, engine_host=engine.url, images=[APP.config_digest])["msg"]
            assert message == APP.config_digest + ": docker.io/library/app:2 was built on it, and the engine keeps it as long: remove that first"


def test_untagged_parents_go_with_their_last_child():
    for store, freed in (("classic", 402), ("podman", 3 * 10240)):
        with FakeEngine(store) as engine:
            between = image([BASE, ONE], history=HISTORY)
            engine.hold(between, NEXT)
            engine.adopt(between.config_digest, "app:2")
            real, _again = four_times(image_remove, engine_host=engine.url, images=["app:2"])
            assert engine.store.records == {}
            assert real["freed_bytes"] == freed


# Untagged images


def test_dangling():
    for store in ("classic", "podman"):
        with FakeEngine(store) as engine:
            engine.hold(APP, NEXT)
            moved(engine)
            real, _again = four_times(image_remove, engine_host=engine.url, images=[REMOTE + ":gone"], dangling=True)

            assert actions(real) == [(REMOTE + ":gone", "absent"), (APP.config_digest, "removed")]
            assert engine.image_id(APP.config_digest) is None
            assert engine.image_id(REMOTE + ":1") == NEXT.config_digest
            assert real["freed_bytes"] == UNIT[store][1]


def test_the_containerd_store_does_not_tell_where_an_untagged_image_was_pulled_from():
    with FakeEngine("containerd") as engine:
        engine.offer(REMOTE + ":1", APP)
        engine.pull(REMOTE + ":1")
        engine.offer(REMOTE + ":1", NEXT)
        engine.pull(REMOTE + ":1")
        assert actions(run(image_remove, engine_host=engine.url, images=[REMOTE + ":gone"], dangling=True)) == [(REMOTE + ":gone", "absent")]
        assert engine.image_id(APP.digest) == APP.digest


def test_dangling_of_a_repository_that_is_not_named_stays(engine):
    moved(engine)
    result = run(image_remove, engine_host=engine.url, images=["127.0.0.1:5000/other:1", identity(engine, NEXT)[:12]], dangling=True)
    assert not result["changed"]
    assert engine.image_id(identity(engine, APP)) == identity(engine, APP)


def test_dangling_loaded_from_an_archive():
    with FakeEngine("containerd") as engine:
        engine.hold(APP, image([BASE, TWO], names=["docker.io/library/app:1"], history=HISTORY))
        real, _again = four_times(image_remove, engine_host=engine.url, images=["app:none"], dangling=True)
        assert actions(real) == [("app:none", "absent"), (APP.digest, "removed")]


def test_dangling_in_use_is_kept():
    for store in ("classic", "podman"):
        with FakeEngine(store) as engine:
            engine.hold(APP, NEXT)
            moved(engine)
            engine.contain(APP.config_digest, "web")
            result = run(image_remove, engine_host=engine.url, images=[REMOTE + ":1"], dangling=True)
            assert actions(result) == [(REMOTE + ":1", "removed"), (APP.config_digest, "kept")]
            assert engine.image_id(APP.config_digest) == APP.config_digest

            forced = run(image_remove, engine_host=engine.url, images=[REMOTE + ":1"], dangling=True, force=True)
            assert actions(forced) == [(REMOTE + ":1", "absent"), (APP.config_digest, "removed")]


def test_dangling_of_two_repositories_needs_both():
    with FakeEngine("classic") as engine:
        for name in ("127.0.0.1:5000/a:1", "127.0.0.1:5000/b:1"):
            engine.offer(name, APP)
            engine.pull(name)
            engine.offer(name, NEXT)
            engine.pull(name)
        assert actions(run(image_remove, engine_host=engine.url, images=["127.0.0.1:5000/a:0"], dangling=True)) == [("127.0.0.1:5000/a:0", "absent")]
        both = ["127.0.0.1:5000/a:0", "127.0.0.1:5000/b:0"]
        real, _again = four_times(image_remove, engine_host=engine.url, images=both, dangling=True)
        assert actions(real)[2:] == [(APP.config_digest, "removed")]


def test_a_past_name_that_is_none():
    with FakeEngine("podman") as engine:
        engine.hold(image([BASE, ONE]))
        for record in engine.store.records.values():
            record.past_names.append("<none>:<none>")
        assert not run(image_remove, engine_host=engine.url, images=["app:1"], dangling=True)["changed"]


def test_podman_keeps_what_was_pulled_by_digest():
    with FakeEngine("podman") as engine:
        digest = engine.offer(REMOTE + ":1", APP)
        engine.pull(REMOTE + "@" + digest)
        assert not run(image_remove, engine_host=engine.url, images=[REMOTE + ":gone"], dangling=True)["changed"]


# What went


def test_what_the_store_does_not_tell_is_not_counted(engine):
    plain = image([layer({"plain": b"1"}, "gzip")], names=["docker.io/library/plain:1"])
    engine.hold(plain)
    assert run(image_remove, engine_host=engine.url, images=["plain:1"])["freed_bytes"] == beside(engine, plain)


def test_a_half_loaded_image():
    with FakeEngine("containerd") as engine:
        engine.load(tar(layout([APP], docker=True, without=[BASE.digest])))
        real, _again = four_times(image_remove, engine_host=engine.url, images=["app:1"])
        assert actions(real) == [("app:1", "removed")]
        assert real["freed_bytes"] == 0
        assert engine.store.content == {}


# Lies and failures


def test_an_image_that_somebody_else_removes_meanwhile(engine):
    engine.after("GET", "/containers/json", lambda: engine.lose("app:1"))
    result = run(image_remove, engine_host=engine.url, images=["app:1"])
    assert actions(result) == [("app:1", "removed")]


def test_a_name_that_is_given_again_meanwhile(engine):
    engine.after("DELETE", "/images/.*", lambda: engine.tag("app:2", "app:1"))
    result = fail(image_remove, engine_host=engine.url, images=["app:1", "app:9"])
    assert result["msg"] == (
        "app:1: the engine at %s reported no error, and still has docker.io/library/app:1: somebody else named it meanwhile, run again"
        % engine.url
    )
    assert actions(result) == [("app:1", "failed"), ("app:9", "absent")]


def test_an_engine_that_says_it_did(engine):
    engine.answer("DELETE", "/images/.*", 200, [])
    assert "reported no error, and still has docker.io/library/app:1" in fail(image_remove, engine_host=engine.url, images=["app:1"])["msg"]


def test_a_refusal_is_told_and_the_rest_is_done(engine):
    engine.answer("DELETE", "/images/docker.io/library/app:1", 500, {"message": "device busy"})
    result = fail(image_remove, engine_host=engine.url, images=["app:1", "app:2"])
    assert result["msg"] == "app:1: the engine at %s refused (HTTP 500): device busy" % engine.url
    assert actions(result) == [("app:1", "failed"), ("app:2", "removed")]
    assert result["freed_bytes"] == UNIT[engine.store.name][1]


def test_malformed_names_change_nothing(engine):
    assert "'App:1' is not an image reference" in fail(image_remove, engine_host=engine.url, images=["app:1", "App:1"])["msg"]
    assert engine.count("DELETE", ".*") == 0
