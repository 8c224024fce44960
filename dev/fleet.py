# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""A fleet for molecule: an engine of its own whose containers are whole hosts, with systemd and engines inside and no way out.

By hand: `python dev/fleet.py up` keeps one up until Ctrl-C and prints what a shell needs to run ansible-playbook and molecule on it;
`python dev/fleet.py run COMMAND...` ends it after the command. `--name` tells several fleets apart.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parent))
import debs  # noqa: E402
import engines  # noqa: E402
import fleet_image  # noqa: E402
import peers  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]


def root(name: str) -> Path:
    """The folder of the fleet of this name: it exists while the fleet is up."""
    return Path(tempfile.gettempdir()) / f"stowage-fleet-{name}"


@contextmanager
def start(name: str, suite: str, collections: Path | None = None) -> Iterator[dict[str, str]]:
    """Run the fleet's engine with the image of its hosts; nothing is left at the end. Gives the environment for Ansible and molecule.

    `collections`: the path with the collection under test; by default it is this work tree as it is at any time.
    """
    archive = fleet_image.archive(suite)
    with _alone(name) as folder, engines.start("docker", folder, networks=True) as engine:
        options = [("fromSrc", "-"), *zip(("repo", "tag"), fleet_image.name(suite).rsplit(":", 1)), *(("changes", line) for line in fleet_image.CHANGES)]
        with open(archive, "rb") as file:
            engine.call("POST", f"/images/create?{urlencode(options)}", file, {"Content-Type": "application/x-tar"})
        yield {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "FLEET_ENGINE": engine.url,
            "DOCKER_HOST": engine.url,
            "FLEET_IMAGE": fleet_image.name(suite),
            "ANSIBLE_COLLECTIONS_PATH": f"{collections or _linked(folder)}:{peers.collections()}",
            "ANSIBLE_HOME": str(folder / "ansible"),
            "MOLECULE_GLOB": str(ROOT / "molecule/*/molecule.yml"),
        }


def _linked(folder: Path) -> Path:
    path = folder / "collections/ansible_collections/stowage/oci"
    path.parent.mkdir(parents=True)
    path.symlink_to(ROOT)
    return folder / "collections"


@contextmanager
def _alone(name: str) -> Iterator[Path]:
    """The folder for the only fleet of this name, not there yet; one that is just ending is waited for."""
    folder = root(name)
    if engines.pings(folder):
        raise engines.StartError(f"a fleet of this name is up: {folder}")
    with debs.lock(f"fleet-{name}"):
        if folder.exists():  # its starter was killed: the engine ends by itself, the folder stays
            _await_end(folder)
            engines.drop_cgroups(folder)
            shutil.rmtree(folder)
        yield folder


def _await_end(folder: Path) -> None:
    end = time.monotonic() + engines.START_SECONDS
    while any(f"{folder}/lib".encode() in words for words in _commands()):  # the first process of the engine's namespaces has it as an argument
        if time.monotonic() > end:
            raise engines.StartError(f"the engine in {folder} does not end")
        time.sleep(0.1)


def _commands() -> Iterator[list[bytes]]:
    """The words of every command that runs on this machine."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # ended meanwhile
            yield file.read_bytes().split(b"\0")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default=os.environ.get("FLEET", "molecule"), help="default: FLEET of the environment, or molecule")
    parser.add_argument("--suite", default="bookworm", choices=fleet_image.SUITES)
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("up", help="keep the engine up until Ctrl-C; prints lines for a shell")
    commands.add_parser("run", help="run a command, then end it all").add_argument("words", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts us in the background has it ignored
    try:
        with start(options.name, options.suite) as found:
            if options.command == "run":
                return subprocess.run(options.words, env={**os.environ, **found}, check=False).returncode
            print(*(f"export {key}={shlex.quote(value)}" for key, value in found.items()), sep="\n", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        return 130
    except (debs.Unavailable, engines.StartError) as error:
        return sys.exit(str(error))


if __name__ == "__main__":
    sys.exit(main())
