# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""Debian packages for tests and demo: installed where they belong to this system, unpacked beside it where they do not.

By hand: `python3 dev/debs.py PACKAGE...` installs those that are missing.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Iterable, Iterator, Mapping

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stowage.oci"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# stowage.oci: no service starts while its tools install packages\nexit 101\n"

# Packages that other vendors provide too: the command counts, not the package's name.
COMMANDS = {"docker.io": "dockerd", "openssh-server": "sshd", "podman": "podman", "runc": "runc", "uidmap": "newuidmap"}


class Unavailable(Exception):
    """A package cannot be had here. The text says in one line what to do."""


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the lock `name` of the cache folder: one process at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def which(command: str) -> str | None:
    """The path of a command, also where an ordinary user's PATH has no sbin."""
    return shutil.which(command, path=os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin")


def ensure(packages: Iterable[str]) -> None:
    """Install the packages that this machine lacks, starting none of their services; Unavailable if that cannot be done."""
    packages = list(packages)
    if not missing(packages):
        return
    with lock("install"):
        lacking = missing(packages)
        if not lacking:
            return
        if os.geteuid() or not shutil.which("apt-get"):
            raise Unavailable(f"missing: {' '.join(lacking)}. As root on Debian or Ubuntu: apt-get install {' '.join(lacking)}")
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        with no_services():
            run(["apt-get", "update", "-qq"], env=environ)
            run(["apt-get", "install", "-qq", "--no-install-recommends", *lacking], env=environ)


def missing(packages: Iterable[str]) -> list[str]:
    """Those of the packages that are not installed."""
    return [package for package in packages if not _installed(package)]


@contextmanager
def no_services() -> Iterator[None]:
    """Forbid that packages start services meanwhile; a policy of the administrator's own stays as it is."""
    if POLICY.exists() and POLICY.read_text() != POLICY_TEXT:
        yield
        return
    POLICY.write_text(POLICY_TEXT)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def docker(major: int) -> Path:
    """The folder that holds Docker of this major version and its containerd, from Debian's unstable suite.

    Fetched once into the cache; `usr/bin` and `usr/sbin` below it hold the programs. Unavailable if the suite has another
    major version by now, or cannot be reached.
    """
    return _unpacked({"docker": "docker.io", "containerd": "containerd"}, ["docker-cli", "docker-buildx"], f"{major}.")


def crane() -> Path:
    """The program crane, from Debian's unstable suite, fetched once into the cache; Unavailable if it cannot be reached."""
    return _unpacked({"crane": "crane"}) / "usr/bin/crane"


def _unpacked(named: Mapping[str, str], more: Iterable[str] = (), version: str = "") -> Path:
    """The folder NAME-VERSION_NAME-VERSION of the cache with packages of the unstable suite, those of `named` (name -> package)
    in its name; the first must have a version that begins so."""
    first = next(iter(named))
    with lock("debs"):
        cached = sorted(CACHE.glob(f"debs/{first}-{version or '[0-9]'}*"))
        return cached[-1] if cached else _fetch(named, more, version)


def _fetch(named: Mapping[str, str], more: Iterable[str], version: str) -> Path:
    with TemporaryDirectory(dir=CACHE) as folder:
        apt = Suite(Path(folder), "unstable")
        found = {name: apt.version(package) for name, package in named.items()}
        first = next(iter(found))
        if not found[first].startswith(version):
            tree = f"{CACHE}/debs/{first}-{version}x"
            raise Unavailable(f"Debian unstable has {first} {found[first]}, no longer {version}x; put an older tree at {tree}")
        tree = Path(folder) / "tree"
        apt.unpack([*named.values(), *more], tree)
        target = CACHE / "debs" / "_".join(f"{name}-{version}" for name, version in found.items())
        target.parent.mkdir(exist_ok=True)
        return tree.rename(target)


class Suite:
    """One suite of this machine's Debian mirror, read with an apt configuration of its own in `folder`."""

    def __init__(self, folder: Path, suite: str) -> None:
        if not shutil.which("apt-get") or not KEYRING.exists():
            raise Unavailable("packages of another suite need apt and debian-archive-keyring: this is no Debian")
        for name in ("state/lists/partial", "cache/archives/partial", "debs"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n")
        (folder / "apt.conf").write_text(
            f'Dir::State "{folder}/state"; Dir::State::status "{folder}/status"; Dir::Cache "{folder}/cache";\n'
            f'Dir::Etc::sourcelist "{folder}/sources.list"; Dir::Etc::sourceparts "-"; Dir::Etc::preferencesparts "-";\n'
            'Acquire::Languages "none"; APT::Sandbox::User "root";\n'
        )
        self._folder = folder
        self._apt("apt-get", "update", "-qq")

    def version(self, package: str) -> str:
        """The version that the suite has, e.g. '28.5.2+dfsg4-5'."""
        found = re.search(r"Candidate: (?:\d+:)?(\S+)", self._apt("apt-cache", "policy", package))
        if not found or found[1] == "(none)":
            raise Unavailable(f"the suite has no package {package}")
        return found[1]

    def unpack(self, packages: Iterable[str], tree: Path) -> None:
        """Download the packages and unpack their files into `tree`; none of their scripts runs."""
        self._apt("apt-get", "download", "-qq", *packages)
        for deb in (self._folder / "debs").iterdir():
            run(["dpkg-deb", "-x", deb, tree])

    def required(self) -> list[str]:
        """The packages without which the suite is no system."""
        paragraphs = self._apt("apt-cache", "dumpavail").split("\n\n")
        found = [dict(re.findall(r"^(Package|Priority|Essential): (.*)$", text, re.M)) for text in paragraphs]
        return sorted({one["Package"] for one in found if one.get("Priority") == "required" or one.get("Essential") == "yes"})

    def closure(self, packages: Iterable[str], folder: Path) -> None:
        """Download the packages and all that they depend on into `folder`, which is made."""
        self._apt("apt-get", "install", "-qq", "--download-only", "--no-install-recommends", *packages)
        (self._folder / "cache/archives").rename(folder)
        for name in ("lock", "partial"):
            run(["rm", "-r", folder / name])

    def _apt(self, command: str, *args: str) -> str:
        environ = {**os.environ, "APT_CONFIG": str(self._folder / "apt.conf"), "LC_ALL": "C"}
        return run([command, *args], cwd=self._folder / "debs", env=environ)


def mirror() -> str:
    """The Debian mirror that this machine's own apt uses: the one that serves its releases, thus all suites."""
    for refresh in (False, os.geteuid() == 0):
        if refresh:
            run(["apt-get", "update", "-qq"])
        for line in run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(SUITE) $(ORIGIN)"]).splitlines():
            uri, suite, *origin = line.split()
            if origin == ["Debian"] and not suite.endswith("-security"):
                return uri
    raise Unavailable("this machine's apt knows no Debian mirror (has `apt-get update` run?)")


def _installed(package: str) -> bool:
    if package in COMMANDS:
        return which(COMMANDS[package]) is not None
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    return bool(shutil.which("dpkg-query")) and subprocess.run(query, capture_output=True, text=True, check=False).stdout == "installed"


def run(command: list, **options) -> str:
    """Run a command and return what it prints; Unavailable with its own words if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise Unavailable(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


if __name__ == "__main__":
    try:
        ensure(sys.argv[1:])
    except Unavailable as error:
        sys.exit(str(error))
