# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_archive on real engines, and its bundles in the hands of every tool that loads images."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import tarfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator

import engines
import pytest
from ansible_collections.stowage.oci.plugins.module_utils._oci.archive import Archive
from ansible_collections.stowage.oci.plugins.modules import image_archive
from ansible_collections.stowage.oci.tests.unit.images import Layer, attestation, compress, image, index, layer, layout, sha256, tar
from ansible_collections.stowage.oci.tests.unit.running import fail, four_times, outcome, run

FORMS = ("oci-archive", "oci-layout", "docker-archive")
APP_NAME, WEB_NAME = "docker.io/library/app:1", "registry.example/team/web:2"
BUSYBOX = Path("/bin/busybox").read_bytes()
RUN = {"Entrypoint": ["/bin/busybox"], "Cmd": ["cat", "/word"]}


def program(name: str, data: bytes) -> Layer:
    """A layer with a file that can be run."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o755
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        made.addfile(member, io.BytesIO(data))
    return Layer(out.getvalue(), compress(out.getvalue(), "gzip"), "gzip")


BASE = program("bin/busybox", BUSYBOX)
APP = image([BASE, layer({"word": b"app"}, "gzip")], names=[APP_NAME], config=RUN)
NEXT = image([BASE, layer({"word": b"next"}, "gzip")], names=[APP_NAME], config=RUN)
WEB = image([BASE, layer({"word": b"web"}, "gzip")], names=[WEB_NAME], config=RUN)
ARM = image([layer({"word": b"arm"}, "gzip")], platform="linux/arm64", config=RUN)


def hold(engine: engines.Engine, *made) -> None:
    for one in made:
        engine.call("POST", "/images/load", tar(layout([one], docker=hasattr(one, "config"))))


def wish(engine: engines.Engine, tmp_path: Path, form: str = FORMS[0], images: tuple[str, ...] = (APP_NAME, WEB_NAME), **more) -> dict:
    return {"path": str(tmp_path / "bundle"), "source": "engine", "images": list(images), "format": form, "engine_host": engine.url, **more}


def configs(path: Path) -> dict[str, list[str]]:
    """The config digests of a bundle's images by name, after every layer was seen to be what its digest says."""
    archive = Archive(str(path), "")
    found = {}
    for entry in archive.entries:
        for one in entry.variants:
            for part in one.layers:
                assert archive.extents([part.descriptor.digest])[part.descriptor.digest].hash() == part.descriptor.digest
        found.update(dict.fromkeys(entry.names, [str(one.config.digest) for one in entry.variants]))
    return found


# The bundle


@pytest.mark.parametrize("form", FORMS)
def test_check_real_check_again_real_again(engine, tmp_path, form):
    hold(engine, APP, WEB)
    real, again = four_times(image_archive, **wish(engine, tmp_path, form))
    assert [entry["action"] for entry in real["images"] + again["images"]] == ["written", "written", "kept", "kept"]
    assert (real["sha256"], real["size"]) == (again["sha256"], again["size"])
    assert real["fetched_bytes"] > 0 == again["fetched_bytes"]
    assert configs(tmp_path / "bundle") == {APP_NAME: [APP.config_digest], WEB_NAME: [WEB.config_digest]}

    hold(engine, NEXT)
    real, again = four_times(image_archive, **wish(engine, tmp_path, form))
    assert [entry["action"] for entry in real["images"]] == ["written", "kept"]
    assert configs(tmp_path / "bundle") == {APP_NAME: [NEXT.config_digest], WEB_NAME: [WEB.config_digest]}


@pytest.mark.parametrize("form", FORMS)
def test_images_that_were_built_there_are_known_again(engine, tmp_path, form):
    files = {"bin/busybox": BUSYBOX, "Dockerfile": b'FROM scratch\nCOPY bin/busybox /bin/busybox\nENV A=b\nCMD ["/bin/busybox", "echo", "built"]\n'}
    engine.call("POST", f"/build?t={APP_NAME}", tar(files), {"Content-Type": "application/x-tar"})
    real, _again = four_times(image_archive, **wish(engine, tmp_path, form, images=(APP_NAME,)))
    assert real["changed"]


def test_the_same_images_are_the_same_bytes_from_every_store_that_keeps_no_manifests(running, tmp_path):
    found = {}
    for kind in ("docker-20.10", "docker-28", "podman-4"):
        engine = running(kind)
        engine.wipe()
        hold(engine, APP, WEB)
        for form in FORMS:
            result = run(image_archive, **wish(engine, tmp_path, form, path=str(tmp_path / f"{kind}-{form}")))
            found.setdefault(form, set()).add((result["sha256"], result["size"]))
    assert [len(one) for one in found.values()] == [1, 1, 1]


def test_the_containerd_store_keeps_manifests_and_indexes(containerd, tmp_path):
    hold(containerd, WEB, index([APP, ARM], names=[APP_NAME]))
    real, _again = four_times(image_archive, **wish(containerd, tmp_path))
    entries = {entry.names: entry for entry in Archive(str(tmp_path / "bundle"), "").entries}
    assert [one.manifest.raw for one in entries[(WEB_NAME,)].variants] == [WEB.manifest]
    assert [one.manifest.raw for one in entries[(APP_NAME,)].variants] == [APP.manifest, ARM.manifest]
    assert real["images"][0]["digest"] in entries[(APP_NAME,)].handles
    assert real["images"][0]["platforms"] == ["linux/amd64", "linux/arm64"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("platform", "made"), [("linux/amd64", APP), ("arm64", ARM)])
def test_one_platform_of_an_index(containerd, tmp_path, platform, made, form):
    hold(containerd, index([APP, ARM, attestation(APP)], names=[APP_NAME]))
    real, _again = four_times(image_archive, **wish(containerd, tmp_path, form, images=(APP_NAME,), platform=[platform]))
    assert real["images"][0]["platforms"] == [f"linux/{made.platform['architecture']}"]
    assert configs(tmp_path / "bundle") == {APP_NAME: [made.config_digest]}


def test_platforms_that_were_not_pulled_are_left_out(containerd, registry, tmp_path):
    multi = index([APP, ARM, attestation(APP)], names=[f"{registry.host}/archive/partly:1"])
    push(registry, multi, tmp_path)
    containerd.call("POST", f"/images/create?fromImage={registry.host}/archive/partly&tag=1&platform=linux/amd64")
    real, _again = four_times(image_archive, **wish(containerd, tmp_path, images=multi.names))
    assert real["images"][0]["digest"] == multi.digest
    assert configs(tmp_path / "bundle") == {multi.names[0]: [APP.config_digest]}
    message = fail(image_archive, **wish(containerd, tmp_path, images=multi.names, platform=["linux/arm64"]))["msg"]
    assert "is not there for linux/arm64: name one of these with platform, or leave it away: linux/amd64" in message


def test_pinned_images_are_what_their_digest_says(engine, registry, tmp_path):
    """Nameless in the export, of which Docker 28's classic store tells only one."""
    wanted = []
    for made, new in ((APP, NEXT), (WEB, APP)):
        name = f"{registry.host}/archive/{engine.kind}-{made.names[0].rpartition('/')[2][:3]}"
        for one, tag in ((made, made.digest), (new, "1")):
            push(registry, one._replace(names=(f"{name}:1",)), tmp_path)
            engine.call("POST", f"/images/create?fromImage={name}&tag={tag}")
        wanted.append((f"{name}:1", made))
    images = tuple(f"{name}@{made.digest}" for name, made in wanted)
    four_times(image_archive, **wish(engine, tmp_path, images=images))
    assert configs(tmp_path / "bundle") == {name: [made.config_digest] for name, made in wanted}


def push(registry: engines.Registry, made, tmp_path: Path) -> None:
    folder = tmp_path / f"push-{made.digest[7:19]}"
    for name, data in layout([made], annotate="oci").items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    skopeo("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", f"oci:{folder}:{made.names[0]}", f"docker://{made.names[0]}")


def skopeo(*command: str) -> str:
    done = subprocess.run(["skopeo", "--insecure-policy", *command], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


# Other tools


def loads_everywhere(bundle: Path, running: Callable[[str], engines.Engine]) -> None:
    for kind in engines.KINDS:
        other = running(kind)
        other.wipe()
        with open(bundle, "rb") as stream:
            other.call("POST", "/images/load", stream, {"Content-Type": "application/x-tar"})
        assert (other.run(APP_NAME), other.run(WEB_NAME)) == ("app", "web")
        assert len(other.json("GET", "/images/json?all=1")) == 2


def test_every_engine_loads_it_as_it_is(engine, running, tmp_path):
    hold(engine, APP, WEB)
    run(image_archive, **wish(engine, tmp_path))
    loads_everywhere(tmp_path / "bundle", running)


def test_every_engine_loads_a_docker_archive_of_compressed_layers(containerd, running, tmp_path):
    hold(containerd, APP, WEB)
    run(image_archive, **wish(containerd, tmp_path, "docker-archive"))
    loads_everywhere(tmp_path / "bundle", running)


def test_every_engine_that_loads_an_index_has_its_own_platform(containerd, running, tmp_path):
    hold(containerd, WEB, index([ARM, APP], names=[APP_NAME]))
    run(image_archive, **wish(containerd, tmp_path))
    loads_everywhere(tmp_path / "bundle", running)


def test_an_engine_that_loaded_it_says_that_it_is_the_same(engine, tmp_path):
    hold(engine, APP, WEB)
    first = run(image_archive, **wish(engine, tmp_path))
    engine.wipe()
    with open(tmp_path / "bundle", "rb") as stream:
        engine.call("POST", "/images/load", stream, {"Content-Type": "application/x-tar"})
    assert not run(image_archive, **wish(engine, tmp_path))["changed"]
    os.unlink(tmp_path / "bundle")
    assert run(image_archive, **wish(engine, tmp_path))["sha256"] == first["sha256"]


@pytest.mark.parametrize("form", FORMS)
def test_skopeo_reads_it(engine, tmp_path, form):
    hold(engine, APP, WEB)
    run(image_archive, **wish(engine, tmp_path, form))
    transport = "oci" if form == "oci-layout" else form
    for made in (APP, WEB):
        source = f"{transport}:{tmp_path}/bundle:{made.names[0]}"
        assert sha256(skopeo("inspect", "--config", "--raw", source).encode()) == made.config_digest
        skopeo("copy", source, f"dir:{tmp_path}/{made.digest[7:19]}")
        manifest = json.loads((tmp_path / made.digest[7:19] / "manifest.json").read_bytes())
        assert manifest["config"]["digest"] == made.config_digest
    if form == "oci-archive":
        skopeo("copy", f"docker-archive:{tmp_path}/bundle:{APP_NAME}", f"dir:{tmp_path}/again")


def test_the_digest_is_the_same_in_a_registry(containerd, registry, tmp_path):
    multi = index([APP, ARM], names=[APP_NAME])
    hold(containerd, multi)
    run(image_archive, **wish(containerd, tmp_path, images=(APP_NAME,)))
    target = f"docker://{registry.host}/archive/pushed:1"
    skopeo("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", f"oci-archive:{tmp_path}/bundle:{APP_NAME}", target)
    raw = skopeo("inspect", "--raw", "--tls-verify=false", target).encode()
    assert sha256(raw) == json.loads(containerd.call("GET", f"/images/{APP_NAME}/json"))["Id"]


def test_tar_lists_it(docker20, tmp_path):
    hold(docker20, APP, WEB)
    run(image_archive, **wish(docker20, tmp_path))
    listed = subprocess.run(["tar", "-tf", tmp_path / "bundle"], capture_output=True, text=True, check=True)
    with tarfile.open(tmp_path / "bundle") as opened:
        assert listed.stdout.splitlines() == opened.getnames()
    assert not listed.stderr


# Trouble


def test_an_image_that_is_not_there(engine, tmp_path):
    hold(engine, APP)
    for check in (True, False):
        result = fail(image_archive, check=check, **wish(engine, tmp_path, images=("app:2", "app:1")))
        assert result["msg"] == f"app:2: the engine at {engine.url} has no such image, but {APP_NAME}"
        assert [entry["action"] for entry in result["images"]] == ["failed", "skipped"]
    assert list(tmp_path.iterdir()) == []


def big(seed: str, megabytes: int):
    return image([layer({"noise": random.Random(seed).randbytes(megabytes << 20)})], names=[f"docker.io/library/{seed}:1"])


def test_an_engine_that_dies_while_it_exports_leaves_the_old_bundle(engine, tmp_path):
    hold(engine, APP, big("one", 60))
    run(image_archive, **wish(engine, tmp_path, images=(APP_NAME,)))
    before = (tmp_path / "bundle").read_bytes()
    results = []
    params = wish(engine, tmp_path, images=(APP_NAME, "one:1"))
    thread = threading.Thread(target=lambda: results.append(outcome(image_archive, False, params)))
    thread.start()
    try:
        while thread.is_alive() and not any(one.stat().st_size > 0 for one in tmp_path.glob(".stowage-*")):
            time.sleep(0.001)
        engine.kill()
    finally:
        engine.start()
        thread.join()
    assert results[0].get("failed") and f"the engine at {engine.url}" in results[0]["msg"], results[0]
    assert (tmp_path / "bundle").read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["bundle"]


@contextmanager
def disk(where: Path, megabytes: int) -> Iterator[Path]:
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


def test_a_disk_that_is_too_small_is_known_before(engine, tmp_path):
    hold(engine, APP, big("one", 6))
    with disk(tmp_path / "disk", 8) as where:
        for check in (True, False):
            message = fail(image_archive, check=check, **wish(engine, where, images=("one:1",)))["msg"]
            assert message.startswith("fetching and bundling the images needs 12.") and f"in {where}, where 8.4 MB are free" in message
        assert list(where.iterdir()) == []


@pytest.mark.parametrize("form", FORMS)
def test_a_disk_that_fills_up_keeps_the_old_bundle(engine, tmp_path, form):
    hold(engine, APP, *(big(seed, 3) for seed in ("one", "two", "three")))
    with disk(tmp_path / "disk", 9) as where:
        run(image_archive, **wish(engine, where, form, images=(APP_NAME,)))
        before = configs(where / "bundle")
        message = fail(image_archive, **wish(engine, where, form, images=("one:1", "two:1", "three:1", APP_NAME)))["msg"]
        assert message.startswith(f"{where}/bundle: cannot be written: No space left on device: the images have up to 1")
        assert configs(where / "bundle") == before
        assert [one.name for one in where.iterdir()] == ["bundle"]
