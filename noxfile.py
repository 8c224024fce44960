# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""The rings of tests, one session each; what follows `--` goes to pytest: `nox -s unit -- -k reference`.

Each leaves junit files in .cache/results, named after the ring.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Iterator, Sequence
from xml.sax.saxutils import quoteattr

import nox

ROOT = Path(__file__).resolve().parent
CACHE = ROOT / ".cache"
REAL = ["busybox-static", "docker.io", "podman", "crun", "docker-registry", "skopeo"]
RESULTS = CACHE / "results"
GET_PIP = """
import subprocess, sys
subprocess.check_call([sys.executable, "-m", "ensurepip"])
packages = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *packages]))
"""

sys.path.insert(0, str(ROOT / "dev"))
import debs  # noqa: E402
import engines  # noqa: E402
import fleet  # noqa: E402
import fleet_scenarios  # noqa: E402
import peers  # noqa: E402
import pythons  # noqa: E402

nox.options.sessions = ["lint", "sanity", "unit", "contract", "integration"]
nox.options.default_venv_backend = "none"
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


@nox.session
def lint(session: nox.Session) -> None:
    """ansible-lint with the profile production, and the shape of the changelog fragments."""
    cases = []
    with _collection() as collection:
        paths = f"{collection.parents[2]}:{_peers(session)}"
        environ = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": paths, "ANSIBLE_HOME": str(CACHE / "lint")}
        for command in (["ansible-lint", "--nocolor"], ["antsibull-changelog", "lint"]):
            failed = subprocess.run(command, cwd=collection, env=environ, check=False).returncode
            cases.append(f"<testcase name={quoteattr(' '.join(command))}>{'<failure/>' * bool(failed)}</testcase>")
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "lint.xml").write_text(f"<testsuite name='lint'>{''.join(cases)}</testsuite>")
    if "<failure/>" in "".join(cases):
        session.error("see above")


@nox.session
def sanity(session: nox.Session) -> None:
    """ansible-test sanity under every Python from 3.8 to 3.13 that this machine has."""
    _ensure(session, ["shellcheck"])
    environ = {"HOME": str(_ansible_test_home()), "PATH": f"{_python_folder()}:{os.environ['PATH']}"}
    with _collection() as collection, session.chdir(collection):
        try:
            session.run("ansible-test", "sanity", "--venv", "--color", "no", "--junit", *session.posargs, env=environ)
        finally:
            RESULTS.mkdir(parents=True, exist_ok=True)
            for file in collection.glob("tests/output/junit/*.xml"):
                if "No tests applicable" not in file.read_text():  # about files of kinds that we have none of
                    shutil.copy(file, RESULTS / f"sanity-{file.name}")


@nox.session
def unit(session: nox.Session) -> None:
    """The unit tests under the oldest and the newest Python from 3.8 to 3.13 that this machine has."""
    found = list(pythons.found())
    _units(session, found[:1] + found[1:][-1:])


@nox.session
def matrix(session: nox.Session) -> None:
    """The unit tests under every Python from 3.8 to 3.13 that this machine has, and the tests that are marked `wide`."""
    _units(session, pythons.VERSIONS)
    _real(session, REAL, "-m", "wide", "tests/contract", "tests/integration")


def _units(session: nox.Session, versions: Sequence[str]) -> None:
    found = {version: python for version, python in pythons.found().items() if version in versions}
    lacking = [version for version in pythons.VERSIONS if version not in found]
    session.log(f"Under Python {' '.join(found)}; not under {' '.join(lacking) or 'no other'}")
    failed = []
    for version, python in found.items():
        environ = {}
        if version in ("3.8", "3.9", "3.10"):
            environ["PYTHONPATH"] = str(_host_ansible(session))
        command = [_venv(session, version, python), "-m", "pytest", "tests/unit", f"--junitxml={RESULTS}/unit-{version}.xml"]
        done = subprocess.run([*command, *session.posargs], env={**os.environ, **environ}, check=False)
        failed += [version] if done.returncode else []
    if failed:
        session.error(f"failed under Python {', '.join(failed)}")


@nox.session
def contract(session: nox.Session) -> None:
    """The clients against real engines and a real registry."""
    _real(session, REAL, "tests/contract")


@nox.session
def integration(session: nox.Session) -> None:
    """Playbooks with the built and installed collection on real engines."""
    _real(session, [*REAL, "openssh-server"], "tests/integration")


@nox.session
def molecule(session: nox.Session) -> None:
    """Molecule's scenarios on fleets of whole hosts, with the built and installed collection; all, or those that are named.

    Each runs on Debian 12; where all run, `default` on Debian 13 too.
    """
    _root(session)
    wanted = session.posargs or fleet_scenarios.names()
    cases = []
    with _collection() as collection, TemporaryDirectory() as folder:
        environ = {"ANSIBLE_HOME": f"{folder}/ansible", "ANSIBLE_COLLECTIONS_PATH": folder}
        session.run("ansible-galaxy", "collection", "build", "--output-path", folder, str(collection), env=environ, silent=True)
        built = str(next(Path(folder).glob("stowage-oci-*.tar.gz")))
        session.run("ansible-galaxy", "collection", "install", "--offline", "--collections-path", folder, built, env=environ, silent=True)
        for suite, names in (("bookworm", wanted), ("trixie", [] if session.posargs else ["default"])):
            if names:
                try:
                    with fleet.start("molecule", suite, Path(folder)) as found:
                        cases += fleet_scenarios.test(names, found, suite)
                except (debs.Unavailable, engines.StartError) as error:
                    session.error(f"could not run the ring molecule: {error}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "molecule.xml").write_text(fleet_scenarios.junit(cases))
    failed = [f"{case.scenario}: {case.step}" for case in cases if case.failure is not None]
    if failed:
        session.error(f"failed: {'; '.join(failed)}")


@contextmanager
def _collection() -> Iterator[Path]:
    """The collection in its place below ansible_collections, outside the work tree: a copy of what git tracks, or would."""
    with TemporaryDirectory() as folder:
        collection = Path(folder, "ansible_collections/stowage/oci")
        command = ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0"):
            if (ROOT / name).is_file():
                (collection / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, collection / name)
        yield collection


def _real(session: nox.Session, packages: list[str], *arguments: str) -> None:
    """Run the ring of the session's name: it needs these Debian packages, and root to run engines as a host does."""
    _root(session)
    _ensure(session, packages)
    session.run("python", "-m", "pytest", *arguments, f"--junitxml={RESULTS}/{session.name}.xml", *session.posargs)


def _root(session: nox.Session) -> None:
    if os.geteuid():
        session.error(f"could not run the ring {session.name}: it needs root")


def _ensure(session: nox.Session, packages: list[str]) -> None:
    try:
        debs.ensure(packages)
    except debs.Unavailable as error:
        session.error(f"could not run the ring {session.name}: {error}")


def _peers(session: nox.Session) -> Path:
    try:
        return peers.collections()
    except debs.Unavailable as error:
        session.error(f"could not run the ring {session.name}: {error}")


def _python_folder() -> Path:
    """A folder with a link python3.N for each Python: ansible-test looks for them on its PATH."""
    folder = CACHE / "sanity/bin"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for version, path in pythons.found().items():
        (folder / f"python{version}").symlink_to(path)
    return folder


def _venv(session: nox.Session, version: str, python: str) -> Path:
    """The interpreter of this Python's virtual environment for unit tests, made or brought up to date if need be."""
    requirements = [ROOT / "requirements.txt", ROOT / "tests/unit/requirements.txt"]
    wanted = "".join(file.read_text() for file in requirements)
    folder = CACHE / f"unit/{version}"
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        session.run(python, "-m", "venv", "--clear", str(folder), external=True)
        session.run(str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "--requirement", str(requirements[-1]))
        stamp.write_text(wanted)
    return folder / "bin/python"


def _host_ansible(session: nox.Session) -> Path:
    """A folder with ansible-core alone, for Pythons on which it runs on hosts but does not install."""
    folder = CACHE / "unit/ansible-core"
    if not folder.exists():
        requirement = re.search(r"^ansible-core[^;]*", (ROOT / "tests/unit/requirements.txt").read_text(), re.M)[0]
        session.run("pip", "install", "--quiet", "--no-deps", "--target", str(folder), requirement, external=True)
    return folder


def _ansible_test_home() -> Path:
    """A home for ansible-test: its cache holds what it would download, Python's own ensurepip in place of get-pip.

    ansible-test hides the environment and the user's home from pip, so its settings come along too; the environment's win.
    """
    source = _output("python", "-c", "import ansible_test; print(ansible_test.__path__[0])").strip()
    version = re.search(r"pip='([\d.]+)'", Path(source, "_internal/python_requirements.py").read_text())[1]
    settings = dict(re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", "\n".join(reversed(_output("pip", "config", "list").splitlines())), re.M))
    home = CACHE / "sanity/home"
    files = {
        f".ansible/test/cache/get_pip_{version.replace('.', '_')}.py": GET_PIP,
        ".config/pip/pip.conf": "[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()),
    }
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    return home


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
