# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_archive from registries, whole, against one in memory."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._oci.archive import Archive
from ansible_collections.stowage.oci.plugins.module_utils._registry import transport
from ansible_collections.stowage.oci.plugins.modules import image_archive
from ansible_collections.stowage.oci.tests.unit.fakes.registry import SCHEMA1, FakeRegistry
from ansible_collections.stowage.oci.tests.unit.images import artifact, attestation, image, index, layer
from ansible_collections.stowage.oci.tests.unit.running import fail, four_times, run

pytestmark = pytest.mark.usefixtures("alone")

BASE = layer({"etc/os": b"base" * 5000}, "gzip")
TOP = layer({"app": bytes(range(256)) * 40}, "gzip")
NEW = layer({"app": b"new" * 999}, "gzip")
APP, NEXT = image([BASE, TOP]), image([BASE, NEW])
ARM = image([layer({"app": b"arm"}, "gzip")], platform="linux/arm64/v8")
MULTI = index([APP, ARM, attestation(APP), artifact()])
FORMS = ["oci-archive", "oci-layout", "docker-archive"]
BLOBS, MANIFESTS = "/v2/.*/blobs/.*", "/v2/.*/manifests/.*"


@pytest.fixture(name="registry")
def _registry(monkeypatch):
    monkeypatch.setattr(transport, "_PAUSE_SECONDS", 0)
    with FakeRegistry() as found:
        found.offer("team/app:1", APP)
        found.offer("team/multi:1", MULTI)
        yield found


@pytest.fixture(name="wish")
def _wish(registry, tmp_path):
    def made(*names, **params):
        images = ["%s/%s" % (registry.host, name) for name in names or ("team/app:1",)]
        return dict(dict(path=str(tmp_path / "bundle"), images=images, plain_http=True, retries=1), **params)

    return made


def gets(registry):
    return registry.count("GET", BLOBS) + registry.count("GET", MANIFESTS)


def fetched(registry):
    """The digests of the blobs that were asked for, without those of configs."""
    configs = {APP.config_digest, NEXT.config_digest, ARM.config_digest}
    return sorted({call.path.rpartition("/")[2] for call in registry.found("GET", BLOBS)} - configs)


def size(*layers):
    return sum(len(one.blob) for one in layers)


@pytest.mark.parametrize("form", FORMS)
def test_fetches_once(registry, wish, tmp_path, form):
    real, again = four_times(image_archive, **wish("team/app:1", format=form))
    assert (real["images"][0]["action"], real["images"][0]["reason"]) == ("written", "absent")
    assert real["images"][0]["digest"] == APP.digest and real["images"][0]["config_digest"] == APP.config_digest
    assert (real["fetched_bytes"], real["reused_bytes"]) == (size(BASE, TOP), 0)
    assert (again["images"][0]["action"], again["fetched_bytes"], again["size"]) == ("kept", 0, real["size"] or again["size"])
    archive = Archive(str(tmp_path / "bundle"), "")
    assert [entry.names for entry in archive.entries] == [("%s/team/app:1" % registry.host,)]
    assert archive.holds(BASE.digest) and archive.holds(TOP.digest)
    assert registry.count("GET", "/v2/team/app/blobs/%s" % BASE.digest) == 1


@pytest.mark.parametrize("form", FORMS[:2])
def test_what_is_the_same_at_the_source_costs_one_question(registry, wish, form):
    names = ("team/app:1", "team/multi:1")
    run(image_archive, **wish(*names, format=form))
    before = len(registry.calls)
    assert not run(image_archive, **wish(*names, format=form))["changed"]
    assert [call.method for call in registry.calls[before:]] == ["HEAD", "HEAD"]


def test_an_index_stays_what_it_is_to_the_byte_with_its_attestations(registry, wish, tmp_path):
    real, _again = four_times(image_archive, **wish("team/multi:1"))
    assert real["images"][0]["platforms"] == ["linux/amd64", "linux/arm64"]
    archive = Archive(str(tmp_path / "bundle"), "")
    assert archive.entries[0].targets == (MULTI.digest,)
    assert archive.document(MULTI.digest) == MULTI.blobs[MULTI.digest]
    assert all(archive.holds(digest) for digest in MULTI.blobs)


def test_some_platforms_of_an_index(registry, wish, tmp_path):
    real, _again = four_times(image_archive, **wish("team/multi:1", platform=["linux/arm64"]))
    assert real["images"][0]["platforms"] == ["linux/arm64"]
    assert Archive(str(tmp_path / "bundle"), "").entries[0].targets == (ARM.digest,)
    message = fail(image_archive, **wish("team/multi:1", platform=["linux/s390x"]))["msg"]
    assert "is not there for linux/s390x: name one of these with platform, or leave it away: linux/amd64, linux/arm64" in message


def test_one_layer_changed_is_one_layer_fetched(registry, wish):
    run(image_archive, **wish())
    registry.offer("team/app:1", NEXT)
    before = len(registry.calls)
    real, _again = four_times(image_archive, **wish())
    assert [call.path for call in registry.calls[before:] if NEW.digest in call.path] == ["/v2/team/app/blobs/%s" % NEW.digest]
    assert not [call for call in registry.calls[before:] if BASE.digest in call.path]
    assert (real["fetched_bytes"], real["reused_bytes"], real["images"][0]["reason"]) == (size(NEW), size(BASE), "other_content")


def test_a_digest_that_the_bundle_has_is_not_asked_for(registry, wish):
    name = "team/app:1@%s" % APP.digest
    run(image_archive, **wish(name))
    before = len(registry.calls)
    assert not run(image_archive, **wish(name))["changed"]
    assert registry.calls[before:] == []


@pytest.mark.parametrize("form", FORMS)
def test_the_same_images_are_the_same_bytes(registry, wish, tmp_path, form):
    registry.offer("team/next:1", NEXT)
    names = ["team/app:1", "team/next:1"] + ["team/multi:1"] * (form != "docker-archive")
    sums = set()
    for number, order in enumerate(itertools.permutations(names)):
        params = wish(*order, format=form, path=str(tmp_path / str(number)), parallel=number + 1)
        run(image_archive, **params)
        sums.add(run(image_archive, **params)["sha256"])
    assert len(sums) == 1


@pytest.mark.parametrize("form", FORMS)
def test_goes_on_with_what_an_interrupted_run_has(registry, wish, tmp_path, form):
    registry.cut("GET", "/v2/team/app/blobs/%s" % TOP.digest, 40, times=2)
    message = fail(image_archive, **wish(format=form, parallel=1))["msg"]
    where = "%s/team/app:1, layer 2 of %s/team/app:1" % (registry.host, registry.host)
    assert message.startswith("%s: no answer from http://%s in 2 tries (" % (where, registry.host))
    assert not (tmp_path / "bundle").exists()
    before = len(registry.calls)
    real, _again = four_times(image_archive, **wish(format=form))
    calls = [call for call in registry.calls[before:] if TOP.digest in call.path]
    assert [call.headers["Range"] for call in calls] == ["bytes=40-%d" % (size(TOP) - 1)]
    assert not [call for call in registry.calls[before:] if BASE.digest in call.path]
    assert (real["fetched_bytes"], real["reused_bytes"]) == (size(TOP) - 40, size(BASE) + 40)
    assert [one.name for one in tmp_path.iterdir()] == ["bundle"]


def test_a_blob_that_breaks_is_asked_for_its_rest(registry, wish):
    registry.cut("GET", "/v2/team/app/blobs/%s" % BASE.digest, 30)
    assert run(image_archive, **wish())["fetched_bytes"] == size(BASE, TOP)
    ranges = [call.headers.get("Range") for call in registry.found("GET", "/v2/team/app/blobs/%s" % BASE.digest)]
    assert ranges == [None, "bytes=30-%d" % (size(BASE) - 1)]


def test_what_an_interrupted_run_left_is_not_believed(registry, wish, tmp_path):
    registry.cut("GET", "/v2/team/app/blobs/%s" % TOP.digest, 40, times=2)
    fail(image_archive, **wish(parallel=1))
    (left,) = tmp_path.glob(".stowage-*-parts/*.part")
    left.write_bytes(b"x" * 40)
    real = run(image_archive, **wish())
    assert real["changed"] and not run(image_archive, **wish())["changed"]


def test_what_is_left_of_another_wish_goes(registry, wish, tmp_path):
    registry.cut("GET", "/v2/team/app/blobs/%s" % TOP.digest, 40, times=2)
    fail(image_archive, **wish(parallel=1))
    assert len(list(tmp_path.iterdir())) == 1
    run(image_archive, **wish(state="absent"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data, found", [(b"\0" * len(TOP.blob), "sha256:"), (TOP.blob + b"x", "sends %d bytes" % (len(TOP.blob) + 1))], ids=["other", "more"]
)
def test_other_bytes_than_the_manifest_promises(registry, wish, tmp_path, data, found):
    registry.answer("GET", "/v2/team/app/blobs/%s" % TOP.digest, 200, {}, data, times=2)
    message = fail(image_archive, **wish())["msg"]
    assert found in message and "layer 2 of" in message and message.endswith("the registry, or what lies between, is damaged")
    assert sum(left.stat().st_size for left in tmp_path.glob(".stowage-*-parts/%s*" % TOP.digest.replace(":", "-"))) == 0
    assert not (tmp_path / "bundle").exists()


def test_a_damaged_layer_of_the_old_bundle_is_fetched(registry, wish, tmp_path):
    run(image_archive, **wish())
    registry.offer("team/app:1", NEXT)
    path = tmp_path / "bundle"
    extent = Archive(str(path), "").extents([BASE.digest])[BASE.digest]
    with open(str(path), "r+b") as stream:
        stream.seek(extent.offset)
        stream.write(b"damage")
    assert run(image_archive, **wish())["fetched_bytes"] == size(BASE, NEW)


def test_a_missing_layer_at_the_registry(registry, wish):
    registry.answer("GET", "/v2/team/app/blobs/%s" % TOP.digest, 404, {}, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}')
    message = fail(image_archive, **wish())["msg"]
    assert re.search("has not layer 2 of .*team/app:1 .BLOB_UNKNOWN: blob unknown to registry., which its manifest names: push the image again", message)


def test_one_image_that_is_not_there_leaves_the_bundle(registry, wish):
    run(image_archive, **wish())
    result = fail(image_archive, **wish("team/app:1", "team/none:1"))
    assert [one["action"] for one in result["images"]] == ["skipped", "failed"]
    assert result["msg"].startswith("%s/team/none:1: %s has no such image (HTTP 404)" % (registry.host, registry.host))
    assert not run(image_archive, **wish())["changed"]


def test_what_is_no_image(registry, wish):
    chart = artifact()
    registry.offer("team/chart:1", chart)
    registry.put("team/old:1", SCHEMA1, b'{"schemaVersion":1}')
    message = fail(image_archive, **wish("team/chart:1"))["msg"]
    assert "is no image, but application/vnd.cncf.helm.config.v1+json" in message
    assert "schema version 2" in fail(image_archive, **wish("team/old:1"))["msg"]


def test_two_images_of_one_name(registry, wish):
    message = fail(image_archive, **wish("team/app:1", "team/app:1@%s" % APP.digest))["msg"]
    assert "would be named %s/team/app:1 in the bundle" % registry.host in message


def test_what_is_no_bundle_is_not_overwritten(registry, wish, tmp_path):
    (tmp_path / "bundle").write_text("precious")
    assert "is no bundle, and is left as it is" in fail(image_archive, **wish())["msg"]
    assert (tmp_path / "bundle").read_text() == "precious" and registry.calls == []


# Differential bundles


@pytest.mark.parametrize("form", FORMS[:2])
@pytest.mark.parametrize("old", FORMS)
def test_leaves_out_what_its_base_has(registry, wish, tmp_path, form, old):
    run(image_archive, **wish(path=str(tmp_path / "old"), format=old))
    registry.offer("team/app:2", NEXT)
    before = len(registry.calls)
    real, again = four_times(image_archive, **wish("team/app:2", base=[str(tmp_path / "old")], format=form))
    assert not [call for call in registry.calls[before:] if BASE.digest in call.path]
    assert real["fetched_bytes"] == size(NEW) and again["size"] < size(NEW) + 10000
    alone = Archive(str(tmp_path / "bundle"), "")
    assert not alone.holds(BASE.digest) and alone.holds(NEW.digest)
    both = Archive(str(tmp_path / "bundle"), "", [Archive(str(tmp_path / "old"), "")])
    assert both.extents([BASE.digest])[BASE.digest].hash() == BASE.digest


def test_a_base_that_comes_or_goes_makes_another_bundle(registry, wish, tmp_path):
    run(image_archive, **wish(path=str(tmp_path / "old")))
    registry.offer("team/app:2", NEXT)
    reasons = []
    for base in ([], [str(tmp_path / "old")], []):
        real, _again = four_times(image_archive, **wish("team/app:2", base=base))
        reasons.append(real["images"][0]["reason"])
    assert reasons == ["absent", "other_base", "incomplete"]


def test_a_bundle_is_not_its_own_base(registry, wish, tmp_path):
    run(image_archive, **wish())
    assert "is the bundle itself" in fail(image_archive, **wish(base=[str(tmp_path / "bundle")]))["msg"]


def test_a_docker_archive_names_no_missing_layers(wish, tmp_path):
    message = fail(image_archive, **wish(base=[str(tmp_path)], format="docker-archive"))["msg"]
    assert message.startswith("base: a docker-archive does not name the layers that it leaves out")


def test_a_base_must_be_an_archive(registry, wish, tmp_path):
    message = fail(image_archive, **wish(base=[str(tmp_path / "none")]))["msg"]
    assert message == "base: %s: cannot be read: No such file or directory" % (tmp_path / "none")


def test_docker_reads_it_too(registry, wish, tmp_path):
    run(image_archive, **wish("team/multi:1", format="oci-layout"))
    items = json.loads((tmp_path / "bundle" / "index.json").read_text())["manifests"]
    assert [item["digest"] for item in items] == [MULTI.digest]
