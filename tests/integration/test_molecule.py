# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""The molecule scenario `images`, copied into a project of its own as a reader would do it, without any network; and what docs/molecule.md quotes.

The scenarios on a fleet of hosts are a ring of their own.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import debs
import peers
import pytest
from ansible_collections.stowage.oci.tests.unit.images import Layer, image, layer, write_layout

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "molecule/images"
BASE = "registry.example.com/with-python:1"
PLATFORMS = ["from-1", "from-2"]
BUILD = "Build the image of each platform, if its Dockerfile or context changed"

sys.path.insert(0, str(ROOT / "demo"))
import rootfs  # noqa: E402


@pytest.fixture
def bundle(tmp_path):
    """A bundle of one image: this machine's own Python, and busybox for all else."""
    debs.ensure(["busybox-static"])
    busybox = debs.which("busybox")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tree = rootfs.Tree(tar, "")
        tree.fill(0)
        tree.add(Path(busybox))
    programs = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    links = {f"usr/bin/{name}": busybox for name in programs if name != "busybox"}
    system = Layer(data.getvalue(), data.getvalue(), "")
    layers = [system, layer({"bin": "usr/bin", "root": None, "tmp": None, **links})]
    made = image(layers, names=[BASE], history=[{"created_by": "test"}] * len(layers))
    return write_layout(tmp_path / "bundle", [made])


@pytest.fixture
def molecule(prepared, collections, bundle, tmp_path):
    """Gives `molecule(engine, command)`, which runs it on the scenario's copy in the test's own folder, and the results of the builds by host."""
    shutil.copytree(SCENARIO, tmp_path / "molecule/images")
    environ = {
        "ANSIBLE_COLLECTIONS_PATH": f"{collections}:{peers.collections()}",
        "PLATFORM_BASE": BASE,
        "PLATFORM_BUNDLE": str(bundle),
        "PLATFORM_NETWORK": "none",
    }

    def run(engine, command):
        done = replace(prepared([], {}, DOCKER_HOST=engine.url, **environ), command=["molecule", command, "--scenario-name", "images"]).run()
        assert done.code == 0, done.screen
        return {result.host: result.result for result in done.results if result.task == BUILD}

    return run


def image_of(platform):
    return f"localhost/molecule/{platform}:latest"


def every(engine):
    """The IDs of all images, also of those that a build made on its way."""
    return {one["Id"] for one in engine.json("GET", "/images/json?all=1")}


def tags(engine):
    """What each tag names."""
    return {name: one["Id"] for one in engine.json("GET", "/images/json") for name in one["RepoTags"] or [] if name != "<none>:<none>"}


def containers(engine):
    """The image of each container, by its name."""
    return {one["Names"][0].lstrip("/"): one["ImageID"] for one in engine.json("GET", "/containers/json")}


@pytest.mark.timeout(600)
def test_a_platform_is_built_when_its_context_changed_and_only_then(molecule, docker20, tmp_path):
    built = molecule(docker20, "test")
    assert {host: one["images"][0]["action"] for host, one in built.items()} == dict.fromkeys(PLATFORMS, "built")
    assert not docker20.json("GET", "/containers/json?all=1")
    before, images = tags(docker20), every(docker20)
    assert set(before) == {BASE, *map(image_of, PLATFORMS)}

    built = molecule(docker20, "create")
    assert {host: (one["changed"], one["builder"], one["reason"]) for host, one in built.items()} == dict.fromkeys(PLATFORMS, (False, None, None))
    assert containers(docker20) == {f"molecule-{host}": before[image_of(host)] for host in PLATFORMS}
    assert every(docker20) == images

    molecule(docker20, "destroy")
    (tmp_path / "molecule/images/platforms/from-2/etc/app.conf").write_text("listen=127.0.0.1:9000\n")
    built = molecule(docker20, "create")
    assert {host: one["reason"] for host, one in built.items()} == {"from-1": None, "from-2": "the context changed: changed etc/app.conf"}
    after = tags(docker20)
    assert {name for name in after if after[name] != before[name]} == {image_of("from-2")}
    assert containers(docker20) == {f"molecule-{host}": after[image_of(host)] for host in PLATFORMS}
    assert docker20.run(image_of("from-2"), "cat", "/etc/app.conf") == "listen=127.0.0.1:9000\n"
    molecule(docker20, "destroy")


@pytest.mark.timeout(600)
@pytest.mark.wide
def test_an_engine_may_be_podman(molecule, podman):
    built = molecule(podman, "test")
    assert {host: one["images"][0]["action"] for host, one in built.items()} == dict.fromkeys(PLATFORMS, "built")
    assert set(tags(podman)) == {BASE, *map(image_of, PLATFORMS)}
    assert not podman.json("GET", "/containers/json?all=1")


def test_the_guide_quotes_the_scenarios():
    folders = [SCENARIO, ROOT / "molecule/role"]
    paths = [ROOT / "molecule/config.yml", SCENARIO / "platforms/Dockerfile", *(path for folder in folders for path in folder.rglob("*.yml"))]
    files = [path.read_text() for path in paths]
    quoted = re.findall(r"^```(?:yaml|dockerfile)\n(.*?)^```$", (ROOT / "docs/molecule.md").read_text(), re.M | re.S)
    assert len(quoted) == 13
    assert [block for block in quoted if not any(block in text for text in files)] == []
