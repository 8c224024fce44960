# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on three throw-away hosts: one bundle, and to each host only the layers that it lacks. Run it by `make demo`.

The playbook is site.yml, the hosts are in inventory.yml. Every number of the table is what the modules returned, and is held
against the bundle's own blobs and the engines' own API: what is not true ends the demo with an error. All that it makes lies
in one temporary folder and goes with it, also on Ctrl-C.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Iterable, NamedTuple

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
sys.path.insert(0, str(HERE.parent / "dev"))
import debs  # noqa: E402
import engines  # noqa: E402
import processes  # noqa: E402
import rootfs  # noqa: E402

HOSTS = ("host1", "host2", "host3")
BASE = "registry.example.com/shop/base:1"
WEB, WORKER = IMAGES = ("registry.example.com/shop/web:stable", "registry.example.com/shop/worker:stable")

BASE_BYTES = 110_000_000
"""What the files of the base add up to, or a little more."""

ROOM = 2 << 30
"""Bytes that the demo may need on disk: 1.1 GB at most were seen."""

BASE_DOCKERFILE = """
FROM scratch
COPY root/ /
ENV PATH=/usr/bin
CMD ["{python}", "/app.py"]
"""

APP_DOCKERFILE = f"""
FROM {BASE}
COPY app.py /app.py
"""

APP = """
import platform
print("{name}, version {version}, on Python", platform.python_version())
"""


class Failure(Exception):
    """The demo cannot go on, or showed something that is not true."""


class Row(NamedTuple):
    """A line of the table."""

    round: str
    host: str
    engine: str
    images: str
    held: int
    sent: int
    bytes: int
    seconds: float


@dataclass
class Demo:
    """What the rounds share: `fleet` is the engines by host, `bundled` the digests of all that bundles held so far."""

    folder: Path
    interrupts: processes.Interrupts
    fleet: dict[str, engines.Engine] = field(default_factory=dict)
    bundled: set[str] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def run(self, stack: ExitStack) -> None:
        self.say(f"everything happens in {self.folder}, which goes away at the end")
        kinds = self.kinds()
        self.say("starting an engine on each of three hosts, and one that builds")
        for host, kind in zip(("builder", *HOSTS), (kinds[0], *kinds)):
            with self.interrupts.held():
                self.fleet[host] = stack.enter_context(engines.start(kind, self.folder / host))
            self.detail(f"{host:7}  {_engine(self.fleet[host])}")
            require(not self.images(host), f"{host} has no image yet")

        self.say("building and installing the collection, as a user would")
        self.ansible("ansible-galaxy", "collection", "build", "--output-path", self.folder, HERE.parent)
        self.ansible("ansible-galaxy", "collection", "install", "--offline", "--collections-path", self.folder / "collections",
                     next(self.folder.glob("stowage-oci-*.tar.gz")))

        self.say("building two images on one base")
        self.build_base()
        self.build_app(WEB, 1)
        self.build_app(WORKER, 1)
        self.round("1 first", "the hosts have nothing")
        self.show()
        self.round("2 again", "nothing has changed")
        self.say("changing the application")
        self.build_app(WEB, 2)
        self.round("3 update", "one image has another layer")
        self.show()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def detail(self, text: str) -> None:
        print(f"{'':10}{text}", flush=True)

    # Engines

    def kinds(self) -> list[str]:
        """What the hosts run: Docker, Docker and Podman, or what of these can be had. debs.Unavailable or Failure if none can."""
        if os.geteuid():
            debs.ensure([*engines.RECIPES["podman"].packages, "uidmap"])
            require_namespaces()
            self.detail("not root: rootless Podman on every host")
            return ["podman"] * 3
        kinds = ["docker", "docker", "podman"]
        packages = [package for kind in kinds[1:] for package in engines.RECIPES[kind].packages]
        lacking = debs.missing(packages)
        if not lacking:
            return kinds
        self.say(f"installing {' '.join(lacking)} from the distribution; no service of them is started")
        try:
            with self.interrupts.held():
                debs.ensure(packages)
            return kinds
        except debs.Unavailable as error:
            have = [kind for kind in kinds[1:] if not debs.missing(engines.RECIPES[kind].packages)]
            if not have:
                raise
            self.detail(f"{error}: {have[0]} on every host")
            return have[:1] * 3

    def images(self, host: str) -> dict[str, str]:
        """Name -> ID of all that a host's engine lists."""
        return {name: image["Id"] for image in self.fleet[host].json("GET", "/images/json") for name in image["RepoTags"] or [image["Id"]]}

    # Images

    def build_base(self) -> None:
        with tarfile.open(self.folder / "context.tar", "w") as tar:
            tree = rootfs.Tree(tar)
            python = tree.fill(BASE_BYTES)
            add_text(tar, "Dockerfile", BASE_DOCKERFILE.format(python=python))
        require(tree.size >= BASE_BYTES, f"this machine's own files add up to {BASE_BYTES:,} bytes")
        self.build(BASE)
        self.detail(f"base: {tree.size:,} bytes in {len(tree.paths):,} files of this machine, with the Python that runs the application")

    def build_app(self, name: str, version: int) -> None:
        with tarfile.open(self.folder / "context.tar", "w") as tar:
            add_text(tar, "Dockerfile", APP_DOCKERFILE)
            add_text(tar, "app.py", APP.format(name=short(name), version=version))
        self.build(name)
        self.detail(f"{name}: version {version}")

    def build(self, name: str) -> None:
        with open(self.folder / "context.tar", "rb") as body:
            answer = self.fleet["builder"].call("POST", f"/build?t={name}&rm=1", body, {"Content-Type": "application/x-tar"})
        errors = [line["error"] for line in map(json.loads, answer.splitlines()) if "error" in line]
        if errors:
            raise Failure(f"{name} was not built: {errors[0]}")

    # Rounds

    def round(self, title: str, why: str) -> None:
        """Bundle what the builder has and preload the three hosts; what the modules say of it must be true."""
        before = {host: self.images(host) for host in HOSTS}
        self.say(f"round {title[0]}, {why}: ansible-playbook -i demo/inventory.yml demo/site.yml")
        screen = self.ansible(
            "ansible-playbook", "-i", HERE / "inventory.yml", HERE / "site.yml",
            "-e", json.dumps({"demo_folder": str(self.folder), "demo_images": IMAGES}),
        )
        results = json.loads((self.folder / "results.json").read_text())
        blobs, layers = contents(self.folder / "bundle.tar")
        new = blobs.keys() - self.bundled
        self.bundled |= new
        bundle = results["builder"]
        require(bundle["changed"] == bool(new), f"the bundle: changed={bundle['changed']}")
        what = "written" if new else "as it was"
        self.detail(f"bundle: {what}, {bundle['size']:,} bytes, {len(layers)} layers of {len(IMAGES)} images, each once")
        recap = {host: int(changed) for host, changed in re.findall(r"^(\w+) +: .*changed=(\d+)", screen, re.M)}
        self.detail("Ansible's recap: " + ", ".join(f"{host} changed={recap[host]}" for host in HOSTS))
        for host in HOSTS:
            result = results[host]
            row = self.row(title, host, result)
            require(row.bytes == sum(blobs[digest] for digest in new), f"{host} was sent {row.bytes:,} bytes, what is new in the bundle")
            require(row.sent == len(new & layers), f"{host} was sent {row.sent} layers, the new ones")
            require(result["changed"] == bool(new), f"{host}: changed={result['changed']}")
            require(recap[host] == int(bool(new)), f"{host}: changed={recap[host]} in Ansible's recap")
            require((self.images(host) == before[host]) != bool(new), f"{host}: the engine lists other images: {bool(new)}")
            for image in result["images"]:
                self.compare(host, image)
            self.rows.append(row)

    def row(self, title: str, host: str, result: dict[str, Any]) -> Row:
        images = result["images"]
        actions = ", ".join(f"{number} {action}" for action, number in Counter(image["action"] for image in images).items())
        sent = sum(image["layers_sent"] for image in images)
        held = sum(image["layers"] for image in images) - sent
        return Row(title, host, _engine(self.fleet[host]), actions, held, sent, result["sent_bytes"], result["seconds"])

    def compare(self, host: str, image: dict[str, Any]) -> None:
        """The engine of the host names by this reference the very image that was built."""
        name = image["reference"]
        built, found = (self.fleet[one].json("GET", f"/images/{name}/json") for one in ("builder", host))
        require(found["Id"] == built["Id"] == image["image_id"], f"{name} on {host} is what was built")
        require(found["RootFS"]["Layers"] == built["RootFS"]["Layers"], f"{name} on {host} has the layers that were built")

    def show(self) -> None:
        """What the application says of itself, run by each host."""
        expected = self.fleet["builder"].run(WEB)
        for host in HOSTS:
            said = self.fleet[host].run(WEB)
            require(said == expected, f"{host} runs the application that was built")
            self.detail(f"{host} runs {short(WEB)}: {said.strip()}")

    # Ansible

    def ansible(self, program: str, *args: Any) -> str:
        """Run one of Ansible's programs, without the user's settings, and return what it prints; if it fails, show that and raise Failure."""
        for name in ("home", "tmp"):
            (self.folder / name).mkdir(exist_ok=True)
        config = self.folder / "ansible.cfg"
        config.touch()
        environ = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_CONFIG": str(config),
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_REMOTE_TEMP": str(self.folder / "tmp"),
        }
        screen = self.folder / "screen"
        code = processes.run([BIN / program, *args], environ, screen, self.interrupts)
        text = screen.read_text(encoding="utf-8")
        if code:
            print(text, file=sys.stderr)
            raise Failure(f"{program} failed, see above")
        return text


def _engine(engine: engines.Engine) -> str:
    return f"{engine.family.capitalize()} {engine.version.partition('+')[0]}"


def short(name: str) -> str:
    """``web`` of ``registry.example.com/shop/web:stable``."""
    return name.rpartition("/")[2].partition(":")[0]


def require(true: bool, claim: str) -> None:
    if not true:
        raise Failure(f"this should be true and is not: {claim}")


def require_namespaces() -> None:
    """Failure if an ordinary user cannot have what rootless Podman needs."""
    done = subprocess.run([*processes.unshare("--map-root-user"), "--map-auto", "--mount", "--pid", "--fork", "--mount-proc", "true"],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        why = " ".join(done.stderr.split())
        raise Failure(f"rootless Podman does not run here ({why}): it needs unprivileged user namespaces, "
                      "and a line for this user in each of /etc/subuid and /etc/subgid; or run the demo as root")


def add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(text.encode())
    tar.addfile(member, io.BytesIO(text.encode()))


def contents(bundle: Path) -> tuple[dict[str, int], set[str]]:
    """What is in a bundle, read by hand: digest -> size of every blob, and the digests of the layers."""
    with tarfile.open(bundle) as tar:
        blobs = {f"sha256:{Path(member.name).name}": member.size for member in tar if member.name.startswith("blobs/sha256/")}

        def read(name: str) -> Any:
            return json.load(tar.extractfile(name))

        manifests = [read(f"blobs/sha256/{entry['digest'].partition(':')[2]}") for entry in read("index.json")["manifests"]]
    return blobs, {layer["digest"] for manifest in manifests for layer in manifest["layers"]}


def table(rows: Iterable[Row]) -> str:
    lines = [("round", "host", "engine", "images", "layers held", "layers sent", "bytes sent", "seconds")]
    lines += [(*row[:4], str(row.held), str(row.sent), f"{row.bytes:,}", f"{row.seconds:.1f}") for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(cell.ljust(width) if number < 4 else cell.rjust(width) for number, (cell, width) in enumerate(zip(line, widths)))
        for line in lines
    )


def main() -> int:
    interrupts = processes.Interrupts()
    place = os.environ.get("TMPDIR") or "/var/tmp"
    try:
        if not (BIN / "ansible-playbook").exists():
            raise Failure(f"no ansible-playbook beside {sys.executable}: run this by `make demo`")
        if shutil.disk_usage(place).free < ROOM:
            raise Failure(f"{place} has less than {ROOM >> 30} GB free: set TMPDIR to a folder on a larger disk")
        with ExitStack() as stack:
            with interrupts.held():
                folder = Path(stack.enter_context(TemporaryDirectory(prefix="stowage-", dir=place)))
            demo = Demo(folder, interrupts)
            try:
                demo.run(stack)
            finally:
                with interrupts.held():
                    stack.close()
    except KeyboardInterrupt:
        print("interrupted; all that the demo made is gone", file=sys.stderr)
        return 128 + (interrupts.number or signal.SIGINT)
    except (Failure, debs.Unavailable, engines.StartError, engines.CallError, OSError, subprocess.SubprocessError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    demo.say("all that the demo made is gone")
    print(f"\n{table(demo.rows)}\n\nLayers are counted for each image: the first round sends the base once, and then both images have it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
