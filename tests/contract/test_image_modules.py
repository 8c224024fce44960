# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_tag, image_remove and image_info, whole, on real engines."""

from __future__ import annotations

import io
import os
import random
import tarfile
import time

from ansible_collections.stowage.oci.plugins.modules import image_info, image_remove, image_tag
from ansible_collections.stowage.oci.tests.unit.images import Layer, image, layer, layout, tar
from ansible_collections.stowage.oci.tests.unit.running import fail, four_times, run

TIME = {"created": "2024-05-01T10:00:00Z"}
HISTORY = [dict(TIME, created_by="COPY os"), dict(TIME, created_by="ENV a=b", empty_layer=True), dict(TIME, created_by="COPY app")]
BASE = layer({"etc/os": b"base" * 1000}, "gzip")
APP = image([BASE, layer({"app": b"1"}, "gzip")], names=["docker.io/library/app:1"], history=HISTORY, config={"Cmd": ["/app"]})
NEXT = image([BASE, layer({"app": b"2"}, "gzip")], names=["docker.io/library/app:2"], history=HISTORY, config={"Cmd": ["/app"]})
BARE = image([BASE, layer({"app": b"3"}, "gzip")], history=HISTORY)


def hold(engine, *made):
    for one in made:
        engine.call("POST", "/images/load", tar(layout([one], docker=True)))


def identity(engine, made):
    return made.digest if engine.store == "containerd" else made.config_digest


def named(engine, name):
    return run(image_info, engine_host=engine.url, images=[name])["images"][0]["image_id"]


def actions(result):
    return [(entry["reference"], entry["action"]) for entry in result["images"]]


# image_tag


def test_tag_gives_and_moves_names(engine):
    hold(engine, APP, NEXT)
    tags = ["app:2", "registry.example.com/team/app"]
    real, again = four_times(image_tag, engine_host=engine.url, source="app:1", tags=tags)

    assert actions(real) == [(tag, "tagged") for tag in tags] and actions(again) == [(tag, "kept") for tag in tags]
    assert [one["image_id"] for one in real["diff"]["before"]["images"]] == [identity(engine, NEXT), None]
    assert {named(engine, name) for name in ["app:1", *tags]} == {identity(engine, APP)}
    assert named(engine, identity(engine, NEXT)) == identity(engine, NEXT)


def test_tag_an_untagged_image(engine):
    hold(engine, BARE)
    real, _again = four_times(image_tag, engine_host=engine.url, source=identity(engine, BARE), tags=["bare:1"])
    assert [one["digest"] for one in real["images"]] == [None if engine.store == "classic" else BARE.digest]


def test_tag_says_what_is_there_instead(engine):
    hold(engine, APP, NEXT)
    message = fail(image_tag, engine_host=engine.url, source="registry.example.com/app:9", tags=["x:1"])["msg"]
    assert message.endswith(" has no such image: it has docker.io/library/app:1, docker.io/library/app:2")


# image_remove


def test_remove_names_and_then_the_image(engine):
    hold(engine, APP, NEXT)
    engine.call("POST", "/images/app:1/tag?repo=docker.io/library/app&tag=stable")
    wanted = ["app:1", "app:9", "app:stable"]
    real, again = four_times(image_remove, engine_host=engine.url, images=wanted)

    assert actions(real) == [("app:1", "untagged"), ("app:9", "absent"), ("app:stable", "removed")]
    assert actions(again) == [(name, "absent") for name in wanted]
    assert real["freed_bytes"] == {"classic": 1, "podman": 10240, "containerd": 8192}[engine.store]
    assert named(engine, "app:2") == identity(engine, NEXT)


def test_remove_by_id(engine):
    hold(engine, APP, NEXT)
    for repository in ("docker.io/library/app", "registry.example.com/app"):
        engine.call("POST", f"/images/app:1/tag?repo={repository}&tag=more")
    for check in (True, False):
        message = fail(image_remove, check, engine_host=engine.url, images=[identity(engine, APP)])["msg"]
        assert message.endswith(": remove those names, or set force to remove all of them")
    real, _again = four_times(image_remove, engine_host=engine.url, images=[identity(engine, APP)], force=True)
    assert actions(real) == [(identity(engine, APP), "removed")]
    real, _again = four_times(image_remove, engine_host=engine.url, images=[identity(engine, NEXT)[7:19]])
    assert actions(real) == [(identity(engine, NEXT)[7:19], "removed")]
    assert engine.json("GET", "/images/json?all=1") == []


def test_remove_what_a_container_uses(engine):
    hold(engine, APP)
    body = {"Image": "docker.io/library/app:1", "Cmd": ["/app"], "HostConfig": {"NetworkMode": "none"}}
    engine.json("POST", "/containers/create?name=web", body)
    for check in (True, False):
        for text in ("app:1", identity(engine, APP)):
            message = fail(image_remove, check, engine_host=engine.url, images=[text])["msg"]
            assert message == f"{text} is in use by the stopped container web: remove it first, or set force"
    engine.call("POST", "/images/app:1/tag?repo=docker.io/library/app&tag=stable")
    real, _again = four_times(image_remove, engine_host=engine.url, images=["app:stable"], force=True)
    assert actions(real) == [("app:stable", "untagged")]
    assert len(engine.json("GET", "/containers/json?all=1")) == 1

    real, _again = four_times(image_remove, engine_host=engine.url, images=["app:1"], force=True)
    assert actions(real) == [("app:1", "removed")]
    assert real["freed_bytes"] == (20480 if engine.store == "podman" else 0)
    assert len(engine.json("GET", "/containers/json?all=1")) == (0 if engine.store == "podman" else 1)


def test_remove_what_a_running_container_uses(engine):
    hold(engine, image([_program("/bin/busybox")], names=["docker.io/library/busybox:1"]))
    body = {"Image": "docker.io/library/busybox:1", "Cmd": ["/bin/busybox", "sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}
    container = engine.json("POST", "/containers/create?name=busy", body)["Id"]
    engine.call("POST", f"/containers/{container}/start")
    for force in (False, True):
        message = fail(image_remove, engine_host=engine.url, images=["busybox:1"], force=force)["msg"]
        assert message == "busybox:1 is in use by the running container busy: stop and remove it first"
    assert len(engine.json("GET", "/containers/json")) == 1


def test_remove_by_digest_and_what_a_moved_tag_left_behind(engine, registry):
    name = f"{registry.host}/moved-{engine.kind}"
    digests = []
    for made in (APP, NEXT):
        hold(engine, made._replace(names=(f"{name}:1",)))
        engine.call("POST", f"/images/{name}/push?tag=1", headers={"X-Registry-Auth": "e30="})
        with_auth = engine.call("POST", f"/images/create?fromImage={name}&tag=1")
        assert b'"error"' not in with_auth
        digests.append(run(image_info, engine_host=engine.url, images=[f"{name}:1"])["images"][0]["digest"])
    wrong = f"{name}:1@{digests[0]}"
    assert actions(run(image_remove, engine_host=engine.url, images=[wrong])) == [(wrong, "absent")]

    real, _again = four_times(image_remove, engine_host=engine.url, images=[f"{name}:gone"], dangling=True)
    # The containerd store does not tell where an untagged image was pulled from.
    assert actions(real)[1:] == ([] if engine.store == "containerd" else [(identity(engine, APP), "removed")])
    assert named(engine, f"{name}:1") == identity(engine, NEXT)

    for digest in digests[::-1] if engine.store == "containerd" else digests[1:]:
        real, _again = four_times(image_remove, engine_host=engine.url, images=[f"{name}@{digest}"])
        assert actions(real) == [(f"{name}@{digest}", "removed")]
    assert engine.json("GET", "/images/json?all=1") == []


def test_remove_what_was_pulled_by_digest(engine, registry):
    name = f"{registry.host}/pinned-{engine.kind}"
    hold(engine, APP._replace(names=(f"{name}:1",)))
    engine.call("POST", f"/images/{name}/push?tag=1", headers={"X-Registry-Auth": "e30="})
    engine.wipe()
    engine.call("POST", f"/images/create?fromImage={name}&tag=1")
    digest = run(image_info, engine_host=engine.url, images=[f"{name}:1"])["images"][0]["digest"]
    engine.wipe()
    engine.call("POST", f"/images/create?fromImage={name}&tag={digest}")
    kept = run(image_remove, check=True, engine_host=engine.url, images=[f"{name}:1"], dangling=True)
    assert kept["changed"] == (engine.store == "classic")

    real, _again = four_times(image_remove, engine_host=engine.url, images=[f"{name}@{digest}"])
    assert actions(real) == [(f"{name}@{digest}", "removed")]
    assert engine.json("GET", "/images/json?all=1") == []


def test_remove_what_another_was_built_on(engine):
    hold(engine, APP)
    context = tar({"Dockerfile": b"FROM docker.io/library/app:1\nLABEL a=b\nLABEL c=d\nCOPY Dockerfile /file\n"})
    engine.call("POST", "/build?version=1&t=docker.io/library/child:1&networkmode=none", context)
    real, _again = four_times(image_remove, engine_host=engine.url, images=["app:1"])

    assert actions(real) == [("app:1", "untagged" if engine.store == "classic" else "removed")]
    if engine.store == "classic":
        message = fail(image_remove, engine_host=engine.url, images=[APP.config_digest])["msg"]
        assert message.endswith(" was built on it, and the engine keeps it as long: remove that first")
    checked = run(image_remove, check=True, engine_host=engine.url, images=["child:1"])
    real = run(image_remove, engine_host=engine.url, images=["child:1"])
    assert actions(real) == [("child:1", "removed")]
    assert checked["freed_bytes"] == real["freed_bytes"]
    if engine.store != "containerd":
        assert engine.json("GET", "/images/json?all=1") == []
        assert real["freed_bytes"] > {"classic": 4000, "podman": 20000}[engine.store]


def test_freed_bytes_are_what_the_disk_says(engine):
    shared, own = (layer({"data": random.Random(seed).randbytes(size)}) for seed, size in ((1, 8 << 20), (2, 4 << 20)))
    hold(engine, image([shared], names=["docker.io/library/a:1"], history=HISTORY[:1]))
    hold(engine, image([shared, own], names=["docker.io/library/b:1"], history=HISTORY))
    for name, least in (("b:1", 4 << 20), ("a:1", 8 << 20)):
        before = _usage(engine.root)
        freed = run(image_remove, engine_host=engine.url, images=[name])["freed_bytes"]
        assert freed >= least
        assert freed <= _went(engine.root, before, freed) * 1.02


def _program(path):
    """A layer that holds this file where it is, to be run."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(path, path.lstrip("/"))
    return Layer(buffer.getvalue(), buffer.getvalue(), "")


def _usage(root):
    total = 0
    for folder, _folders, files in os.walk(root):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


def _went(root, before, expected):
    """What the disk has less; containerd and overlay2 delete a moment later."""
    end = time.monotonic() + 20
    while before - _usage(root) < expected * 0.98 and time.monotonic() < end:
        time.sleep(0.2)
    return before - _usage(root)


# image_info


def test_info_of_layers_and_who_shares_them(engine):
    hold(engine, APP, NEXT)
    real, _again = four_times(image_info, engine_host=engine.url, images=["app:1", "nothing:1"])

    assert real["missing"] == ["nothing:1"]
    found = real["images"][0]
    assert (found["image_id"], found["platform"], found["created"]) == (identity(engine, APP), "linux/amd64", "2024-05-01T10:00:00Z")
    assert [one["diff_id"] for one in found["layers"]] == APP.diff_ids
    assert [one["command"] for one in found["layers"]] == ["COPY os", "COPY app"]
    assert [one["shared_with"] for one in found["layers"]] == [["docker.io/library/app:2"], []]
    sizes = {"classic": [4000, 1], "podman": [10240, 10240], "containerd": [12288, 8192]}[engine.store]
    assert [one["size"] for one in found["layers"]] == sizes
    assert found["size"] >= sum(sizes)
    assert real["store"] == engine.store and real["engine"]["version"] == engine.version
    assert real["storage"]["backing_file_system"] in ("extfs", "ext4", "xfs", "btrfs", "zfs", "overlayfs", "overlay", "tmpfs")
    assert os.path.isdir(real["storage"]["root"])
    assert real["weaknesses"]


def test_info_of_what_a_dockerfile_built(engine):
    hold(engine, APP)
    context = tar({"Dockerfile": b"FROM docker.io/library/app:1\nENV a=b\nWORKDIR /\nCOPY Dockerfile /file\nCMD [\"/x\"]\n"})
    engine.call("POST", "/build?version=1&t=docker.io/library/child:1&networkmode=none", context)
    result = run(image_info, engine_host=engine.url)

    assert [entry["reference"] for entry in result["images"]] == ["docker.io/library/app:1", "docker.io/library/child:1"]
    commands = [one["command"] for one in result["images"][1]["layers"]]
    assert commands[:2] == ["COPY os", "COPY app"] and "COPY file:" in commands[-1]


def test_info_of_a_half_loaded_image(containerd):
    containerd.call("POST", "/images/load", tar(layout([APP], docker=True, without=[BASE.digest])))
    found = run(image_info, engine_host=containerd.url)["images"][0]
    assert (found["complete"], found["platform"], found["layers"]) == (False, None, [])
    assert actions(run(image_remove, engine_host=containerd.url, images=["app:1"])) == [("app:1", "removed")]


def test_info_when_the_history_has_no_times(podman):
    hold(podman, image([BASE], names=["docker.io/library/timeless:1"], history=[{"created_by": "COPY os"}]))
    found = run(image_info, engine_host=podman.url)["images"][0]["layers"]
    assert [(one["command"], one["size"]) for one in found] == [(None, None)]


def test_remove_what_the_containerd_store_loaded_under_a_name(containerd):
    hold(containerd, APP, NEXT._replace(names=APP.names))
    real, _again = four_times(image_remove, engine_host=containerd.url, images=["app:none"], dangling=True)
    assert actions(real) == [("app:none", "absent"), (APP.digest, "removed")]
