# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_archive, whole, against engines in memory."""

from __future__ import annotations

import errno
import grp
import hashlib
import os
import pwd
import stat

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._flow import archive as flow
from ansible_collections.stowage.oci.plugins.module_utils._oci import bundle, extent, manifest, place
from ansible_collections.stowage.oci.plugins.module_utils._oci.archive import Archive
from ansible_collections.stowage.oci.plugins.modules import image_archive
from ansible_collections.stowage.oci.tests.unit.fakes.engine import FakeEngine
from ansible_collections.stowage.oci.tests.unit.images import attestation, docker_archive, image, index, layer, layout, tar, write, write_layout
from ansible_collections.stowage.oci.tests.unit.running import fail, four_times, run

BASE = layer({"etc/os": b"base" * 1000}, "gzip")
APP = image([BASE, layer({"app": b"1"}, "gzip")], names=["docker.io/library/app:1"])
NEXT = image([BASE, layer({"app": b"2"}, "gzip")], names=["docker.io/library/app:1"])
WEB = image([BASE, layer({"web": b"1"}, "gzip")], names=["registry.example/team/web:2"])
ARM = image([layer({"app": b"arm"}, "gzip")], platform="linux/arm64")
STORES = [("classic", True), ("classic", False), ("containerd", False), ("podman", False)]
FORMS = ["oci-archive", "oci-layout", "docker-archive"]


@pytest.fixture(name="engine", params=STORES, ids=["docker-20.10", "docker-28", "containerd", "podman"])
def _engine(request):
    with FakeEngine(*request.param) as engine:
        engine.hold(APP, WEB)
        yield engine


@pytest.fixture(name="containerd")
def _containerd():
    with FakeEngine("containerd") as engine:
        yield engine


@pytest.fixture(name="wish")
def _wish(tmp_path):
    """Parameters for a bundle of app:1 and web:2."""

    def made(engine, **params):
        images = ["app:1", "registry.example/team/web:2"]
        return dict(dict(path=str(tmp_path / "bundle"), source="engine", images=images, engine_host=engine.url), **params)

    return made


def names(path):
    return sorted(name for entry in Archive(str(path), "").entries for name in entry.names)


def config_digests(path):
    return sorted(one.config.digest for entry in Archive(str(path), "").entries for one in entry.variants)


def checksum(path):
    main = os.path.join(str(path), "index.json") if os.path.isdir(str(path)) else str(path)
    with open(main, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path):
    """Whatever happens, no file of ours lies beside the bundle."""
    yield
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


@pytest.mark.parametrize("form", FORMS)
def test_writes_a_bundle_and_leaves_it(engine, wish, tmp_path, form):
    real, again = four_times(image_archive, **wish(engine, format=form))

    target = tmp_path / "bundle"
    assert real["changed"]
    assert [(entry["reference"], entry["action"], entry["reason"], entry["platforms"]) for entry in real["images"]] == [
        (name, "written", "absent", ["linux/amd64"]) for name in ("app:1", "registry.example/team/web:2")
    ]
    assert [(entry["action"], entry["reason"]) for entry in again["images"]] == [("kept", "same_content")] * 2
    assert {entry["image_id"] for entry in again["images"]} == {engine.image_id("app:1"), engine.image_id("registry.example/team/web:2")}
    assert names(target) == ["docker.io/library/app:1", "registry.example/team/web:2"]
    assert config_digests(target) == sorted([APP.config_digest, WEB.config_digest])
    for result in (real, again):
        assert result["path"] == str(target)
        assert (result["size"], result["sha256"]) == (place.measure(str(target))[0], checksum(target))
        assert result["reused_bytes"] == 0
    assert real["fetched_bytes"] > 0 and again["fetched_bytes"] == 0
    assert engine.count("GET", "/images/get") == 1
    assert os.path.isdir(str(target)) == (form == "oci-layout")


def test_a_kept_bundle_is_not_touched(engine, wish, tmp_path):
    run(image_archive, **wish(engine))
    before = os.stat(str(tmp_path / "bundle"))
    run(image_archive, **wish(engine, images=["registry.example/team/web:2", "docker.io/library/app:1", "app:1"]))
    after = os.stat(str(tmp_path / "bundle"))
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_check_mode_writes_nothing(engine, wish, tmp_path):
    result = run(image_archive, check=True, **wish(engine))
    assert result["changed"] and (result["size"], result["sha256"], result["fetched_bytes"]) == (None, None, 0)
    assert os.listdir(str(tmp_path)) == []
    assert engine.count("GET", "/images/get") == 0


def test_stores_that_keep_no_manifests_give_the_same_bytes(wish, tmp_path):
    found = set()
    for store, old in STORES:
        if store != "containerd":
            with FakeEngine(store, old) as engine:
                engine.hold(APP, WEB)
                found.add(run(image_archive, **wish(engine, path=str(tmp_path / store) + str(old)))["sha256"])
    assert len(found) == 1


@pytest.mark.parametrize("form", FORMS)
def test_another_image_is_written(engine, wish, tmp_path, form):
    run(image_archive, **wish(engine, format=form))
    engine.hold(NEXT)
    real, _again = four_times(image_archive, **wish(engine, format=form))

    assert [(entry["action"], entry["reason"]) for entry in real["images"]] == [("written", "other_content"), ("kept", "same_content")]
    assert [entry["reference"] for entry in real["diff"]["before"]["images"]] == ["app:1"]
    before, after = real["diff"]["before"]["images"][0]["platforms"], real["diff"]["after"]["images"][0]["platforms"]
    by_manifest = engine.store.name == "containerd"
    assert after == {"linux/amd64": NEXT.digest if by_manifest else NEXT.config_digest}
    assert list(before) == ["linux/amd64"] and before != after
    assert by_manifest or before == {"linux/amd64": APP.config_digest}
    assert config_digests(tmp_path / "bundle") == sorted([NEXT.config_digest, WEB.config_digest])


def test_images_that_are_not_wanted_go(engine, wish, tmp_path):
    run(image_archive, **wish(engine))
    real, _again = four_times(image_archive, **wish(engine, images=["app:1"]))
    assert real["changed"] and not real["images"][0]["changed"]
    assert real["diff"]["before"]["images"] == [{"reference": "registry.example/team/web:2"}]
    assert names(tmp_path / "bundle") == ["docker.io/library/app:1"]


def test_another_format_is_written(engine, wish):
    run(image_archive, **wish(engine))
    real, _again = four_times(image_archive, **wish(engine, format="docker-archive"))
    assert {entry["reason"] for entry in real["images"]} == {"other_format"}
    assert (real["diff"]["before"]["format"], real["diff"]["after"]["format"]) == ("oci-archive", "docker-archive")


def test_the_archive_of_another_writer_is_replaced(engine, wish, tmp_path):
    (tmp_path / "bundle").write_bytes(tar(docker_archive([APP, WEB])))
    real, _again = four_times(image_archive, **wish(engine))
    assert real["diff"]["before"]["format"] == "of another writer"


@pytest.mark.parametrize("kept", [0, 3000])
def test_a_damaged_bundle_is_written_anew(engine, wish, tmp_path, kept):
    run(image_archive, **wish(engine))
    good = (tmp_path / "bundle").read_bytes()
    (tmp_path / "bundle").write_bytes(good[:kept])
    real, _again = four_times(image_archive, **wish(engine))
    assert {entry["reason"] for entry in real["images"]} == {"damaged"}
    assert real["diff"]["before"]["damage"].startswith(str(tmp_path / "bundle"))
    assert (tmp_path / "bundle").read_bytes() == good


def test_a_bundle_that_lacks_a_layer_is_written_anew(engine, wish, tmp_path):
    run(image_archive, **wish(engine, format="oci-layout"))
    blobs = [tmp_path / "bundle/blobs/sha256" / digest[7:] for digest in (BASE.digest, BASE.diff_id)]
    (lost,) = [(blob, blob.read_bytes()) for blob in blobs if blob.exists()]
    lost[0].unlink()
    real, _again = four_times(image_archive, **wish(engine, format="oci-layout"))
    assert {entry["reason"] for entry in real["images"]} == {"incomplete"}
    assert lost[0].read_bytes() == lost[1]


def test_a_folder_gets_what_is_new_and_loses_what_is_not_needed(containerd, wish, tmp_path):
    containerd.hold(APP, WEB)
    run(image_archive, **wish(containerd, format="oci-layout"))
    blobs = tmp_path / "bundle/blobs/sha256"
    base = os.stat(str(blobs / BASE.digest[7:]))
    containerd.hold(NEXT)
    run(image_archive, **wish(containerd, format="oci-layout"))
    assert os.stat(str(blobs / BASE.digest[7:])).st_mtime_ns == base.st_mtime_ns
    assert {one.name for one in blobs.iterdir()} == {digest[7:] for made in (NEXT, WEB) for digest in made.blobs}


# Platforms


@pytest.fixture(name="multi")
def _multi(containerd):
    """An index of two platforms that the engine has both."""
    containerd.load(tar(layout([index([APP, ARM], names=["docker.io/library/multi:1"])])))
    return containerd


def test_an_index_is_kept(multi, wish, tmp_path):
    real, again = four_times(image_archive, **wish(multi, images=["multi:1"]))
    (entry,) = Archive(str(tmp_path / "bundle"), "").entries
    assert real["images"][0]["platforms"] == ["linux/amd64", "linux/arm64"]
    assert again["images"][0]["digest"] == multi.image_id("multi:1")
    assert multi.image_id("multi:1") in entry.handles
    assert [one.manifest.digest for one in entry.variants] == [APP.digest, ARM.digest]


@pytest.mark.parametrize("form", FORMS)
def test_one_platform_is_chosen(multi, wish, tmp_path, form):
    real, _again = four_times(image_archive, **wish(multi, images=["multi:1"], format=form, platform=["linux/arm64"]))
    assert real["images"][0]["platforms"] == ["linux/arm64"]
    (entry,) = Archive(str(tmp_path / "bundle"), "").entries
    assert [one.config.digest for one in entry.variants] == [ARM.config_digest]
    assert multi.image_id("multi:1") not in entry.handles


def test_other_platforms_are_a_change(multi, wish):
    run(image_archive, **wish(multi, images=["multi:1"], platform=["arm64"]))
    real, _again = four_times(image_archive, **wish(multi, images=["multi:1"], platform=["all"]))
    assert real["images"][0]["reason"] == "other_platforms"
    assert list(real["diff"]["before"]["images"][0]["platforms"]) == ["linux/arm64"]


@pytest.mark.parametrize(
    ("platform", "kept"), [([], None), (["arm64", "amd64"], 2), (["amd64", "arm64", "linux/arm/v6"], None), (["arm64"], 0)], ids=str
)
def test_some_platforms_come_under_what_their_index_says_of_them(containerd, wish, tmp_path, platform, kept):
    old = image([layer({"app": b"old"}, "gzip")], platform="linux/arm/v6")
    whole = index([ARM, APP, old, attestation(APP)], names=["docker.io/library/multi:1"])
    containerd.load(tar(layout([whole])))
    four_times(image_archive, **wish(containerd, images=["multi:1"], platform=platform))
    parsed = manifest.parse(whole.raw, "index")
    digest = whole.digest if kept is None else manifest.subset(parsed, {ARM.digest, APP.digest}).digest if kept else ARM.digest
    assert Archive(str(tmp_path / "bundle"), "").entries[0].targets == (digest,)


def test_what_the_engine_has_of_an_index_comes_under_what_the_index_says_of_it(containerd, wish, tmp_path):
    old = image([layer({"app": b"old"}, "gzip")], platform="linux/arm/v6")
    whole = index([ARM, APP], names=["docker.io/library/multi:1"], lacking=[old])
    containerd.load(tar(layout([whole])))
    real, _again = four_times(image_archive, **wish(containerd, images=["multi:1"]))
    assert sorted(real["images"][0]["platforms"]) == ["linux/amd64", "linux/arm64"]
    wanted = manifest.subset(manifest.parse(whole.raw, "index"), {ARM.digest, APP.digest})
    assert Archive(str(tmp_path / "bundle"), "").entries[0].targets == (wanted.digest,)


def test_attestations_and_absent_platforms_are_no_platforms(containerd, wish, tmp_path):
    attested = index([APP, attestation(APP)], names=["docker.io/library/multi:1"], lacking=[ARM])
    containerd.load(tar(layout([attested])))
    real, _again = four_times(image_archive, **wish(containerd, images=["multi:1"]))
    (entry,) = Archive(str(tmp_path / "bundle"), "").entries
    assert real["images"][0]["platforms"] == ["linux/amd64"]
    assert (entry.absent, [one.manifest.digest for one in entry.variants]) == ((), [APP.digest])


def test_a_platform_that_is_not_there(engine, wish):
    message = fail(image_archive, check=True, **wish(engine, platform=["linux/s390x"]))["msg"]
    there = "is not there for linux/s390x: name one of these with platform, or leave it away: linux/amd64"
    assert "app:1 on the engine at %s %s" % (engine.url, there) in message


def test_a_docker_archive_of_two_platforms(multi, wish):
    message = fail(image_archive, check=True, **wish(multi, images=["multi:1"], format="docker-archive"))["msg"]
    assert message.startswith("multi:1: a docker-archive holds one platform of an image")


def test_an_older_containerd_store_tells_no_platforms(containerd, wish):
    containerd.hold(APP)
    containerd.daemon.old = True
    real, _again = four_times(image_archive, **wish(containerd, images=["app:1"]))
    assert real["images"][0]["platforms"] == ["linux/amd64"]


# References


def test_a_digest_names_what_its_tag_named_once(wish, tmp_path):
    with FakeEngine("classic") as engine:
        digest = engine.offer("registry.example/app:1", APP)
        engine.pull("registry.example/app:1")
        engine.hold(NEXT._replace(names=("registry.example/app:1",)))
        real, _again = four_times(image_archive, **wish(engine, images=["registry.example/app:1@" + digest]))
    assert real["images"][0]["digest"] == digest
    assert (names(tmp_path / "bundle"), config_digests(tmp_path / "bundle")) == (["registry.example/app:1"], [APP.config_digest])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "images is empty, and a bundle holds at least one: name it, or remove the bundle with state: absent"),
        (["App"], "'App' is not an image reference"),
        (["app@sha256:" + "a" * 64], "has no tag, and a bundle names its images by repository and tag: write repository:tag@digest"),
        (["app:1", "app:1@sha256:" + "a" * 64], "would be named docker.io/library/app:1 in the bundle: leave one out"),
    ],
)
def test_refuses_references(engine, wish, images, message):
    assert message in fail(image_archive, check=True, **wish(engine, images=images))["msg"]


def test_an_image_that_is_not_there_leaves_the_bundle(engine, wish, tmp_path):
    run(image_archive, **wish(engine, images=["app:1"]))
    before = (tmp_path / "bundle").read_bytes()
    for check in (True, False):
        result = fail(image_archive, check=check, **wish(engine, images=["app:2", "app:1", "localhost/web:2", "nothing/like/it:9"]))
        assert result["msg"].startswith("app:2: the engine at %s has no such image, but docker.io/library/app:1" % engine.url)
        assert "localhost/web:2: the engine at %s has no such image, but registry.example/team/web:2" % engine.url in result["msg"]
        assert result["msg"].endswith("nothing/like/it:9: the engine at %s has no such image: pull, build or load it first" % engine.url)
        assert [entry["action"] for entry in result["images"]] == ["failed", "skipped", "failed", "failed"]
        assert not result["changed"]
    assert (tmp_path / "bundle").read_bytes() == before


def test_an_image_of_which_a_part_is_missing(containerd, wish):
    containerd.load(tar(layout([APP], docker=True, without=[BASE.digest])))
    assert "app:1: the engine at %s has only a part of this image" % containerd.url in fail(image_archive, **wish(containerd, images=["app:1"]))["msg"]


# The export


def test_docker_28_lists_one_of_several_nameless_images(wish, tmp_path):
    with FakeEngine("classic") as engine:
        digests = [engine.offer(made.names[0], made) for made in (APP, WEB)]
        engine.pull(APP.names[0])
        engine.pull(WEB.names[0])
        some = layout([APP._replace(names=())], docker=True)
        engine.answer("GET", "/images/get", 200, tar(some))
        images = ["%s@%s" % (made.names[0], digest) for made, digest in zip((APP, WEB), digests)]
        run(image_archive, **wish(engine, images=images))
        assert [call.names for call in engine.calls if call.path == "/images/get"] == [[APP.config_digest, WEB.config_digest], [WEB.config_digest]]
    assert config_digests(tmp_path / "bundle") == sorted([APP.config_digest, WEB.config_digest])


def test_a_tag_that_moves_before_the_export(engine, wish, tmp_path):
    engine.after("GET", "/images/.*app:1/json", lambda: engine.hold(NEXT))
    run(image_archive, **wish(engine, images=["app:1"], parallel=1))
    assert config_digests(tmp_path / "bundle") == [APP.config_digest]
    assert names(tmp_path / "bundle") == ["docker.io/library/app:1"]


def test_an_engine_that_exports_something_else(engine, wish, tmp_path):
    engine.answer("GET", "/images/get", 200, tar(layout([NEXT], docker=True)), times=2)
    message = fail(image_archive, **wish(engine, images=["app:1"]))["msg"]
    assert message.startswith("app:1: the engine at %s shows %s, and exports something else" % (engine.url, engine.image_id("app:1")))
    assert os.listdir(str(tmp_path)) == []


def test_an_image_that_vanishes_before_the_export(engine, wish):
    engine.after("GET", "/images/.*web:2/json", lambda: engine.lose("app:1"))
    assert "the engine at %s refused (HTTP 404)" % engine.url in fail(image_archive, **wish(engine, parallel=1))["msg"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("export", [b"", tar(layout([NEXT], docker=True))[:5000], b'{"message":"no space left on device"}' * 100], ids=range(3))
def test_an_export_that_breaks_off_leaves_the_bundle(engine, wish, tmp_path, form, export):
    run(image_archive, **wish(engine, format=form))
    before = checksum(tmp_path / "bundle")
    engine.hold(NEXT)
    engine.answer("GET", "/images/get", 200, export)
    message = fail(image_archive, **wish(engine, format=form))["msg"]
    assert message.startswith("the engine at %s did not export docker.io/library/app:1, registry.example/team/web:2 as it should (its export" % engine.url)
    assert checksum(tmp_path / "bundle") == before
    assert config_digests(tmp_path / "bundle") == sorted([APP.config_digest, WEB.config_digest])


def test_an_export_without_a_layer(engine, wish, tmp_path):
    without = [BASE.digest, BASE.diff_id]
    engine.answer("GET", "/images/get", 200, tar(layout([APP], docker=True, without=without)))
    message = fail(image_archive, **wish(engine, images=["app:1"]))["msg"]
    assert message.startswith("docker.io/library/app:1: the engine exports the image without layer 1 of docker.io/library/app:1 (sha256:")
    assert os.listdir(str(tmp_path)) == []


def test_an_export_with_wrong_bytes(engine, wish, tmp_path):
    bad = layout([APP], docker=True)
    name = "blobs/" + APP.layers[1].digest.replace(":", "/")
    bad[name] = bad[name][:-1] + b"x"
    engine.answer("GET", "/images/get", 200, tar(bad))
    message = fail(image_archive, **wish(engine, images=["app:1"]))["msg"]
    assert "layer 2 of docker.io/library/app:1: its bytes are sha256:" in message
    assert os.listdir(str(tmp_path)) == []


# The disk


def test_there_must_be_room(engine, wish, tmp_path, monkeypatch):
    monkeypatch.setattr(extent.os, "statvfs", lambda folder: os.statvfs_result((1, 1) + (0,) * 8))
    for check in (True, False):
        message = fail(image_archive, check=check, **wish(engine))["msg"]
        assert message.startswith("fetching and bundling the images needs ") and "in %s, where 0 B are free" % tmp_path in message
    assert engine.count("GET", "/images/get") == 0


def test_a_disk_that_fills_up(engine, wish, tmp_path, monkeypatch):
    run(image_archive, **wish(engine, images=["app:1"]))
    before = checksum(tmp_path / "bundle")

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(bundle, "write_tar", full)
    message = fail(image_archive, **wish(engine))["msg"]
    assert message.startswith("%s: cannot be written: No space left on device: the images have up to " % (tmp_path / "bundle"))
    assert "and are there twice while their bundle is made, and %s are free" % extent.human(extent.free(str(tmp_path))) in message
    assert checksum(tmp_path / "bundle") == before


def test_other_errors_of_the_disk(engine, wish, tmp_path, monkeypatch):
    monkeypatch.setattr(flow.os, "access", lambda folder, mode: False)
    message = fail(image_archive, check=True, **wish(engine))["msg"]
    assert message == "%s: permission denied on its folder: use become, or name another path" % (tmp_path / "bundle")
    monkeypatch.undo()

    def fails(*args):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(bundle, "write_tar", fails)
    assert fail(image_archive, **wish(engine))["msg"] == "%s: cannot be written: Input/output error" % (tmp_path / "bundle")


def test_the_folder_must_be_there(engine, wish, tmp_path):
    message = fail(image_archive, check=True, **wish(engine, path=str(tmp_path / "no/bundle.tar")))["msg"]
    assert message.startswith("%s: there is no folder %s: make it first" % (tmp_path / "no/bundle.tar", tmp_path / "no"))


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_a_folder_where_a_file_shall_be(engine, wish, tmp_path, form):
    message = fail(image_archive, check=True, **wish(engine, path=str(tmp_path), format=form))["msg"]
    assert message.startswith("%s is a folder, and the format %s is a file" % (tmp_path, form))


def test_a_file_where_a_folder_shall_be(engine, wish, tmp_path):
    run(image_archive, **wish(engine))
    message = fail(image_archive, check=True, **wish(engine, format="oci-layout"))["msg"]
    assert message.startswith("%s is a file, and the format oci-layout is a folder" % (tmp_path / "bundle"))


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a thesis\n" * 100, "not a tar archive, or not all of it (no header at byte 0)"),
        (tar({"thesis": b"3 years"}), "neither an OCI layout (no index.json) nor a docker archive (no manifest.json)"),
    ],
    ids=["text", "tar"],
)
def test_what_is_no_bundle_is_left_alone(engine, wish, tmp_path, state, content, why):
    (tmp_path / "bundle").write_bytes(content)
    for check in (True, False):
        message = fail(image_archive, check=check, **wish(engine, state=state))["msg"]
        assert message == "%s is no bundle, and is left as it is (%s): remove it yourself, or name another path" % (tmp_path / "bundle", why)
    assert (tmp_path / "bundle").read_bytes() == content


def test_an_empty_folder_may_become_a_layout(engine, wish, tmp_path):
    (tmp_path / "bundle").mkdir()
    real, _again = four_times(image_archive, **wish(engine, format="oci-layout"))
    assert real["diff"]["before"]["damage"] == "%s: is empty" % (tmp_path / "bundle")


def test_a_link_is_followed(engine, wish, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "bundle").symlink_to("real/app.tar")
    real, _again = four_times(image_archive, **wish(engine))
    assert real["path"] == str(tmp_path / "real/app.tar")
    assert (tmp_path / "bundle").is_symlink() and names(tmp_path / "real/app.tar")


# Mode, owner, group


@pytest.mark.parametrize("form", FORMS)
def test_sets_the_mode(engine, wish, tmp_path, form):
    mode = "0750" if form == "oci-layout" else "0640"
    four_times(image_archive, **wish(engine, format=form, mode=mode))
    assert stat.S_IMODE(os.stat(str(tmp_path / "bundle")).st_mode) == int(mode, 8)

    os.chmod(str(tmp_path / "bundle"), 0o700)
    real, _again = four_times(image_archive, **wish(engine, format=form, mode=mode))
    assert real["changed"] and not any(entry["changed"] for entry in real["images"])
    assert (real["diff"]["before"]["mode"], real["diff"]["after"]["mode"]) == ("0700", mode)
    assert real["fetched_bytes"] == 0
    assert set(real["diff"]["before"]) == set(real["diff"]["after"]) == {"mode"}, "no image changes"


def test_a_mode_in_symbols(engine, wish, tmp_path):
    four_times(image_archive, **wish(engine, mode="u=rw,g=r,o="))
    assert stat.S_IMODE(os.stat(str(tmp_path / "bundle")).st_mode) == 0o640


MODE = ": write it in octal and in quotes, as '0644', or in symbols, as u=rw,go=r"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (dict(owner="no-such-user"), "owner: this host has no user no-such-user: make it first, or name another"),
        (dict(owner="-1"), "owner: this host has no user -1: make it first, or name another"),
        (dict(owner=str(1 << 32)), "owner: this host has no user 4294967296: make it first, or name another"),
        (dict(group="no-such-group"), "group: this host has no group no-such-group: make it first, or name another"),
        (dict(mode="abc"), "mode: abc is no mode" + MODE),
        (dict(mode="0999"), "mode: 0999 is no mode" + MODE),
        (dict(mode="10644"), "mode: 10644 is no mode" + MODE),
        (dict(mode=77777), "mode: 77777 is no mode" + MODE),
        (dict(mode=["0644"]), "mode: ['0644'] is no mode" + MODE),
    ],
    ids=lambda value: " ".join(map(str, value.items())) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("there", [False, True], ids=["new", "old"])
def test_what_no_file_can_have_fails_before_anything_is_written(containerd, wish, tmp_path, params, message, there):
    containerd.hold(APP, WEB)
    if there:
        run(image_archive, **wish(containerd, images=["app:1"]))
    before = checksum(tmp_path / "bundle") if there else None
    for check in (True, False):
        result = fail(image_archive, check=check, **wish(containerd, **params))
        assert result["msg"] == message
        assert (checksum(tmp_path / "bundle") if os.path.exists(str(tmp_path / "bundle")) else None) == before


@pytest.mark.parametrize("option", ["owner", "group"])
def test_an_owner_that_only_root_may_give_leaves_the_old_bundle(containerd, wish, tmp_path, monkeypatch, option):
    def denied(path, uid, gid):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    containerd.hold(APP, WEB)
    run(image_archive, **wish(containerd, images=["app:1"]))
    before = checksum(tmp_path / "bundle")
    monkeypatch.setattr(os, "lchown", denied)
    message = fail(image_archive, **wish(containerd, **{option: "54321"}))["msg"]
    assert message.startswith({"owner": "chown failed", "group": "chgrp failed"}[option])
    assert checksum(tmp_path / "bundle") == before


def test_an_owner_or_group_by_number_need_not_have_a_name(containerd, wish, tmp_path, monkeypatch):
    def nameless(name):
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", nameless)
    monkeypatch.setattr(grp, "getgrnam", nameless)
    containerd.hold(APP, WEB)
    four_times(image_archive, **wish(containerd, owner=str(os.geteuid()), group=str(os.getegid())))
    assert os.stat(str(tmp_path / "bundle")).st_uid == os.geteuid()


def test_a_new_bundle_has_the_mode_of_the_old(engine, wish, tmp_path):
    run(image_archive, **wish(engine, images=["app:1"]))
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(os.stat(str(tmp_path / "bundle")).st_mode) == 0o666 & ~umask
    os.chmod(str(tmp_path / "bundle"), 0o604)
    run(image_archive, **wish(engine))
    assert stat.S_IMODE(os.stat(str(tmp_path / "bundle")).st_mode) == 0o604


def test_sets_the_group(engine, wish, tmp_path):
    group = grp.getgrgid(os.getegid()).gr_name
    real, _again = four_times(image_archive, **wish(engine, group=group))
    assert os.stat(str(tmp_path / "bundle")).st_gid == os.getegid()
    assert real["group"] == group


# Absent


@pytest.mark.parametrize("form", FORMS)
def test_removes_a_bundle(engine, wish, tmp_path, form):
    run(image_archive, **wish(engine, format=form))
    for check, changed, there in ((True, True, True), (False, True, False), (True, False, False), (False, False, False)):
        result = run(image_archive, check=check, path=str(tmp_path / "bundle"), state="absent")
        assert (result["changed"], os.path.exists(str(tmp_path / "bundle"))) == (changed, there)
        assert result["diff"] == {"before": {"state": "present" if changed else "absent"}, "after": {"state": "absent"}}
        assert result["images"] == []


def test_removes_what_was_a_bundle(tmp_path):
    write_layout(tmp_path / "bundle.tar", [APP])
    (tmp_path / "bundle.tar").write_bytes((tmp_path / "bundle.tar").read_bytes()[:3000])
    assert run(image_archive, path=str(tmp_path / "bundle.tar"), state="absent")["changed"]
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize("check", [True, False])
def test_does_not_remove_a_folder_that_holds_more(tmp_path, check):
    folder = write_layout(tmp_path / "bundle", [APP])
    write(folder, {"thesis.odt": b"3 years"})
    message = fail(image_archive, check=check, path=str(folder), state="absent")["msg"]
    assert message == "%s holds more than a bundle (thesis.odt), and is left as it is: remove it yourself" % folder
    assert (folder / "index.json").exists()


def test_needs_images_to_be_present(tmp_path):
    message = fail(image_archive, path=str(tmp_path / "bundle"))["msg"]
    assert message == "state is present but all of the following are missing: images"
