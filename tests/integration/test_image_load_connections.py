# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""image_load over every kind of connection, as every kind of user: the image arrives, and nothing of the way stays behind."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import debs
import engines
import pytest
from ansible_collections.stowage.oci.plugins.module_utils._flow.staging import default_root
from ansible_collections.stowage.oci.plugins.plugin_utils._pieces import FIRST
from ansible_collections.stowage.oci.tests.unit.images import image, layer, write_layout

# Several pieces, and five blobs that go together.
BIG = layer({"big": random.Random(1).randbytes(4 * FIRST + 1000)})
APP = image([BIG, layer({"app": b"1"})], names=["registry.example.com/app:1"])
TOOL = image([BIG], names=["registry.example.com/tool:1"])
BLOBS = {**APP.blobs, **TOOL.blobs}

PASSWORD = "open sesame"
PIPELINING = {"ansible_pipelining": True}
SUDO = {"ansible_become": True}
ASKED = {**SUDO, "ansible_become_password": PASSWORD}

# Name of the case: the user who logs in over ssh, or the connection; and further variables.
CASES = {
    "local": ("local", {}),
    "local, pipelining": ("local", PIPELINING),
    "local, to an ordinary user": ("local", {**SUDO, "become_to": "other"}),
    "files alone": ("plain", {}),
    "files alone, to an ordinary user": ("plain", {**SUDO, "become_to": "other"}),
    "ssh": ("root", {}),
    "ssh, pipelining": ("root", PIPELINING),
    "ssh, a connection for each command": ("root", {"ansible_ssh_args": "-o ControlMaster=no -o ControlPath=none"}),
    "ordinary user": ("trusted", {}),
    "sudo": ("trusted", SUDO),
    "sudo, pipelining": ("trusted", {**SUDO, **PIPELINING}),
    "sudo with a password": ("asked", ASKED),
    "sudo with a password, pipelining": ("asked", {**ASKED, **PIPELINING}),
    "sudo that wants a terminal": ("watched", SUDO),
    "sudo to an ordinary user": ("trusted", {**SUDO, "become_to": "other"}),
    "sudo to an ordinary user, pipelining": ("trusted", {**SUDO, **PIPELINING, "become_to": "other"}),
    "su with a password": ("trusted", {**ASKED, "ansible_become_method": "su", "become_to": "other"}),
}
# Together they have each connection, each way to another user, and both ways to start a module.
MAIN = (
    "local", "files alone, to an ordinary user", "ssh, pipelining", "sudo that wants a terminal", "sudo with a password, pipelining",
    "sudo to an ordinary user", "su with a password",
)


@pytest.fixture(scope="session")
def tcp(tmp_path_factory):
    """The address of an engine that every user of this machine may use."""
    with engines.start("docker-20.10", tmp_path_factory.mktemp("tcp") / "engine", tcp_port=0) as engine:
        yield engine


@pytest.fixture(scope="session")
def users(sshd):
    """Ordinary users by role, of whom sudo asks nothing (trusted), a password (asked), a terminal (watched), or whom it refuses."""
    debs.ensure(["acl", "sudo"])
    names = {role: f"stowage-{role}-{os.getpid()}" for role in ("trusted", "asked", "watched", "other")}
    rules = Path(f"/etc/sudoers.d/stowage-{os.getpid()}")
    try:
        for name in names.values():
            subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", name], check=True)
            subprocess.run(["chpasswd"], input=f"{name}:{PASSWORD}\n", text=True, check=True)
            keys = Path(f"~{name}/.ssh/authorized_keys").expanduser()
            keys.parent.mkdir(mode=0o755)
            shutil.copy(f"{sshd['ansible_ssh_private_key_file']}.pub", keys)
            keys.chmod(0o644)
        rules.write_text(
            f"{names['trusted']} ALL=(ALL) NOPASSWD: ALL\n{names['asked']} ALL=(ALL) ALL\n"
            f"{names['watched']} ALL=(ALL) NOPASSWD: ALL\nDefaults:{names['watched']} requiretty\n"
        )
        rules.chmod(0o440)
        yield names
    finally:
        rules.unlink(missing_ok=True)
        for name in names.values():
            subprocess.run(["userdel", "--force", "--remove", name], check=False, capture_output=True)


@pytest.fixture
def bundle(tmp_path):
    return write_layout(tmp_path / "bundle.tar", [APP, TOOL])


def load(bundle, tcp):
    tcp.wipe()
    return [{"hosts": "all", "gather_facts": False, "tasks": [{"stowage.oci.image_load": {"src": str(bundle), "engine_host": tcp.tcp}}]}]


def arrived(run, tcp):
    assert run.code == 0, run.screen
    assert run.one().status == "changed"
    assert run.one().result["sent_bytes"] == sum(map(len, BLOBS.values()))
    assert run.one().result["sent_blobs"] == len(BLOBS)
    assert {tag for one in tcp.json("GET", "/images/json") for tag in one["RepoTags"]} == {*APP.names, *TOOL.names}


def left_behind(users, tcp, tmp_path):
    """Files that a task has left in the places where Ansible and we keep such."""
    homes = [Path(f"~{name}/.ansible/tmp").expanduser() for name in users.values()] + [tmp_path / "remote"]
    found = [path for home in homes if home.exists() for path in home.iterdir()]
    staged = "stowage.oci-*/" + Path(default_root(tcp.tcp, None)).name
    return found + [path for name in ("ansible-tmp-*", staged) for path in Path("/var/tmp").glob(name)]


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in MAIN else pytest.mark.wide) for name in CASES])
def test_the_image_arrives(playbook, sshd, users, tcp, bundle, tmp_path, name):
    user, more = CASES[name]
    variables = {"ansible_connection": user} if user in ("local", "plain") else {**sshd, "ansible_user": users.get(user, user)}
    variables.update(more)
    if "become_to" in more:
        variables["ansible_become_user"] = users[more["become_to"]]
    environ = {"ANSIBLE_CONNECTION_PLUGINS": str(Path(__file__).parent / "connection")}
    if user in users or "become_to" in more:
        variables["ansible_python_interpreter"] = "/usr/bin/python3"
    if user in users:
        environ["ANSIBLE_REMOTE_TEMP"] = "~/.ansible/tmp"
    before = left_behind(users, tcp, tmp_path)
    run = playbook(load(bundle, tcp), {"machine": variables}, **environ)

    arrived(run, tcp)
    assert left_behind(users, tcp, tmp_path) == before


@pytest.mark.parametrize("pipelining", [False, True])
def test_on_the_own_machine_of_an_ordinary_user_whom_sudo_asks(prepared, users, tcp, bundle, tmp_path, pipelining):
    """A terminal is on the standard input then; ansible-playbook itself runs as that user."""
    name = users["asked"]
    home = Path(f"~{name}").expanduser()
    variables = {**ASKED, "ansible_pipelining": pipelining, "ansible_python_interpreter": "/usr/bin/python3"}
    one = prepared(load(bundle, tcp), {"machine": variables}, ANSIBLE_HOME=str(home / "ansible"), ANSIBLE_REMOTE_TEMP=str(home / ".ansible/tmp"))
    # The tests and this Python may lie where only root can read; sudo and what it runs do not inherit that.
    reads = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--securebits=+no_setuid_fixup"]
    one.command[:0] = ["setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups", *reads, sys.executable]
    one.environ["HOME"] = str(home)
    shutil.chown(tmp_path / "record.jsonl", name)
    tmp_path.chmod(0o777)
    before = left_behind(users, tcp, tmp_path)

    arrived(one.run(), tcp)
    assert left_behind(users, tcp, tmp_path) == before


def test_says_what_the_host_says_when_it_cannot_write(playbook, sshd, tcp, bundle, tmp_path):
    """A staging folder that is full: it is seen before anything is sent, and if it fills up meanwhile the shell's reason is told."""
    disk = tmp_path / "disk"
    disk.mkdir()
    # As many bytes as the host will ask for, and no folders and names for them.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=17m,nr_inodes=5", "tmpfs", disk], check=True)
    try:
        plays = load(bundle, tcp)
        plays[0]["tasks"][0]["stowage.oci.image_load"]["staging_dir"] = str(disk)
        run = playbook(plays, {"machine": {}})
        assert run.one().status == "failed"
        assert run.one().result["msg"].startswith(f"{disk}/stowage.oci-0/")
        assert "cannot be written on the host: " in run.one().result["msg"]
        assert "No space left on device" in run.one().result["msg"]

        subprocess.run(["mount", "-o", "remount,size=10m", disk], check=True)
        run = playbook(plays, {"machine": {}})
        assert run.one().status == "failed"
        assert run.one().result["msg"].startswith("staging what is sent needs 16.8 MB in ")
    finally:
        subprocess.run(["umount", disk], check=True)
