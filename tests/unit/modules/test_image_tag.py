# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_tag, whole, against engines in memory."""

from __future__ import annotations

import time

import pytest

from ansible_collections.stowage.oci.plugins.modules import image_tag
from ansible_collections.stowage.oci.tests.unit.fakes.engine import FakeEngine
from ansible_collections.stowage.oci.tests.unit.images import image, layer, layout, tar
from ansible_collections.stowage.oci.tests.unit.running import fail, four_times, run

BASE = layer({"etc/os": b"base" * 100}, "gzip")
APP = image([BASE, layer({"app": b"1"}, "gzip")], names=["docker.io/library/app:1"])
NEXT = image([BASE, layer({"app": b"2"}, "gzip")], names=["docker.io/library/app:2"])


@pytest.fixture(name="engine", params=["classic", "containerd", "podman"])
def _engine(request):
    with FakeEngine(request.param) as engine:
        engine.hold(APP, NEXT)
        yield engine


def identity(engine, made):
    return made.digest if engine.store.name == "containerd" else made.config_digest


def test_gives_new_names(engine):
    real, again = four_times(image_tag, engine_host=engine.url, source="app:1", tags=["app:stable", "registry.example.com/team/app"])

    assert real["changed"]
    assert [entry["reference"] for entry in real["images"]] == ["app:stable", "registry.example.com/team/app"]
    assert {entry["action"] for entry in real["images"]} == {"tagged"}
    assert {entry["image_id"] for entry in real["images"] + again["images"]} == {identity(engine, APP)}
    assert {entry["action"] for entry in again["images"]} == {"kept"}
    assert engine.image_id("app:stable") == engine.image_id("registry.example.com/team/app:latest") == identity(engine, APP)
    assert engine.count("POST", "/images/.*/tag") == 2


def test_moves_a_name_and_leaves_the_other_image(engine):
    real, _again = four_times(image_tag, engine_host=engine.url, source="app:2", tags=["app:1"])

    before, after = real["diff"]["before"]["images"], real["diff"]["after"]["images"]
    assert [(one["reference"], one["image_id"]) for one in before + after] == [("app:1", identity(engine, APP)), ("app:1", identity(engine, NEXT))]
    assert engine.image_id("app:1") == identity(engine, NEXT)
    assert engine.image_id(identity(engine, APP)) == identity(engine, APP)


def test_check_mode_touches_nothing(engine):
    assert run(image_tag, check=True, engine_host=engine.url, source="app:2", tags=["app:1", "app:new"])["changed"]

    assert engine.image_id("app:1") == identity(engine, APP)
    assert engine.image_id("app:new") is None
    assert engine.count("POST", ".*") == 0


def test_what_names_it_already_is_kept_without_a_call(engine):
    result = run(image_tag, engine_host=engine.url, source="app:1", tags=["docker.io/library/app:1", "app:1"])

    assert not result["changed"]
    assert [(entry["reference"], entry["action"]) for entry in result["images"]] == [("docker.io/library/app:1", "kept")]
    assert engine.count("POST", ".*") == 0


@pytest.mark.parametrize("first, last", [(0, 71), (7, 71), (7, 19), (7, 40)])
def test_source_by_id(engine, first, last):
    whole = identity(engine, APP)
    source = whole[first:last]
    four_times(image_tag, engine_host=engine.url, source=source, tags=["by-id:1"])

    assert engine.image_id("by-id:1") == whole


def test_digits_are_a_name_before_they_are_an_id(engine):
    whole = identity(engine, APP)
    engine.tag("app:2", whole[7:19] + ":latest")
    run(image_tag, engine_host=engine.url, source=whole[7:19], tags=["which:1"])

    assert engine.image_id("which:1") == identity(engine, NEXT)


def test_an_untagged_image_gets_a_name(engine):
    bare = image([BASE, layer({"app": b"bare"}, "gzip")])
    engine.hold(bare)
    real, _again = four_times(image_tag, engine_host=engine.url, source=identity(engine, bare), tags=["bare:1"])

    digest = {"classic": None}.get(engine.store.name, bare.digest)
    assert [entry["digest"] for entry in real["images"]] == [digest]
    assert real["diff"]["after"]["images"][0]["digest"] == digest


def test_source_with_a_digest_is_found_by_that_digest_alone(engine):
    digest = engine.offer("127.0.0.1:5000/app:1", APP)
    engine.pull("127.0.0.1:5000/app:1")
    four_times(image_tag, engine_host=engine.url, source="127.0.0.1:5000/app@" + digest, tags=["pinned:1"])
    assert engine.image_id("pinned:1") == identity(engine, APP)

    other = "127.0.0.1:5000/app:1@sha256:" + 64 * "0"
    message = fail(image_tag, engine_host=engine.url, source=other, tags=["x:1"])["msg"]
    assert message.startswith("%s: the engine at %s has no such image" % (other, engine.url))


def test_digest_is_that_of_the_new_repository():
    with FakeEngine("classic") as engine:
        digest = engine.offer("127.0.0.1:5000/app:1", APP)
        engine.pull("127.0.0.1:5000/app:1")
        result = run(image_tag, engine_host=engine.url, source="127.0.0.1:5000/app:1", tags=["127.0.0.1:5000/app:2", "elsewhere:1"])

    assert [entry["digest"] for entry in result["images"]] == [digest, None]


@pytest.mark.parametrize(
    "source, there",
    [
        ("app:3", ": it has docker.io/library/app:1, docker.io/library/app:2"),
        ("registry.example.com/team/app:1", ": it has docker.io/library/app:1, docker.io/library/app:2"),
        ("aap:1", ": it has docker.io/library/app:1"),
        ("quite-another/thing:9", ""),
        ("sha256:" + 64 * "0", ""),
    ],
)
def test_a_missing_source_lists_what_may_have_been_meant(engine, source, there):
    for check in (True, False):
        message = fail(image_tag, check, engine_host=engine.url, source=source, tags=["x:1"])["msg"]
        assert message.startswith("%s: the engine at %s has no such image%s" % (source, engine.url, there))
        assert there or message.endswith("has no such image")


def test_a_tag_with_a_digest_is_refused(engine):
    tag = "app:9@" + APP.digest
    for check in (True, False):
        message = fail(image_tag, check, engine_host=engine.url, source="app:1", tags=["app:8", tag])["msg"]
        assert message == "%s: a digest follows from what an image is and cannot be given to one: write app:9" % tag
    assert engine.count("POST", ".*") == 0


@pytest.mark.parametrize("name", ["source", "tags"])
def test_a_malformed_reference_is_refused(engine, name):
    params = dict({"source": "app:1", "tags": ["x:1"]}, **{name: "Upper:1" if name == "source" else ["Upper:1"]})
    assert "'Upper:1' is not an image reference" in fail(image_tag, engine_host=engine.url, **params)["msg"]


def test_a_tag_that_is_moved_meanwhile_fails_alone(engine):
    engine.after("POST", "/images/.*/tag", lambda: engine.tag("app:2", "app:stable"))
    result = fail(image_tag, engine_host=engine.url, source="app:1", tags=["app:stable", "app:other"], parallel=1)

    assert result["msg"] == "app:stable was given to an image and names another one now: somebody else moved it meanwhile, run again"
    assert [entry["action"] for entry in result["images"]] == ["failed", "tagged"]
    assert result["changed"]


def test_a_tag_that_is_gone_at_once_fails(engine):
    engine.after("POST", "/images/.*/tag", lambda: engine.lose("app:1"))
    assert "names none now" in fail(image_tag, engine_host=engine.url, source="app:1", tags=["app:stable"])["msg"]


def test_names_are_given_one_at_a_time(engine):
    """Podman forgets one of two that an image gets at the same time."""
    active, most = [], []

    def slow():
        active.append(1)
        most.append(len(active))
        time.sleep(0.05)
        active.pop()

    engine.after("POST", "/images/.*/tag", slow, times=4)
    run(image_tag, engine_host=engine.url, source="app:1", tags=["app:%s" % letter for letter in "abcd"], parallel=4)
    assert most == [1, 1, 1, 1]


def test_a_refusal_of_the_engine_is_told(engine):
    engine.answer("POST", "/images/.*/tag", 500, {"message": "the disk is full"})
    message = fail(image_tag, engine_host=engine.url, source="app:1", tags=["app:stable"])["msg"]
    assert message == "the engine at %s refused (HTTP 500): the disk is full" % engine.url


def test_half_an_image_is_not_named():
    with FakeEngine("containerd") as engine:
        engine.load(tar(layout([APP], docker=True, without=[BASE.digest])))
        message = fail(image_tag, engine_host=engine.url, source="app:1", tags=["x:1"])["msg"]
        assert message == "app:1: the engine at %s has only a part of it: load or pull it again" % engine.url
        assert engine.image_id("x:1") is None


def test_no_engine():
    message = fail(image_tag, engine_host="unix:///nowhere/engine.sock", source="app:1", tags=["x:1"])["msg"]
    assert message.startswith("no engine answers at unix:///nowhere/engine.sock")
