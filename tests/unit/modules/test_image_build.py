# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_build, whole, against engines and a registry in memory: what is built, and why."""

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.stowage.oci.plugins.modules import image_build
from ansible_collections.stowage.oci.tests.unit.building import DIGEST, INPUTS, OTHER, PREFERRED, four_times, reason
from ansible_collections.stowage.oci.tests.unit.images import image, layer, sha256
from ansible_collections.stowage.oci.tests.unit.running import run

pytestmark = pytest.mark.usefixtures("alone")


# What is built, and what is not


def test_builds_what_nothing_names_and_then_nothing(yard):
    done, again = four_times(**yard.params("app:1", "registry.example.com/app:1"))
    image_id = yard.engine.image_id("app:1")
    assert yard.engine.image_id("registry.example.com/app:1") == image_id
    main, second = done["images"]
    assert (main["reference"], main["image_id"], main["action"], main["changed"]) == ("app:1", image_id, "built", True)
    assert (second["reference"], second["image_id"], second["action"]) == ("registry.example.com/app:1", image_id, "tagged")
    assert again["images"] == [dict(entry, action="kept", changed=False) for entry in done["images"]]
    assert (done["builder"], done["reason"]) == (PREFERRED[yard.site.engine.store.name], "app:1 names no image")
    assert done["diff"]["before"]["images"][0] == {"reference": "app:1", "image_id": None, "build_digest": None}
    assert done["diff"]["after"]["images"][0] == {"reference": "app:1", "build_digest": done["build_digest"], "reason": done["reason"]}
    assert "version 1" in done["log"] and yard.builds == 1
    assert yard.files()["app/file"] == b"1"
    labels = yard.config()["Labels"]
    assert labels[DIGEST] == done["build_digest"] == again["build_digest"]
    assert set(json.loads(labels[INPUTS])["bases"]) == {yard.base}


def test_the_digests_are_as_each_store_tells_them(yard):
    entry = run(image_build, **yard.params())["images"][0]
    told = (entry["digest"] == entry["image_id"], entry["config_digest"] == entry["image_id"])
    assert told == {"classic": (False, True), "containerd": (True, False), "podman": (False, True)}[yard.engine.store.name]


def test_a_pruned_cache_is_no_cause(yard):
    run(image_build, **yard.params())
    yard.engine.prune_builds()
    assert reason(yard) is None and yard.builds == 1


def test_times_are_no_cause(one_yard):
    run(image_build, **one_yard.params())
    os.utime(str(one_yard.path / "file"), (1, 1))
    assert reason(one_yard) is None


def test_without_a_memory_it_is_known_as_well(one_yard):
    run(image_build, **one_yard.params(hash_cache=False))
    assert reason(one_yard, hash_cache=False) is None and not one_yard.cache.exists()


def test_says_which_files_differ(yard):
    run(image_build, **yard.params())
    yard.write("file", "2")
    yard.write("new", "2")
    assert reason(yard) == "the context changed: added new; changed file"
    yard.write("file", "2", mode=0o755)
    (yard.path / "new").unlink()
    assert reason(yard) == "the context changed: changed file; removed new"
    assert yard.files()["app/file"] == b"2" and "app/new" not in yard.files() and yard.builds == 3


def test_says_not_too_many_of_them(one_yard):
    run(image_build, **one_yard.params())
    for number in range(8):
        one_yard.write("new/%d" % number, "")
    assert reason(one_yard) == "the context changed: added new, new/0, new/1, new/2, new/3 and 4 more"


def test_without_a_memory_it_says_only_that_they_do(one_yard):
    run(image_build, **one_yard.params(hash_cache=False))
    one_yard.write("file", "2")
    assert reason(one_yard, hash_cache=False) == "the context changed"


def test_a_memory_of_another_image_says_nothing_of_files(one_yard):
    """The tag was built by somebody else since."""
    run(image_build, **one_yard.params())
    one_yard.write("file", "2")
    run(image_build, **one_yard.params(hash_cache=False))
    one_yard.write("file", "3")
    assert reason(one_yard) == "the context changed"


def test_what_is_ignored_is_no_cause_and_is_not_sent(yard):
    yard.write(".dockerignore", "*.log\n")
    run(image_build, **yard.params())
    yard.write("a.log", "1")
    assert reason(yard) is None
    yard.write("file", "2")
    run(image_build, **yard.params())
    assert "a.log" not in yard.engine.builds[-1].files


def test_the_dockerfile_is_a_cause(yard):
    yard.write(".dockerignore", "Dockerfile\n")
    run(image_build, **yard.params())
    text = (yard.path / "Dockerfile").read_text()
    yard.write("Dockerfile", text + "RUN true\n")
    assert reason(yard) == "the Dockerfile changed"


def test_arguments_are_a_cause_if_the_dockerfile_declares_them(yard):
    assert reason(yard, build_args={"VERSION": 1.5, "UNUSED": True}) == "app:1 names no image"
    assert yard.engine.builds[0].query["buildargs"] == {"VERSION": "1.5", "UNUSED": "true"}
    assert reason(yard, build_args={"VERSION": "1.5", "UNUSED": "2"}) is None
    assert reason(yard, build_args={"VERSION": "2"}) == "the argument VERSION changed"
    assert reason(yard) == "the argument VERSION is gone"
    assert reason(yard, build_args={"VERSION": "1"}) == "the argument VERSION is new"


def test_options_are_a_cause(yard):
    yard.write("Dockerfile", "FROM %s AS one\nRUN true\nFROM one AS two\nRUN echo 2\n" % yard.base)
    run(image_build, **yard.params())
    assert reason(yard, target="one", labels={"a": 1}) == "the option labels is new; the option target is new"
    assert yard.config()["Labels"]["a"] == "1" and yard.engine.builds[-1].query["target"] == "one"
    assert reason(yard, target="one", labels={"a": 2}) == "the option labels changed"
    assert reason(yard, target="one") == "the option labels is gone"


def test_network_secrets_and_cache_are_no_cause_and_go_to_the_builder(podman_yard):
    run(image_build, **podman_yard.params())
    secrets = [{"id": "token", "value": "hunter2"}]
    more = {"network": "host", "cache": False, "secrets": secrets}
    assert reason(podman_yard, **more) is None
    podman_yard.write("file", "2")
    run(image_build, **podman_yard.params(**more))
    query = podman_yard.engine.builds[-1].query
    assert (query["nocache"], query["secrets"]) == ("1", ["id=token,src=podman-build-secret-0"])
    assert json.loads(query["nsoptions"]) == [{"Name": "network", "Host": True}]
    assert podman_yard.engine.builds[-1].files["podman-build-secret-0"] == b"hunter2"
    assert not any(b"hunter2" in data for data in podman_yard.files().values())


def test_docker_is_told_of_a_network_by_its_name(docker_yard):
    run(image_build, **docker_yard.params(network="none"))
    assert docker_yard.engine.builds[0].query["networkmode"] == "none"


# Tags


def test_a_tag_that_another_one_can_stand_for_is_set_without_a_build(yard):
    run(image_build, **yard.params())
    done, _again = four_times(**yard.params("app:2", "app:1"))
    assert [(entry["action"], entry["changed"]) for entry in done["images"]] == [("tagged", True), ("kept", False)]
    assert done["reason"] is None and yard.builds == 1
    assert yard.engine.image_id("app:2") == yard.engine.image_id("app:1")
    assert [side["image_id"] for side in done["diff"]["after"]["images"]] == [yard.engine.image_id("app:1")]


def test_a_tag_that_names_another_image_is_moved(yard):
    run(image_build, **yard.params())
    yard.engine.hold(OTHER._replace(names=("docker.io/library/app:2",)))
    done, _again = four_times(**yard.params("app:1", "app:2"))
    assert [entry["action"] for entry in done["images"]] == ["kept", "tagged"] and yard.builds == 1
    assert done["diff"]["before"]["images"][0]["image_id"] == yard.site.identity(OTHER)


def test_a_tag_that_is_gone_is_built_again(yard):
    run(image_build, **yard.params())
    yard.engine.lose("app:1")
    assert reason(yard) == "app:1 names no image"
    assert yard.engine.image_id("app:1")


def test_an_image_that_says_nothing_of_its_build_is_replaced(yard):
    yard.engine.hold(OTHER._replace(names=("docker.io/library/app:1",)))
    done, _again = four_times(**yard.params())
    assert done["reason"] == "app:1 names an image that does not say what it was built from"
    assert done["diff"]["before"]["images"][0]["image_id"] == yard.site.identity(OTHER)


@pytest.mark.parametrize("inputs", ['{"a": 1}', "[", "[]"])
def test_an_image_that_says_what_nobody_understands_is_replaced(one_yard, inputs):
    labels = {INPUTS: inputs, DIGEST: sha256(inputs.encode())}
    one_yard.engine.hold(image([layer({"other": b"1"})], names=["docker.io/library/app:1"], config={"Labels": labels}))
    assert reason(one_yard) == "app:1 names an image that does not say what it was built from"


def test_an_image_that_is_half_there_is_none(yards):
    yard = yards("containerd")
    run(image_build, **yard.params())
    record = yard.engine.store.find("app:1")
    yard.engine.store.content.pop(json.loads(record.manifest.decode())["layers"][-1]["digest"])
    told = run(image_build, True, **yard.params())
    assert (told["changed"], told["reason"]) == (True, "app:1 names no image")


# What the host remembers


def test_check_mode_remembers_nothing(one_yard):
    run(image_build, True, **one_yard.params())
    assert not one_yard.cache.exists()
    run(image_build, **one_yard.params())
    before = {path: path.stat().st_mtime_ns for path in one_yard.cache.iterdir()}
    one_yard.write("file", "2")
    run(image_build, True, **one_yard.params())
    assert {path: path.stat().st_mtime_ns for path in one_yard.cache.iterdir()} == before


def test_a_memory_that_cannot_be_is_no_matter(one_yard):
    (one_yard.home / ".cache").write_text("in the way")
    four_times(**one_yard.params())
    one_yard.write("file", "2")
    assert reason(one_yard) == "the context changed"


def test_a_memory_that_others_could_have_written_is_none(one_yard):
    run(image_build, **one_yard.params())
    for path in one_yard.cache.iterdir():
        path.chmod(0o666)
    one_yard.write("file", "2")
    assert reason(one_yard) == "the context changed"


# In any case, and by the engine's cache alone


def test_always_builds_and_says_whether_the_image_is_another(yard):
    run(image_build, **yard.params())
    params = yard.params(rebuild="always")
    for check in (True, False):
        result = run(image_build, check, **params)
        assert (result["changed"], result["reason"], result["images"][0]["action"]) == (False, "rebuild is always", "built")
        assert result["diff"] == {"before": {"images": []}, "after": {"images": []}}
    assert yard.builds == 2
    before = yard.engine.image_id("app:1")
    for check in (True, False):
        assert run(image_build, check, cache=False, **params)["changed"]
    assert yard.engine.image_id("app:1") != before


def test_always_builds_what_is_changed(one_yard):
    run(image_build, **one_yard.params())
    one_yard.write("file", "2")
    for check in (True, False):
        result = run(image_build, check, **one_yard.params(rebuild="always"))
        assert (result["changed"], result["reason"]) == (True, "rebuild is always")


def test_without_a_stamp_the_cache_decides(yard):
    params = yard.params(stamp=False)
    why = "without a stamp the engine's cache decides"
    for changed in (True, False):
        told, done = run(image_build, True, **params), run(image_build, **params)
        assert (told["changed"], told["reason"], told["diff"]) == (done["changed"], done["reason"], done["diff"]) == (changed, why, done["diff"])
    assert yard.builds == 2 and DIGEST not in yard.config().get("Labels", {})
    yard.write("file", "2")
    assert run(image_build, True, **params)["changed"] and run(image_build, **params)["changed"]


def test_without_a_stamp_and_a_memory_check_mode_expects_a_change(one_yard):
    params = one_yard.params(stamp=False, hash_cache=False)
    run(image_build, **params)
    assert run(image_build, True, **params)["changed"] and not run(image_build, **params)["changed"]
