# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_build, whole, against engines and a registry in memory: the images that a Dockerfile builds from."""

from __future__ import annotations

import json
import re
import sys

import pytest

from ansible_collections.stowage.oci.plugins.modules import image_build
from ansible_collections.stowage.oci.tests.unit.building import ARM, BASE, INPUTS, NEW, OTHER, four_times, reason, refused
from ansible_collections.stowage.oci.tests.unit.images import image, index, layer
from ansible_collections.stowage.oci.tests.unit.running import run

pytestmark = pytest.mark.usefixtures("alone")


def test_a_base_that_is_missing_is_pulled_once(yard):
    run(image_build, True, **yard.params())
    assert yard.site.pulled() == 0
    four_times(**yard.params())
    assert yard.site.pulled() == 1 and yard.engine.image_id(yard.base) == yard.site.identity(BASE)


def test_no_registry_is_asked_for_a_base_that_is_there(yard):
    yard.engine.pull(yard.base)
    yard.site.registry.close()
    four_times(**yard.params())
    assert yard.site.asked() == 0


def test_a_base_that_moved_is_a_cause_when_it_is_asked_for(yard):
    run(image_build, **yard.params())
    assert reason(yard, pull=True) is None and yard.site.pulled() == 1
    yard.site.offer("base:1", NEW)
    assert reason(yard) is None
    assert reason(yard, pull=True) == "the base %s is another image now" % yard.base
    assert (yard.site.pulled(), yard.builds) == (2, 2)


def test_a_base_that_somebody_tagged_anew_is_a_cause(yard):
    run(image_build, **yard.params())
    yard.engine.hold(NEW._replace(names=(yard.base,)))
    assert reason(yard) == "the base %s is another image now" % yard.base


def test_another_base_is_a_cause(one_yard):
    run(image_build, **one_yard.params())
    one_yard.site.offer("other:1", OTHER)
    one_yard.write("Dockerfile", (one_yard.path / "Dockerfile").read_text().replace("base:1", "other:1"))
    what = (one_yard.base, one_yard.site.name("other:1"))
    assert reason(one_yard).endswith("; the base %s is used no more; the base %s is new" % what)


def test_a_base_that_left_since_the_build_is_the_same_still(yard):
    run(image_build, **yard.params())
    yard.engine.lose(yard.base)
    yard.site.registry.close()
    assert reason(yard) is None and yard.site.pulled() == 1


def test_a_base_that_left_is_pulled_when_there_is_something_to_build(yard):
    run(image_build, **yard.params())
    yard.engine.lose(yard.base)
    yard.write("file", "2")
    assert reason(yard) == "the context changed: changed file"
    assert yard.site.pulled() == 2


def test_a_base_that_left_and_moved_is_learned_of_before_the_build(yard):
    run(image_build, **yard.params())
    yard.engine.lose(yard.base)
    yard.site.offer("base:1", NEW)
    assert reason(yard) is None
    yard.write("file", "2")
    assert reason(yard) == "the context changed: changed file; the base %s is another image now" % yard.base
    assert json.loads(yard.config()["Labels"][INPUTS])["bases"] == {yard.base: yard.site.identity(NEW)}


def test_a_base_that_left_for_good_is_no_build(yard):
    """Check mode knows it too."""
    run(image_build, **yard.params())
    yard.engine.lose(yard.base)
    yard.site.registry.close()
    yard.engine.answer("GET", "/distribution/.*", 500, {"message": "connection refused"}, times=9)
    yard.write("file", "2")
    refused("connection refused|Connection refused", yard.params())
    assert yard.builds == 1


def test_a_base_whose_id_is_told_by_the_pull_alone_may_turn_out_the_same(yards, monkeypatch):
    """Without requests nobody knows before the pull what ID the classic store gives."""
    yard = yards("classic")
    run(image_build, **yard.params())
    yard.engine.lose(yard.base)
    monkeypatch.setitem(sys.modules, "requests", None)
    told = run(image_build, True, **yard.params(pull=True))
    assert (told["build_digest"], told["reason"]) == (None, "the base %s is not on this host" % yard.base)
    done = run(image_build, **yard.params(pull=True))
    assert (done["changed"], done["reason"], yard.builds) == (False, None, 1)
    assert done["images"][0]["action"] == "kept"


def test_a_base_that_is_nowhere_is_no_build(yard):
    yard.write("Dockerfile", "FROM %s\n" % yard.site.name("gone:1"))
    refused("gone:1: %s has no such image" % yard.site.registry.host, yard.params())
    assert yard.builds == 0 and yard.engine.image_id("app:1") is None


def test_several_bases_of_which_one_is_copied_from(yard):
    yard.site.offer("other:1", OTHER)
    yard.write("Dockerfile", "FROM %s\nCOPY --from=%s /other /\n" % (yard.base, yard.site.name("other:1")))
    four_times(**yard.params())
    assert yard.files()["other"] == b"1" and yard.site.pulled() == 2
    yard.site.offer("other:1", image([layer({"other": b"2"}, "gzip")]))
    assert reason(yard, pull=True) == "the base %s is another image now" % yard.site.name("other:1")
    assert yard.files()["other"] == b"2"


def test_the_classic_builder_is_spared_the_stages_that_nothing_needs(docker_yard):
    docker_yard.write("Dockerfile", "FROM nowhere.test/other:1 AS unneeded\nRUN false\nFROM %s\nRUN true\n" % docker_yard.base)
    four_times(**docker_yard.params(builder="classic"))
    assert docker_yard.site.pulled() == 1


def test_the_classic_builder_has_the_bases_of_all_stages_where_they_are_numbered(docker_yard):
    docker_yard.site.offer("other:1", OTHER)
    other, base = docker_yard.site.name("other:1"), docker_yard.base
    docker_yard.write("Dockerfile", "FROM %s AS unneeded\nRUN true\nFROM %s\nRUN true\nFROM %s\nCOPY --from=1 /etc/os /os\n" % (other, base, base))
    four_times(**docker_yard.params(builder="classic"))
    assert docker_yard.site.pulled() == 2
    assert set(json.loads(docker_yard.config()["Labels"][INPUTS])["bases"]) == {docker_yard.base}


def test_buildkit_needs_only_those_of_the_stages_that_are_needed(docker_yard):
    docker_yard.write("Dockerfile", "FROM %s AS unneeded\nRUN true\nFROM %s\nRUN true\n" % (docker_yard.site.name("nowhere:1"), docker_yard.base))
    four_times(**docker_yard.params())
    assert docker_yard.site.pulled() == 1


def test_a_base_by_its_id(yard):
    yard.engine.hold(OTHER)
    identity = yard.site.identity(OTHER)
    if yard.site.containerd:
        identity = next(iter(yard.engine.store.records))
    yard.write("Dockerfile", "FROM %s\nCOPY file /\n" % identity)
    done, _again = four_times(**yard.params())
    assert done["builder"] == ("podman" if yard.site.podman else "classic")
    assert yard.site.asked() == 0
    assert json.loads(yard.config()["Labels"][INPUTS])["bases"] == {identity: identity}


def test_says_that_there_is_no_base_of_an_id(one_yard):
    one_yard.write("Dockerfile", "FROM sha256:%s\n" % ("a" * 64))
    message = "the Dockerfile builds from the image sha256:a{64}, and the engine at %s has none of that ID" % re.escape(one_yard.engine.url)
    refused(message, one_yard.params())


@pytest.mark.parametrize("how", ["in the Dockerfile", "as an option"])
def test_a_base_for_another_platform(yard, how):
    yard.site.offer("base:1", index([BASE, ARM]))
    named = "--platform=linux/arm64 " if how == "in the Dockerfile" else ""
    yard.write("Dockerfile", "FROM %s%s\nCOPY file /\n" % (named, yard.base))
    four_times(**yard.params(platform=None if named else "linux/arm64"))
    bases = json.loads(yard.config()["Labels"][INPUTS])["bases"]
    assert list(bases) == ([yard.base + " for linux/arm64"] if named else [yard.base])
    if yard.site.containerd:
        assert ARM.digest in yard.engine.store.content and BASE.digest not in yard.engine.store.content
    else:
        assert yard.engine.image_id(yard.base) == yard.site.identity(ARM)


def test_credentials_open_the_registry_of_a_base(yards):
    yard = yards("classic", auth="basic")
    four_times(**yard.params(username="ann", password="secret"))
    assert yard.site.pulled() == 1 and "X-Registry-Config" not in yard.engine.builds[0].headers
    yard.engine.lose("app:1")
    yard.engine.lose(yard.base)
    refused("wants credentials|refuses", yard.params())
