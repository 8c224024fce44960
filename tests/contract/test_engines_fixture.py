# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""The engines that all other contract tests trust: each is what its name says, runs containers, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import time
import urllib.request
from pathlib import Path

import engines
import pytest

EXPECTED = {
    "docker-20.10": ("20.10.", "classic"),
    "docker-28": ("28.", "classic"),
    "docker-28-containerd": ("28.", "containerd"),
    "podman-4": ("4.", "podman"),
}
NAME = "docker.io/library/busybox:stowage"


@pytest.fixture(scope="session")
def archive() -> bytes:
    """This machine's static busybox, as `docker save` would write it."""
    layer = _tar({"bin/busybox": Path("/bin/busybox").read_bytes()})
    config = json.dumps({
        "architecture": subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip(),
        "os": "linux",
        "config": {"Entrypoint": ["/bin/busybox"], "Cmd": ["echo", "hello"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [NAME], "Layers": ["layer.tar"]}]).encode()
    return _tar({name: config, "layer.tar": layer, "manifest.json": manifest})


def test_each_engine_is_what_its_name_says(engine):
    version, store = EXPECTED[engine.kind]
    assert engine.version.startswith(version)
    assert engine.store == store
    assert Path(f"/proc/{engine.pid}/comm").read_text().strip() == {"docker": "dockerd", "podman": "podman"}[engine.family]


def test_runs_a_container(engine, archive, tmp_path):
    (tmp_path / "word").write_text("bound\n")
    engine.call("POST", "/images/load", archive)

    assert engine.run(NAME) == "hello\n"
    assert engine.run(NAME, "cat", "/word", binds={tmp_path / "word": "/word"}) == "bound\n"
    with pytest.raises(engines.CallError, match="false ended with exit code 1"):
        engine.run(NAME, "false")
    assert engine.json("GET", "/containers/json?all=1") == []


def test_keeps_its_images_over_restart_and_power_cut_until_it_is_wiped(engine, archive):
    engine.call("POST", "/images/load", archive)
    engine.call("POST", f"/images/{NAME}/tag?repo=docker.io/library/other&tag=1")
    engine.restart()
    assert len(engine.json("GET", "/images/json")) == 1
    engine.kill()
    engine.start()
    assert len(engine.json("GET", "/images/json")) == 1
    engine.wipe()
    assert engine.json("GET", "/images/json?all=1") == []


def test_pushes_to_the_registry_and_pulls_from_it(engine, archive, registry):
    name = f"{registry.host}/fixture-{engine.kind}"
    engine.call("POST", "/images/load", archive)
    engine.call("POST", f"/images/{NAME}/tag?repo={name}&tag=1")
    assert b'"error"' not in engine.call("POST", f"/images/{name}/push?tag=1", headers={"X-Registry-Auth": "e30="})
    engine.wipe()

    assert b'"error"' not in engine.call("POST", f"/images/create?fromImage={name}&tag=1")
    assert engine.run(f"{name}:1") == "hello\n"


@pytest.mark.parametrize("kind", engines.KINDS)
def test_listens_on_tcp_and_leaves_nothing_behind(kind, tmp_path):
    before = _state()
    with engines.start(kind, tmp_path / "engine", tcp_port=0) as engine:
        with urllib.request.urlopen(engine.tcp.replace("tcp:", "http:") + "/_ping") as answer:
            assert answer.read() == b"OK"
        pid, group = engine.pid, f"stowage-{engine.root.stat().st_ino}"
    assert not (tmp_path / "engine").exists()
    assert not Path(f"/proc/{pid}").exists()
    assert not [*Path("/sys/fs/cgroup").glob(group), *Path("/sys/fs/cgroup").glob(f"*/{group}")]
    assert _state() == before


@pytest.mark.parametrize("kind", engines.KINDS)
@pytest.mark.parametrize("signal", ["INT", "TERM"])
def test_ends_with_its_starter(kind, signal, tmp_path):
    command = [sys.executable, engines.__file__, "start", kind, "--root", tmp_path / "engine"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout.readline() == f"unix://{tmp_path}/engine/engine.sock\n"
        subprocess.run(["kill", f"-{signal}", str(starter.pid)], check=True)
    assert starter.returncode == 0
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize("kind", engines.KINDS)
def test_does_not_outlive_a_starter_that_is_killed(kind, tmp_path):
    command = [sys.executable, engines.__file__, "start", kind, "--root", tmp_path / "engine"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        starter.stdout.readline()
        assert _processes(tmp_path)
        starter.kill()
    end = time.monotonic() + engines.STOP_SECONDS
    while _processes(tmp_path):
        assert time.monotonic() < end
        time.sleep(0.1)
    engines.drop_cgroups(tmp_path / "engine")


def test_says_why_a_server_does_not_come_up(tmp_path):
    nowhere = engines.TLS(*[tmp_path / "nowhere"] * 3)
    with pytest.raises(engines.StartError, match=r"(?s)docker-registry ended with exit code 1.*nowhere: no such file"):
        with engines.registry(tmp_path / "registry", tls=nowhere):
            pass
    assert not (tmp_path / "registry").exists()


def _processes(folder: Path) -> list[str]:
    """The command lines of all processes that name this folder."""
    return [text for text in map(_text, Path("/proc").glob("[0-9]*/cmdline")) if str(folder) in text]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended meanwhile
        return ""


def _state() -> tuple[str, list[Path]]:
    """What an engine could leave on this machine outside its folder: mounts, and files of its own in the usual places."""
    places = ("/run/docker*", "/run/containerd", "/run/libpod", "/run/containers", "/run/netns", "/run/mount", "/var/lib/docker",
              "/var/lib/containerd", "/var/lib/containers", "/etc/docker/key.json", "/etc/cni")
    return Path("/proc/self/mounts").read_text(), [found for place in places for found in sorted(Path("/").glob(place[1:]))]


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
