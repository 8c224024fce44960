# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_copy as a whole, against registries in memory."""

from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.stowage.oci.plugins.modules import image_archive, image_copy
from ansible_collections.stowage.oci.tests.unit import images
from ansible_collections.stowage.oci.tests.unit.fakes.registry import FakeRegistry
from ansible_collections.stowage.oci.tests.unit.images import artifact, attestation, image, index, layer, write_docker_archive, write_layout
from ansible_collections.stowage.oci.tests.unit.running import fail, four_times, run

pytestmark = pytest.mark.usefixtures("alone")

BASE = layer({"base": bytes(range(256)) * 400}, "gzip")
APP = image([BASE, layer({"app": b"1"}, "gzip")], names=["quay.io/team/app:1"], config={"Cmd": ["/app"]})
NEXT = image([BASE, layer({"app": b"2"}, "gzip")], names=["quay.io/team/app:1"], config={"Cmd": ["/app"]})
TOOL = image([BASE, layer({"tool": b"1"}, "gzip")], names=["quay.io/team/tool:1"])
ARM = image([layer({"app": b"3"}, "gzip")], platform="linux/arm64")
OLD = image([layer({"app": b"4"}, "gzip")], platform="linux/arm/v6")
PROOF = attestation(APP)
MULTI = index([APP, ARM, OLD, PROOF], names=["quay.io/team/multi:1"])


@pytest.fixture
def registry():
    with FakeRegistry() as found:
        yield found


@pytest.fixture
def source():
    with FakeRegistry() as found:
        yield found


@pytest.fixture
def bundle(tmp_path):
    """Writes a bundle of these images."""
    return lambda *items, **how: str(write_layout(tmp_path / "bundle.tar", items, **how))


def into(registry, prefix="", **params):
    return dict(dict(destination=registry.host + prefix, plain_http=True), **params)


def blobs(*items):
    """Blobs and their bytes, each once, without manifests."""
    found = {}
    for item in items:
        manifests = {item.digest} | {child.digest for child in getattr(item, "children", ())}
        found.update((digest, len(data)) for digest, data in item.blobs.items() if digest not in manifests)
    return len(found), sum(found.values())


def totals(result):
    return {key: result[key] for key in ("sent_blobs", "sent_bytes", "mounted_blobs", "held_blobs", "held_bytes")}


def nothing(**more):
    return dict(dict.fromkeys(("sent_blobs", "sent_bytes", "mounted_blobs", "held_blobs", "held_bytes"), 0), **more)


def wire(registry):
    """Bytes of bodies that a registry was sent."""
    return sum(call.size for call in registry.calls)


# From a bundle


def test_a_bundle_fills_a_registry(registry, bundle):
    real, again = four_times(image_copy, src=bundle(APP, MULTI), **into(registry, "/mirror"))
    assert real["images"] == [
        {
            "reference": "quay.io/team/%s:1" % name,
            "destination": "%s/mirror/team/%s:1" % (registry.host, name),
            "image_id": None,
            "digest": item.digest,
            "config_digest": config,
            "changed": True,
            "action": "copied",
            "reason": "absent",
        }
        for name, item, config in (("app", APP, APP.config_digest), ("multi", MULTI, None))
    ]
    assert registry.digest("mirror/team/app", "1") == APP.digest and registry.manifest("mirror/team/multi", "1") == MULTI.raw
    for child in MULTI.children:
        assert registry.manifest("mirror/team/multi", child.digest) == child.manifest
    count, size = blobs(APP, MULTI)
    assert totals(real) == nothing(sent_blobs=count, sent_bytes=size, mounted_blobs=len(APP.blobs) - 1)
    assert [one["action"] for one in again["images"]] == ["kept", "kept"] and totals(again) == nothing()
    assert real["diff"]["before"] == {"images": [{"reference": one["destination"], "digest": None} for one in real["images"]]}
    assert real["diff"]["after"] == {"images": [{"reference": one["destination"], "digest": one["digest"]} for one in real["images"]]}


def test_of_an_image_that_is_there_its_digest_alone_is_asked(registry, bundle):
    src = bundle(APP, TOOL)
    run(image_copy, src=src, **into(registry))
    del registry.calls[:]
    run(image_copy, src=src, **into(registry))
    assert sorted((call.method, call.path) for call in registry.calls) == [
        ("HEAD", "/v2/team/app/manifests/1"),
        ("HEAD", "/v2/team/tool/manifests/1"),
    ]


def test_check_mode_writes_nothing(registry, bundle):
    checked = run(image_copy, check=True, src=bundle(APP), **into(registry))
    assert checked["changed"] and {call.method for call in registry.calls} == {"HEAD"}
    assert (checked["sent_blobs"], checked["sent_bytes"]) == blobs(APP)


def test_only_what_is_lacking_is_sent(registry, bundle):
    registry.offer("team/app:1", APP)
    real, _again = four_times(image_copy, src=bundle(NEXT), **into(registry))
    assert real["images"][0]["reason"] == "other_digest" and registry.digest("team/app", "1") == NEXT.digest
    sent = len(NEXT.layers[1].blob) + len(NEXT.config)
    assert totals(real) == nothing(sent_blobs=2, sent_bytes=sent, held_blobs=1, held_bytes=len(BASE.blob))
    assert real["diff"]["before"]["images"][0]["digest"] == APP.digest


def test_manifests_and_blobs_that_are_there_under_another_tag_are_not_sent(registry, bundle):
    registry.offer("team/multi:0", MULTI)
    real, _again = four_times(image_copy, src=bundle(MULTI), **into(registry))
    assert real["sent_blobs"] == 0 and real["held_blobs"] == blobs(MULTI)[0]
    assert [call.path for call in registry.found("PUT", ".*")] == ["/v2/team/multi/manifests/1"]
    assert registry.count("HEAD", ".*/blobs/.*") == 0


def test_a_blob_of_several_images_is_asked_for_and_sent_once(registry, bundle):
    second = image(TOOL.layers, names=["quay.io/team/app:2"], config={"Cmd": ["/tool"]})
    run(image_copy, src=bundle(APP, second), **into(registry))
    assert registry.count("HEAD", "/v2/team/app/blobs/%s" % BASE.digest) == 1
    assert [call.query["digest"] for call in registry.found("PUT", ".*/uploads/.*")].count(BASE.digest) == 1


def test_a_blob_that_another_image_of_the_task_has_there_is_mounted(registry, bundle):
    registry.offer("team/app:1", APP)
    real = run(image_copy, src=bundle(APP, TOOL), **into(registry))
    assert real["mounted_blobs"] == 1 and {"mount": BASE.digest, "from": "team/app"} in [call.query for call in registry.found("POST", ".*")]
    assert real["sent_bytes"] == blobs(TOOL)[1] - len(BASE.blob)


def test_a_blob_that_is_not_mounted_is_sent(registry, bundle):
    registry.offer("team/app:1", APP)
    registry.mounts = False
    real = run(image_copy, src=bundle(APP, TOOL), **into(registry))
    assert registry.count("POST", ".*/uploads/") == real["sent_blobs"] and real["mounted_blobs"] == 0
    assert real["sent_bytes"] == blobs(TOOL)[1] and registry.digest("team/tool", "1") == TOOL.digest


def test_some_images_of_a_bundle_are_copied(registry, bundle):
    two = image(TOOL.layers, names=["quay.io/team/tool:1", "quay.io/team/tool:latest"])
    src = bundle(APP, two, ARM)
    real, _again = four_times(image_copy, src=src, images=["quay.io/team/tool"], **into(registry))
    assert [(one["reference"], one["destination"]) for one in real["images"]] == [("quay.io/team/tool", registry.host + "/team/tool:latest")]
    assert registry.digest("team/tool", "1") is None
    real = run(image_copy, src=src, images=[two.digest], **into(registry))
    assert [(one["reference"], one["action"]) for one in real["images"]] == [("quay.io/team/tool:1", "copied"), ("quay.io/team/tool:latest", "kept")]
    assert registry.digest("team/app", "1") is None


@pytest.mark.parametrize("kind", ["gzip", "xz"])
def test_a_compressed_bundle_is_as_good(registry, bundle, tmp_path, kind):
    packed = images.pack(images.Path(bundle(APP, MULTI)), kind)
    four_times(image_copy, src=str(packed), **into(registry))
    assert registry.digest("team/multi", "1") == MULTI.digest


def test_a_docker_archive_gets_a_manifest(registry, tmp_path):
    src = write_docker_archive(tmp_path / "docker.tar", [APP])
    real, _again = four_times(image_copy, src=str(src), **into(registry))
    digest = registry.digest("team/app", "1")
    assert real["images"][0]["digest"] == digest and real["images"][0]["config_digest"] == APP.config_digest
    document = json.loads(registry.manifest("team/app", "1").decode())
    assert [one["digest"] for one in document["layers"]] == APP.diff_ids


def test_a_folder_beside_the_playbook_is_a_source(registry, tmp_path, monkeypatch):
    write_layout(tmp_path / "bundle", [APP])
    monkeypatch.chdir(tmp_path)
    run(image_copy, src="bundle", **into(registry))
    run(image_copy, src="~/bundle", **into(registry))
    assert registry.digest("team/app", "1") == APP.digest


# Platforms


def test_one_platform_of_a_bundle_is_its_own_manifest(registry, bundle):
    real, _again = four_times(image_copy, src=bundle(MULTI), platform=["linux/arm64"], **into(registry))
    assert real["images"][0]["digest"] == ARM.digest == registry.digest("team/multi", "1")
    assert (real["sent_blobs"], real["sent_bytes"]) == blobs(ARM)


@pytest.mark.parametrize("flat", [False, True])
def test_some_platforms_come_under_an_index_that_is_the_same_each_time(registry, bundle, flat):
    item = index([APP, ARM], names=MULTI.names) if flat else MULTI
    real, _again = four_times(image_copy, src=bundle(item, flat=flat), platform=["linux/arm64", "linux/amd64"], **into(registry))
    document = json.loads(registry.manifest("team/multi", "1").decode())
    assert [one["digest"] for one in document["manifests"]] == [APP.digest, ARM.digest]
    assert real["images"][0]["digest"] == registry.digest("team/multi", "1")


def test_a_platform_that_a_bundle_does_not_have_is_an_error(registry, bundle):
    failed = fail(image_copy, src=bundle(MULTI, APP), platform=["linux/s390x"], **into(registry))
    message = "in %s is not there for linux/s390x: name one of these with platform, or leave it away: linux/amd64" % bundle(MULTI, APP)
    assert "quay.io/team/multi:1 %s, linux/arm64, linux/arm/v6" % message in failed["msg"]
    assert "quay.io/team/app:1 %s" % message in failed["msg"]
    assert {call.method for call in registry.calls} <= {"HEAD"}


def test_a_platform_that_a_bundle_names_and_lacks_is_an_error(registry, bundle):
    src = bundle(MULTI, without=[OLD.digest])
    registry.offer("team/multi:0", OLD)
    failed = fail(image_copy, src=src, platform=["linux/arm/v6"], **into(registry))
    assert failed["msg"] == "quay.io/team/multi:1 in %s: its manifest for linux/arm/v6 (%s) is not there: bundle the image with this platform" % (
        src,
        OLD.digest,
    )


def test_an_image_of_which_nothing_is_there_is_an_error(registry, bundle):
    src = bundle(index([APP, ARM], names=MULTI.names), TOOL, flat=True, without=[APP.digest, ARM.digest])
    failed = fail(image_copy, src=src, **into(registry))
    assert failed["msg"] == "quay.io/team/multi:1 in %s: nothing of it is there but its name: it lacks linux/amd64, linux/arm64" % src
    assert registry.digest("team/tool", "1") == TOOL.digest


def test_an_index_that_is_not_all_there_is_an_error_that_names_what_is_lacking(registry, bundle):
    src = bundle(MULTI, TOOL, without=[OLD.digest])
    failed = fail(image_copy, src=src, **into(registry))
    assert failed["msg"] == (
        "quay.io/team/multi:1: its index names linux/arm/v6 (%s), which neither %s nor %s/team/multi has: "
        "name the platforms that are there with platform, or give all of the image" % (OLD.digest, src, registry.host)
    )
    assert [one["action"] for one in failed["images"]] == ["failed", "copied"] and registry.digest("team/tool", "1") == TOOL.digest
    registry.offer("team/multi:0", OLD)
    four_times(image_copy, src=src, **into(registry))
    assert registry.digest("team/multi", "1") == MULTI.digest


# Differential bundles


def test_what_a_differential_bundle_leaves_out_comes_from_its_base(registry, tmp_path):
    base = write_layout(tmp_path / "base.tar", [APP])
    src = write_layout(tmp_path / "next.tar", [NEXT], without=[BASE.digest])
    real, _again = four_times(image_copy, src=str(src), base=[str(base)], **into(registry))
    assert registry.digest("team/app", "1") == NEXT.digest and (real["sent_blobs"], real["sent_bytes"]) == blobs(NEXT)


def test_what_a_differential_bundle_leaves_out_may_be_there(registry, bundle):
    registry.offer("team/app:1", APP)
    four_times(image_copy, src=bundle(NEXT, without=[BASE.digest]), **into(registry))
    assert registry.digest("team/app", "1") == NEXT.digest


def test_what_a_differential_bundle_leaves_out_may_be_in_another_repository(registry, bundle):
    registry.offer("team/tool:1", TOOL)
    src = bundle(NEXT, TOOL, without=[BASE.digest])
    registry.mounts = False
    failed = fail(image_copy, src=src, **into(registry))
    assert failed["msg"] == (
        "layer 1 of quay.io/team/app:1 (%s) is not in %s, and %s does not give it out of team/tool: "
        "give the earlier bundle that has it as base" % (BASE.digest, src, registry.host)
    )
    registry.mounts = True
    run(image_copy, src=src, **into(registry))
    assert registry.digest("team/app", "1") == NEXT.digest


def test_what_nobody_has_is_named(registry, bundle):
    src = bundle(NEXT, without=[BASE.digest])
    for check in (True, False):
        failed = fail(image_copy, check, src=src, **into(registry))
        assert failed["msg"] == (
            "layer 1 of quay.io/team/app:1 (%s) is neither in %s nor in %s/team/app: "
            "give the earlier bundle that has it as base, or bundle the image as a whole" % (BASE.digest, src, registry.host)
        )
    assert registry.count("POST", ".*") == 0


def test_the_bases_that_were_searched_are_named(registry, bundle, tmp_path):
    src, base = bundle(NEXT, without=[BASE.digest]), str(write_layout(tmp_path / "base.tar", [ARM]))
    failed = fail(image_copy, src=src, base=[base], **into(registry))
    assert failed["msg"].startswith(
        "layer 1 of quay.io/team/app:1 (%s) is neither in %s with the base %s nor in %s/team/app: give" % (BASE.digest, src, base, registry.host)
    )
    registry.offer("team/tool:1", TOOL)
    registry.mounts = False
    failed = fail(image_copy, src=bundle(NEXT, TOOL, without=[BASE.digest]), base=[base], **into(registry))
    assert "(%s) is not in %s with the base %s, and %s does not give it" % (BASE.digest, src, base, registry.host) in failed["msg"]


# From a registry


def test_images_go_from_registry_to_registry(source, registry):
    source.offer("team/app:1", APP)
    source.offer("multi:2", MULTI)
    names = ["team/app:1", source.host + "/multi:2"]
    real, again = four_times(image_copy, src=source.host, images=names, **into(registry, "/mirror"))
    assert [(one["reference"], one["destination"]) for one in real["images"]] == [
        (names[0], registry.host + "/mirror/team/app:1"),
        (names[1], registry.host + "/mirror/multi:2"),
    ]
    assert registry.manifest("mirror/multi", "2") == MULTI.raw and registry.digest("mirror/team/app", "1") == APP.digest
    assert (real["sent_blobs"], real["sent_bytes"]) == blobs(APP, MULTI) and totals(again) == nothing()
    assert source.count("PUT", ".*") == source.count("POST", ".*") == 0


def test_a_second_run_asks_each_registry_for_the_digest_alone(source, registry):
    source.offer("team/app:1", APP)
    params = dict(src=source.host, images=["team/app:1"], **into(registry))
    run(image_copy, **params)
    del source.calls[:], registry.calls[:]
    again = run(image_copy, **params)
    assert again["images"][0]["config_digest"] is None
    for one in (source, registry):
        assert [(call.method, call.path) for call in one.calls] == [("HEAD", "/v2/team/app/manifests/1")]


def test_a_digest_is_copied_under_its_tag_or_alone(source, registry):
    source.offer("app:1", NEXT)
    digest = source.offer("app:0", APP)
    real, _again = four_times(image_copy, src=source.host, images=["app:1@" + digest], **into(registry))
    assert real["images"][0]["destination"] == registry.host + "/app:1" and registry.digest("app", "1") == digest
    real, _again = four_times(image_copy, src=source.host, images=["app@" + NEXT.digest], **into(registry))
    assert real["images"][0]["destination"] == "%s/app@%s" % (registry.host, NEXT.digest)
    assert registry.digest("app", NEXT.digest) == NEXT.digest and registry.digest("app", "latest") is None


@pytest.mark.parametrize(("name", "destination"), [("multi:1", "multi:1"), ("multi@" + MULTI.digest, "multi@" + ARM.digest)])
def test_one_platform_of_a_registry_is_its_own_manifest(source, registry, name, destination):
    source.offer("multi:1", MULTI)
    real, _again = four_times(image_copy, src=source.host, images=[name], platform=["linux/arm64"], **into(registry))
    assert real["images"][0]["digest"] == ARM.digest and real["images"][0]["destination"] == "%s/%s" % (registry.host, destination)
    assert registry.digest("multi", destination[6:]) == ARM.digest
    assert (real["sent_blobs"], real["sent_bytes"]) == blobs(ARM)


def test_the_platform_of_a_single_image_is_looked_at(source, registry):
    source.offer("app:1", APP)
    params = dict(src=source.host, images=["app:1"], **into(registry))
    four_times(image_copy, platform=["linux/amd64"], **params)
    failed = fail(image_copy, platform=["linux/arm64"], **params)
    assert failed["msg"] == "app:1 at %s is not there for linux/arm64: name one of these with platform, or leave it away: linux/amd64" % source.host


def test_some_platforms_of_a_registry_come_under_an_index_of_their_own(source, registry):
    source.offer("multi:1", MULTI)
    four_times(image_copy, src=source.host, images=["multi:1"], platform=["linux/amd64", "linux/arm64"], **into(registry))
    document = json.loads(registry.manifest("multi", "1").decode())
    assert [one["digest"] for one in document["manifests"]] == [APP.digest, ARM.digest]


def test_a_copy_into_another_repository_of_the_same_registry_is_mounts(registry):
    registry.offer("staging/app:1", MULTI)
    params = dict(src=registry.host + "/staging", images=["app:1"], **into(registry, "/production"))
    real = run(image_copy, **params)
    assert registry.manifest("production/app", "1") == MULTI.raw
    assert totals(real) == nothing(mounted_blobs=blobs(MULTI)[0])
    assert wire(registry) == sum(len(child.manifest) for child in MULTI.children) + len(MULTI.raw)
    assert registry.count("GET", ".*/blobs/.*") == 0 and not run(image_copy, **params)["changed"]


def test_a_blob_of_an_image_that_stays_is_mounted_from_it(source, registry):
    source.offer("team/app:1", MULTI)
    source.offer("team/tool:1", TOOL)
    params = dict(src=source.host, **into(registry))
    run(image_copy, images=["team/app:1"], **params)
    real, _again = four_times(image_copy, images=["team/app:1", "team/tool:1"], **params)
    assert real["mounted_blobs"] == 1 and real["sent_bytes"] == blobs(TOOL)[1] - len(BASE.blob)
    assert [one["action"] for one in real["images"]] == ["kept", "copied"]


def test_an_image_that_stays_and_cannot_be_looked_into_is_no_error(source, registry):
    for name, item in (("team/app:1", APP), ("team/tool:1", TOOL)):
        source.offer(name, item)
    params = dict(src=source.host, **into(registry))
    run(image_copy, images=["team/app:1"], **params)
    registry.answer("GET", "/v2/team/app/manifests/.*", 403)
    real = run(image_copy, images=["team/app:1", "team/tool:1"], **params)
    assert real["sent_bytes"] == blobs(TOOL)[1]


def test_tokens_of_a_registry_are_for_what_is_done(registry):
    registry.auth = "bearer"
    registry.offer("staging/app:1", APP)
    params = dict(src=registry.host + "/staging", images=["app:1"], username="ann", password="secret", **into(registry, "/production"))
    run(image_copy, parallel=1, **params)
    assert [call.query["scope"] for call in registry.found("GET", "/token")] == [
        "repository:staging/app:pull",
        "repository:production/app:pull",
        "repository:production/app:pull,push repository:staging/app:pull",
        "repository:production/app:pull,push",
    ]


def test_each_registry_is_known_by_the_auth_file(source, registry, alone):
    for one, password in ((source, "here"), (registry, "there")):
        one.auth, one.password = "basic", password
    logins = {one.host: {"auth": base64.b64encode(b"ann:" + word).decode()} for one, word in ((source, b"here"), (registry, b"there"))}
    (alone / "auth.json").write_text(json.dumps({"auths": logins}))
    source.offer("app:1", APP)
    four_times(image_copy, src=source.host, images=["app:1"], auth_file=str(alone / "auth.json"), **into(registry))
    assert registry.digest("app", "1") == APP.digest


# The same, however it is moved


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("form", ["oci-archive", "oci-layout"])
@pytest.mark.parametrize("platform", [[], ["linux/arm/v6", "amd64"], ["amd64", "arm64", "linux/arm/v6"], ["arm64"]], ids=len)
def test_some_platforms_have_one_digest_however_they_are_moved(source, registry, tmp_path, platform, form, docker):
    children = [image([BASE, layer({"app": one.encode()})], platform=one, docker=docker) for one in ("linux/arm/v6", "linux/amd64", "linux/arm64")]
    source.offer("multi:1", index(children + [attestation(children[1])] + [artifact()] * (not docker), docker=docker))
    straight = dict(src=source.host, images=["multi:1"], platform=platform, **into(registry, "/straight"))
    digest = four_times(image_copy, **straight)[0]["images"][0]["digest"]
    for some in ([], platform):
        path = str(tmp_path / ("bundle%d" % len(some)))
        four_times(image_archive, path=path, images=[source.host + "/multi:1"], platform=some, format=form, plain_http=True)
        for number, chosen in enumerate([platform] + [[]] * (some == platform)):
            bundled = dict(src=path, platform=chosen)
            four_times(image_copy, **bundled, **into(registry, "/%d%d" % (len(some), number)))
            assert registry.digest("%d%d/multi" % (len(some), number), "1") == digest
            assert not run(image_copy, **bundled, **into(registry, "/straight"))["changed"]
    again = dict(src=registry.host + "/straight", images=["multi:1"], platform=platform, **into(registry, "/again"))
    assert four_times(image_copy, **again)[0]["images"][0]["digest"] == digest == registry.digest("straight/multi", "1")


def test_one_platform_of_an_index_that_has_no_other_is_its_own_manifest_everywhere(source, registry, tmp_path):
    source.offer("multi:1", index([APP, attestation(APP)]))
    four_times(image_copy, src=source.host, images=["multi:1"], platform=["amd64"], **into(registry, "/straight"))
    path = str(tmp_path / "bundle")
    four_times(image_archive, path=path, images=[source.host + "/multi:1"], platform=["amd64"], plain_http=True)
    four_times(image_copy, src=path, **into(registry, "/bundled"))
    assert registry.digest("straight/multi", "1") == registry.digest("bundled/multi", "1") == APP.digest


# What goes wrong


def test_one_image_that_fails_does_not_stop_the_others(source, registry):
    source.offer("app:1", APP)
    failed = fail(image_copy, src=source.host, images=["app:2", "app:1"], **into(registry))
    assert failed["msg"] == "app:2: %s has no such image (HTTP 404): look at its repository and tag" % source.host
    assert [one["action"] for one in failed["images"]] == ["failed", "copied"] and registry.digest("app", "1") == APP.digest
    assert failed["images"][0]["destination"] == registry.host + "/app:2" and failed["changed"] and failed["sent_blobs"] == blobs(APP)[0]


@pytest.mark.parametrize(("method", "path"), [("HEAD", ".*/team/app/blobs/.*"), ("PUT", ".*/team/app/blobs/uploads/.*")])
def test_a_blob_that_a_registry_does_not_tell_of_or_refuses_fails_the_images_that_need_it(registry, bundle, method, path):
    registry.answer(method, path, 500, times=9)
    failed = fail(image_copy, src=bundle(APP, TOOL), **into(registry, retries=0))
    assert [one["action"] for one in failed["images"]] == ["failed", "copied"]
    assert "%s/team/app:1: %s failed (HTTP 500)" % (registry.host, registry.host) in failed["msg"]
    assert registry.digest("team/app", "1") is None and registry.digest("team/tool", "1") == TOOL.digest


def test_a_registry_that_sends_something_else_stores_nothing(source, registry):
    source.offer("app:1", APP)
    source._blobs["app@" + BASE.digest] = BASE.blob[:-1] + b"x"
    failed = fail(image_copy, src=source.host, images=["app:1"], **into(registry))
    assert "layer 1 of app:1 at %s: its bytes are" % source.host in failed["msg"]
    assert failed["msg"].endswith("as promised: the registry, or what lies between, is damaged")
    assert not registry.has_blob("app", BASE.digest) and registry.digest("app", "1") is None


def test_a_damaged_bundle_is_found_out(registry, tmp_path):
    folder = write_layout(tmp_path / "bundle", [APP])
    (folder / images.path(BASE.digest)).write_bytes(BASE.blob[:-1] + b"x")
    failed = fail(image_copy, src=str(folder), **into(registry))
    assert "layer 1 of quay.io/team/app:1: its bytes are" in failed["msg"] and "the archive is damaged" in failed["msg"]
    assert registry.digest("team/app", "1") is None


def test_a_read_only_registry_is_called_so(registry, bundle):
    registry.answer("POST", ".*", 405, times=9)
    assert "does not take" in fail(image_copy, src=bundle(APP), **into(registry))["msg"]
    registry.answer("POST", ".*", 405, times=9)
    assert "it is read-only, so push to the registry that it mirrors" in fail(image_copy, src=bundle(APP), **into(registry))["msg"]


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_wrong_credentials_are_told_and_not_shown(registry, bundle, auth):
    registry.auth = auth
    failed = fail(image_copy, src=bundle(APP), username="ann", password="geheim", **into(registry))
    assert "refuses the credentials from username and password" in failed["msg"] and "geheim" not in json.dumps(failed)


def test_who_may_read_and_not_write_is_told_so(registry, bundle):
    registry.answer("POST", ".*", 403, {}, b'{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}', times=9)
    failed = fail(image_copy, src=bundle(APP), **into(registry))
    assert "DENIED: requested access to the resource is denied" in failed["msg"] and "to push takes the right to write to team/app" in failed["msg"]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (
            dict(src="nowhere"),
            "src: nowhere is no registry, as a registry's name has a dot or a port: write host[:port][/prefix], "
            "or the path of a file or folder, as there is none of this name",
        ),
        (dict(src="/nowhere"), "src: /nowhere: "),
        (dict(src="none.tar"), "src: none.tar: "),
        (dict(src="bundles.d/none.tar.zst", images=["app:1"]), "src: bundles.d/none.tar.zst: "),
        (dict(src="none.tar", base=["none.tar"]), "base: none.tar: "),
        (dict(src="no.folder"), "images: which images of the registry no.folder to copy has to be said, as there is no file or folder of this name"),
        (dict(src="localhost:5000", images=["app:1", " app:2"]), "leave out the blanks, those after the commas"),
        (dict(src="localhost:5000"), "images: which images of the registry localhost:5000 to copy has to be said"),
        (dict(src="localhost:5000", images=["quay.io/app:1"]), "quay.io/app:1 is not in src, localhost:5000: make a task of each registry"),
        (dict(src="localhost:5000", images=["app:1"], base=["/x"]), "src is a registry, localhost:5000, which has all itself"),
        (dict(src="localhost:5000", images=["app:1"], username="ann", password="x"), ": use auth_file, or log in (docker login,"),
        (dict(src="localhost:5000", images=[""]), "an image reference is empty"),
        (dict(src="/nowhere", base=["https://ann:geheim@host/x.tar"]), "base: https://ann:***@host/x.tar is no path, and URLs are not read"),
        (dict(src="localhost:5000", images=["App:1"]), "it must be lower case"),
        (dict(src="localhost:5000", images=["app:1"], platform=["all of them"]), "is not a platform"),
    ],
)
def test_bad_input_is_explained(registry, params, said):
    failed = fail(image_copy, **into(registry, **params))
    assert said in failed["msg"] and not registry.calls


def test_a_destination_that_is_none_is_explained(bundle):
    failed = fail(image_copy, src=bundle(APP), destination="https://registry.example.com")
    assert "destination: https://registry.example.com is no registry: write host[:port][/prefix] (leave out https://" in failed["msg"]


def test_a_path_need_not_look_like_one(registry, bundle, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    bundle(APP)
    run(image_copy, src="bundle.tar", **into(registry))
    (tmp_path / "no.folder").symlink_to("bundle.tar")
    assert not run(image_copy, src="no.folder", **into(registry))["changed"]


def test_two_images_of_one_name_are_refused(registry, bundle):
    other = image(TOOL.layers, names=["ghcr.io/team/app:1"])
    failed = fail(image_copy, src=bundle(APP, other), **into(registry))
    assert failed["msg"] == (
        "images: both quay.io/team/app:1 and ghcr.io/team/app:1 would be %s/team/app:1: make a task of each, with another destination" % registry.host
    )
    assert not registry.calls


def test_an_image_without_a_name_is_refused(registry, bundle):
    src = bundle(ARM)
    failed = fail(image_copy, src=src, **into(registry))
    assert failed["msg"].startswith("%s: the image %s has no name, and so none at the destination" % (src, ARM.digest))


def test_an_image_that_a_bundle_does_not_hold_is_refused(registry, bundle):
    failed = fail(image_copy, src=bundle(APP), images=["quay.io/team/app:2"], **into(registry))
    assert failed["msg"] == "quay.io/team/app:2 is not in %s, which holds quay.io/team/app:1" % bundle(APP)


def test_what_is_no_image_is_refused(source, registry):
    source.offer("chart:1", artifact())
    failed = fail(image_copy, src=source.host, images=["chart:1"], **into(registry))
    assert failed["msg"] == "chart:1 at %s is no image, but application/vnd.cncf.helm.config.v1+json" % source.host


def test_a_closed_registry_is_not_waited_for(bundle):
    with FakeRegistry() as gone:
        pass
    failed = fail(image_copy, src=bundle(APP), **into(gone, retries=0))
    assert failed["msg"].startswith("%s/team/app:1: no answer from http://%s (Connection refused): see whether" % (gone.host, gone.host))


def test_an_empty_list_is_nothing_to_do(registry, bundle):
    for src in (bundle(APP), "localhost:1"):
        real, _again = four_times(image_copy, src=src, images=[], **into(registry))
        assert (real["changed"], real["images"], real["sent_bytes"]) == (False, [], 0)
