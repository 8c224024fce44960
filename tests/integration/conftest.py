# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""Integration tests run playbooks with the built and installed collection, against real engines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, NamedTuple

import debs
import engines
import pytest
import sshd
from ansible_collections.stowage.oci.tests.unit.images import write_layout
from ansible_collections.stowage.oci.tests.real import *  # noqa: F401,F403  # pylint: disable=wildcard-import,unused-wildcard-import

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


class Result(NamedTuple):
    """What a task came to on a host: `status` is ok, changed, failed, ignored, unreachable or skipped."""

    host: str
    task: str
    status: str
    result: dict[str, Any]


@dataclass
class Run:
    """An ended ansible-playbook: its exit code, its screen (stdout and stderr), and the results in their order."""

    code: int
    screen: str
    results: list[Result]

    def one(self, host: str | None = None, task: str | None = None) -> Result:
        """The only result of this host and task; a test names no more than it needs to."""
        found = [result for result in self.results if host in (None, result.host) and task in (None, result.task)]
        assert len(found) == 1, f"{len(found)} results\n{self.screen}"
        return found[0]


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as a user would build it: a tar.gz file."""
    folder = tmp_path_factory.mktemp("artifact")
    _galaxy(folder, "build", "--output-path", folder, ROOT)
    return next(folder.glob("stowage-oci-*.tar.gz"))


@pytest.fixture(scope="session")
def collections(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collections path that holds the installed collection."""
    folder = tmp_path_factory.mktemp("collections")
    _galaxy(folder, "install", "--offline", "--collections-path", folder, artifact)
    return folder


@dataclass
class Prepared:
    """An ansible-playbook that has not run yet; `folder` is the test's own, which is its home too."""

    command: list[Any]
    environ: dict[str, str]
    folder: Path

    @property
    def results(self) -> list[Result]:
        """Those so far, in their order."""
        return [Result(**json.loads(line)) for line in (self.folder / "record.jsonl").read_text().splitlines()]

    def run(self) -> Run:
        done = subprocess.run(
            self.command, env=self.environ, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        return Run(done.returncode, done.stdout, self.results)

    def start(self) -> subprocess.Popen[str]:
        """In a session of its own, with pipes for what it writes; to be waited for, or killed, by the caller."""
        pipe = subprocess.PIPE
        return subprocess.Popen(self.command, env=self.environ, cwd=self.folder, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


@pytest.fixture
def prepared(collections: Path, tmp_path: Path) -> Callable[..., Prepared]:
    """Gives `prepared(plays, hosts, *options, **environ)`: see `playbook`."""

    def prepare(plays: list[dict] | str, hosts: Mapping[str, Mapping[str, Any]], *options: str, **environ: str) -> Prepared:
        record = tmp_path / "record.jsonl"
        record.write_text("")
        inventory = {"all": {"hosts": hosts, "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}}
        (tmp_path / "inventory.yml").write_text(json.dumps(inventory))
        if not isinstance(plays, str):
            (tmp_path / "playbook.yml").write_text(json.dumps(plays))
            plays = str(tmp_path / "playbook.yml")
        settings = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "LC_ALL": "C.UTF-8",
            "STOWAGE_RECORD": str(record),
            "ANSIBLE_CALLBACKS_ENABLED": "record",
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback"),
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_HOME": str(tmp_path / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
            **environ,
        }
        return Prepared([BIN / "ansible-playbook", "-i", tmp_path / "inventory.yml", plays, *options], settings, tmp_path)

    return prepare


@pytest.fixture
def playbook(prepared: Callable[..., Prepared]) -> Callable[..., Run]:
    """Gives `playbook(plays, hosts, *options, **environ)`, which runs ansible-playbook in the test's own folder.

    `plays`: a list of plays, or the name of a playbook of the collection. `hosts`: name -> variables; by default each host is
    this machine under this Python, over the connection `local`.
    """
    return lambda *args, **environ: prepared(*args, **environ).run()


@pytest.fixture
def offer(registry: engines.Registry, tmp_path: Path) -> Callable[..., str]:
    """Gives `offer(name, image)`, which pushes an image with skopeo; the reference."""
    debs.ensure(["skopeo"])

    def push(name: str, made: Any) -> str:
        folder = write_layout(tmp_path / f"push-{made.digest[7:19]}", [made])
        target = f"{registry.host}/{name}"
        options = ["--all", "--preserve-digests", "--quiet", "--dest-tls-verify=false"]
        subprocess.run(["skopeo", "--insecure-policy", "copy", *options, f"oci:{folder}", f"docker://{target}"], check=True)
        return target

    return push


@pytest.fixture(scope="session", name="sshd")
def _sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The variables of a machine that is reached over ssh as root: see dev/sshd.py."""
    with sshd.start(tmp_path_factory.mktemp("sshd")) as variables:
        yield variables


def _galaxy(home: Path, *args: Any) -> None:
    """Run ansible-galaxy collection with a home of its own."""
    environ = {**os.environ, "ANSIBLE_HOME": str(home / "ansible"), "ANSIBLE_COLLECTIONS_PATH": str(home)}
    subprocess.run([BIN / "ansible-galaxy", "collection", *args], env=environ, check=True)
