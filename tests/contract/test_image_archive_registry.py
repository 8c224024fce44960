# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_archive from a real registry, and its bundles in the hands of every tool that reads images."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import subprocess
from pathlib import Path

import debs
import engines
import pytest
from ansible_collections.stowage.oci.plugins.module_utils._oci.archive import Archive
from ansible_collections.stowage.oci.plugins.modules import image_archive
from ansible_collections.stowage.oci.tests.unit.images import attestation, image, index, layer, write_layout
from ansible_collections.stowage.oci.tests.unit.running import fail, four_times, run

BASE = layer({"base": bytes(range(256)) * 2000}, "gzip")
APP = image([BASE, layer({"word": b"app"}, "gzip")])
NEXT = image([BASE, layer({"word": b"next"}, "gzip")])
DOCKER = image([BASE, layer({"word": b"docker"}, "gzip")], docker=True)
ZSTD = image([layer({"word": b"zstd"}, "zstd")])
ARM = image([layer({"word": b"arm"}, "gzip")], platform="linux/arm64")
MULTI = index([APP, ARM, attestation(APP)])
LIST = index([DOCKER], docker=True)
WHAT = {"app": APP, "docker": DOCKER, "zstd": ZSTD, "multi": MULTI, "list": LIST}
COUNTER = itertools.count()


def push(registry: engines.Registry, folder: Path, name: str, item) -> None:
    debs.ensure(["skopeo"])
    layout = write_layout(folder / f"push-{next(COUNTER)}", [item])
    skopeo("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", f"oci:{layout}", f"docker://{registry.host}/{name}")


def skopeo(*args) -> str:
    done = subprocess.run(["skopeo", "--insecure-policy", *map(str, args)], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.fixture
def names(registry: engines.Registry, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """References of the images, in repositories of this test's own."""
    own = hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    for name, item in WHAT.items():
        push(registry, tmp_path, f"{own}/{name}:1", item)
    return {name: f"{registry.host}/{own}/{name}:1" for name in WHAT}


def wish(tmp_path: Path, *images: str, **more) -> dict:
    return {"path": str(tmp_path / "bundle"), "images": list(images), "plain_http": True, **more}


@pytest.mark.parametrize("form", ["oci-archive", "oci-layout"])
def test_keeps_every_kind_of_image_to_the_byte(names: dict[str, str], tmp_path: Path, form: str) -> None:
    real, again = four_times(image_archive, **wish(tmp_path, *names.values(), format=form))
    assert [entry["digest"] for entry in real["images"]] == [item.digest for item in WHAT.values()]
    assert real["fetched_bytes"] and not again["fetched_bytes"]
    archive = Archive(str(tmp_path / "bundle"), "")
    targets = {entry.names[0]: entry.targets for entry in archive.entries}
    for name, item in WHAT.items():
        assert targets[names[name]] == (item.digest,)
    layers = {one.digest for item in (APP, DOCKER, ZSTD, ARM) for one in item.layers}
    for digest, extent in archive.extents(layers).items():
        assert extent.hash() == digest


def test_survives_the_way_back(registry: engines.Registry, names: dict[str, str], tmp_path: Path) -> None:
    """Registry, bundle, registry: each digest is what it was. Of Docker's own media types skopeo 1.9 finds none by name."""
    run(image_archive, **wish(tmp_path, *names.values()))
    for name, item in {"app": APP, "zstd": ZSTD, "multi": MULTI}.items():
        back = f"{registry.host}/{names[name].split('/')[1]}/back-{name}:1"
        source = f"oci-archive:{tmp_path}/bundle:{names[name]}"
        skopeo("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", source, f"docker://{back}")
        raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{back}")
        assert "sha256:" + hashlib.sha256(raw.encode()).hexdigest() == item.digest


def test_crane_reads_it(registry: engines.Registry, crane_registry: engines.Registry, names: dict[str, str], tmp_path: Path) -> None:
    """The tar as a docker archive, the folder as a layout; the second registry has what the first had."""
    run(image_archive, **wish(tmp_path, names["app"]))
    crane("push", "--insecure", tmp_path / "bundle", f"{crane_registry.host}/tar:1")
    assert crane("config", "--insecure", f"{crane_registry.host}/tar:1") == APP.config.decode()
    run(image_archive, **wish(tmp_path, names["multi"], path=str(tmp_path / "folder"), format="oci-layout"))
    crane("push", "--insecure", "--index", tmp_path / "folder", f"{crane_registry.host}/folder:1")
    index_of_one = json.loads(crane("manifest", "--insecure", f"{crane_registry.host}/folder:1"))
    assert [entry["digest"] for entry in index_of_one["manifests"]] == [MULTI.digest]


def crane(*args) -> str:
    done = subprocess.run([debs.crane(), *map(str, args)], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


def test_bundles_from_a_second_implementation(crane_registry: engines.Registry, tmp_path: Path) -> None:
    push(crane_registry, tmp_path, "second/multi:1", MULTI)
    real, _again = four_times(image_archive, **wish(tmp_path, f"{crane_registry.host}/second/multi:1"))
    assert real["images"][0]["digest"] == MULTI.digest


def test_every_engine_loads_it(names: dict[str, str], engine: engines.Engine, tmp_path: Path) -> None:
    wanted = [names["app"], names["multi"]]
    run(image_archive, **wish(tmp_path, *wanted, platform=["linux/amd64"]))
    with open(tmp_path / "bundle", "rb") as stream:
        engine.call("POST", "/images/load", stream)
    for name in wanted:
        document = json.loads(engine.call("GET", f"/images/{name}/json"))
        assert document["RootFS"]["Layers"] == APP.diff_ids
        assert document["Id"] in (APP.config_digest, APP.digest)


def test_one_layer_changed(registry: engines.Registry, names: dict[str, str], tmp_path: Path) -> None:
    run(image_archive, **wish(tmp_path, names["app"]))
    push(registry, tmp_path, names["app"].partition("/")[2], NEXT)
    real, _again = four_times(image_archive, **wish(tmp_path, names["app"]))
    assert (real["fetched_bytes"], real["reused_bytes"]) == (len(NEXT.layers[1].blob), len(BASE.blob))


def test_goes_on_where_it_was_killed(registry: engines.Registry, names: dict[str, str], tmp_path: Path) -> None:
    """Half of a blob lies there, as a killed run left it: the registry is asked for the other half."""
    message = fail(image_archive, **wish(tmp_path, names["app"], names["app"] + "-none"))["msg"]
    assert "has no such image" in message
    run(image_archive, **wish(tmp_path, names["app"], path=str(tmp_path / "whole")))
    folder = tmp_path / (".stowage-%s-parts" % hashlib.sha256(os.fsencode(tmp_path / "bundle")).hexdigest()[:12])
    folder.mkdir()
    (folder / (BASE.digest.replace(":", "-") + ".part")).write_bytes(BASE.blob[:1000])
    result = run(image_archive, **wish(tmp_path, names["app"]))
    assert result["reused_bytes"] == 1000
    assert result["fetched_bytes"] == len(BASE.blob) - 1000 + len(APP.layers[1].blob)
    assert (tmp_path / "bundle").read_bytes() == (tmp_path / "whole").read_bytes()
    assert not folder.exists()


@pytest.mark.parametrize("form", ["oci-archive", "oci-layout"])
def test_a_disk_that_is_too_small(registry: engines.Registry, tmp_path: Path, form: str) -> None:
    """It is known before anything is fetched, also where the images fit one by one."""
    made = [image([layer({"data": random.Random(seed).randbytes(3_000_000)})]) for seed in range(3)]
    for number, one in enumerate(made):
        push(registry, tmp_path, f"full/{form}-{number}:1", one)
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", where], check=True)
    try:
        wanted = [f"{registry.host}/full/{form}-{number}:1" for number in range(3)]
        message = fail(image_archive, **wish(where, *wanted, format=form))["msg"]
        assert message.startswith("fetching and bundling the images needs 18.") and "where 8.4 MB are free" in message
        assert list(where.iterdir()) == []
        assert run(image_archive, **wish(where, wanted[0], format=form))["changed"]
        assert [one.name for one in where.iterdir()] == ["bundle"]
    finally:
        subprocess.run(["umount", where], check=True)
