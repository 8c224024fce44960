# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""The role trust on a machine with Docker, Podman and containerd, against docker-registry with TLS, accounts and mirrors.

The machine is this one, in namespaces of its own: another /etc/docker, /etc/containers, /etc/containerd and passwd, and a network
whose only address is no loopback one, since engines verify nobody there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import debs
import engines
import pytest
from ansible_collections.stowage.oci.tests.unit.certificates import Authority
from ansible_collections.stowage.oci.tests.unit.images import image, layer, write_layout

ADDRESS = "198.51.100.7"
GUARDED, OPEN, MUTUAL = (f"{ADDRESS}:{port}" for port in (5000, 5001, 5002))
APP = image([layer({"app": b"1"}, "gzip")], names=["app:1"], config={"Cmd": ["/app"]})
PASSWORD = "correct-horse"
STATES = (("--check", "--diff"), ("--diff",), ("--check", "--diff"), ("--diff",))
NETWORK = f'ip link set lo up && ip address add {ADDRESS}/32 dev lo && exec "$@"'
FOLDERS = ("/etc/docker", "/etc/containers", "/etc/containerd")


@dataclass
class Machine:
    """A host that the role sets up. `root` holds its folders; `ca` is a file on the controller."""

    root: Path
    engine: engines.Engine
    authority: Authority
    settings: dict

    def enter(self, *command, home="root", check=True):
        """Run a command there."""
        environ = {**os.environ, **engines.programs(self.engine), "HOME": str(self.root / "home" / home), "DOCKER_HOST": self.engine.url}
        enter = ["nsenter", "--target", str(self.engine.pid), "--mount", "--pid", "--net"]
        return subprocess.run([*enter, *map(str, command)], env=environ, capture_output=True, text=True, check=check)

    def pull(self, engine, name, *options, home="root"):
        """What an engine says when it is to pull: None if it did."""
        podman = ["podman", "--root", self.root / "podman", "--runroot", "/run/podman", "--storage-driver", "vfs"]
        ctr = ["ctr", "-a", "/run/docker/containerd/containerd.sock", "-n", "test", "images"]
        pull, remove = {
            "docker": (["docker", "pull"], ["docker", "rmi"]),
            "podman": ([*podman, "pull"], [*podman, "rmi"]),
            "containerd": ([*ctr, "pull", "--hosts-dir", "/etc/containerd/certs.d"], [*ctr, "rm"]),
        }[engine]
        done = self.enter(*pull, *options, name, home=home, check=False)
        if done.returncode:
            return done.stdout + done.stderr
        self.enter(*remove, name, home=home)
        return None

    def snapshot(self):
        """Every file and folder that the role may touch: its mode, owner and content."""
        found = {}
        for top in (*FOLDERS, "home"):
            folder = self.root / top.strip("/")
            for path in [folder, *folder.rglob("*")]:
                facts = path.lstat()
                found[str(path.relative_to(self.root))] = (oct(facts.st_mode), facts.st_uid, path.read_bytes() if path.is_file() else None)
        return found

    def reset(self):
        for top in (*FOLDERS, "home"):
            folder = self.root / top.strip("/")
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        (self.engine.root / "lib/stowage-trust.json").unlink(missing_ok=True)
        shutil.copy("/etc/containers/policy.json", self.root / "etc/containers")
        for name, uid in (("root", 0), ("ann", 1234)):
            (self.root / "home" / name).mkdir()
            os.chown(self.root / "home" / name, uid, uid)
        self.daemon.write_text(json.dumps(self.settings, indent=4))
        if self.engine.process.answers():
            self.enter("sh", "-c", "kill -HUP $(cat /run/docker.pid)")

    @property
    def daemon(self):
        return self.root / "etc/docker/daemon.json"


def registry(root, host, **config):
    """The command that runs a docker-registry in the background."""
    config["http"] = {"addr": host, "secret": "s", **config.get("http", {})}
    storage = {"filesystem": {"rootdirectory": str(root / "blobs")}}
    file = root / f"registry-{host[-4:]}.yml"
    file.write_text(json.dumps({"version": 0.1, "log": {"level": "warn"}, "storage": storage, **config}))
    return f"docker-registry serve {file} &"


@pytest.fixture(scope="module", params=["docker-20.10", pytest.param("docker-28-containerd", marks=pytest.mark.wide)])
def site(request, tmp_path_factory):
    debs.ensure(["iproute2", "skopeo", "docker-registry", "podman", "crun"])
    root = tmp_path_factory.mktemp("site")
    authority = Authority(root / "ca")
    server = authority.issue("server", ADDRESS)
    for top in (*FOLDERS, "home"):
        (root / top.strip("/")).mkdir(parents=True)
    (root / "etc/passwd").write_text(f"root:x:0:0:root:{root}/home/root:/bin/sh\nann:x:1234:1234::{root}/home/ann:/bin/sh\n")
    (root / "htpasswd").write_text(f"reader:{engines.bcrypt(PASSWORD)}\n")
    tls = {"certificate": str(server.cert), "key": str(server.key)}
    with engines.start(request.param, root / "engine") as engine:
        engine.stop()
        machine = Machine(root, engine, authority, {**json.loads((engine.root / "daemon.json").read_text()), "insecure-registries": []})
        machine.reset()
        (engine.root / "daemon.json").unlink()
        (engine.root / "daemon.json").symlink_to("/etc/docker/daemon.json")
        script = [
            *(f"mount -n --bind {root}{path} {path}" for path in (*FOLDERS, "/etc/passwd")),
            f"ln -s {engine.socket} /run/docker.sock", "ip link set lo up", f"ip address add {ADDRESS}/32 dev lo",
            registry(root, GUARDED, http={"tls": tls}, auth={"htpasswd": {"realm": "stowage", "path": str(root / "htpasswd")}}),
            registry(root, OPEN),
            registry(root, MUTUAL, http={"tls": {**tls, "clientcas": [str(authority.cert)]}}),
            'exec "$@"',
        ]
        engine.process.command[:0] = ["unshare", "--net", "sh", "-ec", "\n".join(script), "machine"]
        engine.start()
        layout = write_layout(root / "layout", [APP])
        for name in ("app:1", "library/app:1"):
            push = ["skopeo", "--insecure-policy", "copy", "--retry-times", "5", "--dest-tls-verify=false"]
            machine.enter(*push, f"oci:{layout}", f"docker://{OPEN}/{name}")
        yield machine


@pytest.fixture
def machine(site):
    site.reset()
    return site


@pytest.fixture
def trust(prepared, machine):
    """Gives `trust(*options, **variables)`: runs the role on the machine."""

    def run(*options, **variables):
        play = {
            "hosts": "all", "gather_facts": False,
            "roles": [{"role": "stowage.oci.trust", "vars": {f"trust_{name}": value for name, value in variables.items()}}],
        }
        ready = prepared([play], {"machine": {}}, *options, ANSIBLE_PIPELINING="1")
        ready.command[:0] = ["nsenter", "--target", str(machine.engine.pid), "--mount", "--pid", "--net"]
        return ready.run()

    return run


def changed(run):
    assert run.code == 0, run.screen
    return [result.task for result in run.results if result.status == "changed"]


ALL = ["docker", "podman", "containerd"]


@pytest.mark.timeout(900)
def test_engines_trust_log_in_and_forget(machine, trust):
    name = f"{GUARDED}/app:1"
    variables = {
        "registry": GUARDED, "ca": str(machine.authority.cert), "engines": ALL,
        "logins": [{"username": "reader", "password": PASSWORD}, {"user": "ann", "username": "reader", "password": PASSWORD}],
    }
    before = machine.snapshot()
    assert all("x509" in machine.pull(engine, name) for engine in ALL)

    runs = [trust(*state, **variables) for state in STATES]
    assert changed(runs[0]) == changed(runs[1]) != []
    assert changed(runs[2]) == changed(runs[3]) == []
    assert all(PASSWORD not in run.screen for run in runs)
    assert "restart containerd (systemctl restart containerd)" in runs[1].screen
    assert [machine.pull(engine, name) for engine in ("docker", "podman")] == [None, None]
    assert machine.pull("docker", name, home="ann") is None
    assert "x509" not in machine.pull("containerd", name)  # ctr has no file of logins
    assert machine.pull("containerd", name, "--user", f"reader:{PASSWORD}") is None
    auth = machine.root / "home/ann/.docker/config.json"
    assert (auth.stat().st_mode & 0o777, auth.stat().st_uid) == (0o600, 1234)

    runs = [trust(*state, registry=GUARDED, state="absent") for state in STATES]
    assert changed(runs[0]) == changed(runs[1]) != []
    assert changed(runs[2]) == changed(runs[3]) == []
    assert machine.snapshot() == before
    assert all("x509" in machine.pull(engine, name) for engine in ALL)


@pytest.mark.wide
def test_images_of_others_come_from_an_insecure_mirror(machine, trust):
    """Docker takes it up without a restart."""
    name = "docker.io/library/app:1"
    before, pid = machine.snapshot(), machine.enter("cat", "/run/docker.pid").stdout
    assert None not in [machine.pull(engine, name) for engine in ALL]

    run = trust(registry=OPEN, insecure="plain_http", mirror_of=["docker.io"], engines=ALL)
    assert run.one(task="stowage.oci.trust : Have Docker read its settings again, which stops nothing").status == "changed"
    assert run.one(task="stowage.oci.trust : Have proof that Docker took them up").status == "ok"
    assert [machine.pull(engine, one) for engine in ALL for one in (name, f"{OPEN}/app:1")] == [None] * 6

    assert changed(trust(registry=OPEN, state="absent"))
    assert None not in [machine.pull(engine, name) for engine in ALL]
    assert machine.snapshot() == before and machine.enter("cat", "/run/docker.pid").stdout == pid


@pytest.mark.wide
def test_a_registry_and_mirror_that_asks_for_certificates(machine, trust):
    names = [f"{MUTUAL}/app:1", "docker.io/library/app:1"]
    client = machine.authority.issue("client")
    trusting = {"registry": MUTUAL, "ca": str(machine.authority.cert), "engines": ALL, "mirror_of": ["docker.io"]}
    assert changed(trust(**trusting))
    assert None not in [machine.pull(engine, name) for engine in ALL for name in names]

    run = trust("--diff", **trusting, client_certificate=str(client.cert), client_key=str(client.key))
    assert changed(run) and client.key.read_text().splitlines()[1] not in run.screen
    assert [machine.pull(engine, name) for engine in ALL for name in names] == [None] * 6
    keys = [path for path in machine.snapshot() if path.endswith("/stowage.key")]
    assert len(keys) == 3 and all((machine.root / key).stat().st_mode & 0o777 == 0o600 for key in keys)


def test_a_broken_daemon_json_is_left_untouched(machine, trust):
    machine.daemon.write_text('{\n  "debug": true,\n}\n')
    before = machine.snapshot()
    run = trust(registry=OPEN, insecure="plain_http", engines=["docker"])
    assert run.code == 2 and machine.snapshot() == before
    said = " ".join(run.screen.split())
    assert "/etc/docker/daemon.json is not valid JSON" in said and "line 3 column 1" in said and "repair it, then run again" in said


def test_what_may_not_be_reloaded_is_said(machine, trust):
    run = trust(registry=OPEN, insecure="plain_http", engines=["docker"], restart=False)
    assert changed(run) and "trust_restart is off: have Docker read daemon.json again (systemctl reload docker" in " ".join(run.screen.split())
    assert machine.pull("docker", f"{OPEN}/app:1")


def test_no_engine_is_an_error_and_one_to_come_is_none(machine, trust):
    run = trust(registry=OPEN, engines=["lxc"])
    assert run.code == 2 and "lxc" in run.screen
    run = trust("--check", registry=f"{ADDRESS}:1", insecure="unverified", engines=["containerd"])
    assert changed(run)
