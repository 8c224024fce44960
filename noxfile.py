# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""The rings of tests, one session each; what follows `--` goes to pytest: `nox -s unit -- -k reference`.

Each leaves junit files in .cache/results, named after the ring. The session `core` is several, one for each release of ansible-core:
`nox -s "core(2.20)" -- unit` runs a part of one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Callable, Iterator, Mapping, Sequence
from xml.sax.saxutils import quoteattr

import nox
from nox.command import CommandFailed

ROOT = Path(__file__).resolve().parent
CACHE = ROOT / ".cache"
REAL = ["busybox-static", "docker.io", "podman", "crun", "docker-registry", "skopeo"]
RESULTS = CACHE / "results"
UNIT = ["--requirement", str(ROOT / "tests/unit/requirements.txt")]
PLAYBOOKS = ["image_load", "image_load_pythons", "pin"]
PAGES = ["antsibull-docs>=2.20,<3", "sphinx>=7,<10", "sphinx-ansible-theme>=0.10,<1"]
IMPORTER = ["galaxy-importer>=0.4.40,<1"]
STRICT = {"GALAXY_IMPORTER_CHECK_REQUIRED_TAGS": "true", "GALAXY_IMPORTER_RUN_ANSIBLE_LINT": "false"}
"""Settings of galaxy-importer: as strict as Galaxy, and without ansible-lint, which has run by then."""
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
    """What reads and runs nothing: ansible-lint, types, changelog, the pages of modules and roles, and the importer of Galaxy.

    A warning fails too.
    """
    cases = []
    with _collection() as collection, TemporaryDirectory() as folder:
        paths = f"{collection.parents[2]}:{_peers(session)}"
        caches = {"ANSIBLE_HOME": str(CACHE / "lint"), "MYPY_CACHE_DIR": str(CACHE / "mypy")}
        environ = {**os.environ, **STRICT, **caches, "ANSIBLE_COLLECTIONS_PATH": paths}
        importer = _venv(session, "lint/importer", pythons.CORES[pythons.CORE], [*IMPORTER, _core(pythons.CORE)])
        commands = [
            ["ansible-lint", "--nocolor"],
            ["mypy", "--no-color-output"],
            ["antsibull-changelog", "lint"],
            ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "."],
            [importer, "-m", "galaxy_importer.main", _built(session, collection, Path(folder))],
        ]
        for command in commands:
            done = subprocess.run(command, cwd=collection, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            failed = done.returncode or re.search("^(WARNING|ERROR)", done.stdout, re.M)
            name = " ".join(Path(word).name for word in command)
            print(name, done.stdout if failed else "found nothing", sep="\n", flush=True)
            cases.append(f"<testcase name={quoteattr(name)}>{'<failure/>' * bool(failed)}</testcase>")
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "lint.xml").write_text(f"<testsuite name='lint'>{''.join(cases)}</testsuite>")
    if "<failure/>" in "".join(cases):
        session.error("see above")


@nox.session
def sanity(session: nox.Session) -> None:
    """ansible-test sanity under every Python from 3.8 to 3.13 that this machine has."""
    _sanity(session, "sanity", Path(sys.executable), *session.posargs)


def _sanity(session: nox.Session, ring: str, python: Path, *arguments: str) -> None:
    """With the ansible-core of this Python."""
    _ensure(session, ["shellcheck"])
    own = CACHE / ring
    environ = {"HOME": str(_ansible_test_home(own, python)), "PATH": f"{python.parent}:{_python_folder(own)}:{os.environ['PATH']}"}
    with _collection() as collection, session.chdir(collection):
        try:
            session.run(str(python.parent / "ansible-test"), "sanity", "--venv", "--color", "no", "--junit", *arguments, env=environ, external=True)
        finally:
            RESULTS.mkdir(parents=True, exist_ok=True)
            for file in collection.glob("tests/output/junit/*.xml"):
                if "No tests applicable" not in file.read_text():  # about files of kinds that we have none of
                    shutil.copy(file, RESULTS / f"{ring}-{file.name}")


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


@nox.session
@nox.parametrize("release", list(pythons.CORES), ids=list(pythons.CORES))
def core(session: nox.Session, release: str) -> None:
    """A release of ansible-core on a Python of its own: all unit tests, modules as hosts run them, playbooks, sanity; or what is named of these."""
    version = pythons.CORES[release]
    if version not in pythons.found():
        session.error(f"could not run {session.name}: no Python {version} here")
    python = _controller(session, release, version)
    host, environ = _host(session, release, _output(str(python), str(ROOT / "dev/pythons.py")).split()[0])
    ring = f"core-{release}"
    parts = {
        "unit": partial(_pytest, session, f"{ring}-unit", python, "tests/unit"),
        "host": partial(_pytest, session, f"{ring}-host", host, "tests/unit/modules", **environ),
        "integration": partial(_playbooks, session, f"{ring}-integration", python),
        "sanity": partial(_sanity, session, ring, python),
    }
    _all(session, {part: parts[part] for part in session.posargs or parts})


def _units(session: nox.Session, versions: Sequence[str]) -> None:
    found = [version for version in pythons.found() if version in versions]
    lacking = [version for version in pythons.VERSIONS if version not in found]
    session.log(f"Under Python {' '.join(found)}; not under {' '.join(lacking) or 'no other'}")
    _all(session, {version: partial(_unit, session, version) for version in found})


def _unit(session: nox.Session, version: str) -> None:
    controls = pythons.VERSIONS.index(version) >= pythons.VERSIONS.index(pythons.CORES[pythons.CORE])
    python, environ = (_controller(session, pythons.CORE, version), {}) if controls else _host(session, pythons.CORE, version)
    _pytest(session, f"unit-{version}", python, "tests/unit", *session.posargs, **environ)


@nox.session
def contract(session: nox.Session) -> None:
    """The clients against real engines and a real registry."""
    _real(session, REAL, "tests/contract")


@nox.session
def integration(session: nox.Session) -> None:
    """Playbooks with the built and installed collection on real engines."""
    _real(session, [*REAL, "openssh-server", "chromium", "chromium-driver"], "tests/integration")


@nox.session
def molecule(session: nox.Session) -> None:
    """Molecule's scenarios on fleets of whole hosts, with the built and installed collection; all, or those that are named.

    Each runs on Debian 12; where all run, `default` on Debian 13 too.
    """
    _root(session)
    wanted = session.posargs or fleet_scenarios.names()
    cases = []
    with _collection() as collection, TemporaryDirectory() as folder:
        built = _built(session, collection, Path(folder))
        environ = {"ANSIBLE_HOME": f"{folder}/ansible", "ANSIBLE_COLLECTIONS_PATH": folder}
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


@nox.session
def docs(session: nox.Session) -> None:
    """The pages of modules, plugins and roles, as HTML in .cache/docs; a warning fails."""
    pages = CACHE / "docs"
    programs = _venv(session, "docs/venv", pythons.CORES[pythons.CORE], [*PAGES, _core(pythons.CORE)]).parent
    shutil.rmtree(pages / "rst", ignore_errors=True)
    (pages / "rst").mkdir(mode=0o755)
    with _collection() as collection:
        paths = f"{collection.parents[2]}:{_peers(session)}"
        environ = {"PATH": f"{programs}:{os.environ['PATH']}", "ANSIBLE_COLLECTIONS_PATH": paths, "ANSIBLE_HOME": str(pages / "ansible")}
        options = ["--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", str(pages / "rst"), "stowage.oci"]
        session.run(str(programs / "antsibull-docs"), "collection", *options, env=environ, external=True)
    # References to Ansible's own pages lead nowhere without a network; those within the collection the ring lint has proved.
    facts = {
        "project": "stowage.oci", "extensions": "sphinx_antsibull_ext", "html_theme": "sphinx_ansible_theme", "suppress_warnings": "ref.ref",
    }
    settings = [word for pair in facts.items() for word in ("-D", "=".join(pair))]
    options = ["-q", "-C", "-E", "-W", "--keep-going", *settings]
    session.run(str(programs / "sphinx-build"), *options, str(pages / "rst"), str(pages / "html"), env=environ, external=True)


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


def _built(session: nox.Session, collection: Path, folder: Path) -> str:
    """The tar.gz file that a user installs."""
    environ = {"ANSIBLE_HOME": f"{folder}/ansible"}
    session.run("ansible-galaxy", "collection", "build", "--output-path", str(folder), str(collection), env=environ, silent=True)
    return str(next(folder.glob("stowage-oci-*.tar.gz")))


def _all(session: nox.Session, steps: Mapping[str, Callable[[], None]]) -> None:
    """Each step, whatever became of the one before."""
    failed = []
    for name, step in steps.items():
        try:
            step()
        except CommandFailed:
            failed.append(name)
    if failed:
        session.error(f"failed: {', '.join(failed)}")


def _pytest(session: nox.Session, name: str, python: Path, *arguments: str, **environ: str) -> None:
    session.run(str(python), "-m", "pytest", *arguments, f"--junitxml={RESULTS}/{name}.xml", env=environ, external=True)


def _real(session: nox.Session, packages: list[str], *arguments: str) -> None:
    """Run the ring of the session's name: it needs these Debian packages, and root to run engines as a host does."""
    _root(session)
    _ensure(session, packages)
    _pytest(session, session.name, Path(sys.executable), *arguments, *session.posargs)


def _playbooks(session: nox.Session, name: str, python: Path) -> None:
    """Some of the ring integration, with another ansible-core than its own."""
    _root(session)
    _ensure(session, REAL)
    _pytest(session, name, python, *(f"tests/integration/test_{one}.py" for one in PLAYBOOKS))


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


def _python_folder(own: Path) -> Path:
    """A folder with a link python3.N for each Python: ansible-test looks for them on its PATH."""
    folder = own / "bin"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for version, path in pythons.found().items():
        (folder / f"python{version}").symlink_to(path)
    return folder


def _core(release: str) -> str:
    return f"ansible-core=={release}.*"


def _controller(session: nox.Session, release: str, version: str) -> Path:
    """The interpreter of a virtual environment of this Python that has this release of ansible-core."""
    return _venv(session, f"core/{release}-{version}", version, [*UNIT, _core(release)])


def _host(session: nox.Session, release: str, version: str) -> tuple[Path, dict[str, str]]:
    """The interpreter of one that has no more of ansible-core than a module finds on a host, and the environment to use it in."""
    folder = CACHE / f"unit/ansible-core-{release}"
    if not folder.exists():
        options = ["--quiet", "--no-deps", "--ignore-requires-python", "--target", str(folder)]
        session.run("pip", "install", *options, _core(release), external=True)
    return _venv(session, f"unit/{version}", version, UNIT), {"PYTHONPATH": str(folder)}


def _venv(session: nox.Session, name: str, version: str, wanted: Sequence[str]) -> Path:
    """The interpreter of a virtual environment of this Python in the cache, made or brought up to date if need be."""
    texts = [(ROOT / file).read_text() for file in ("requirements.txt", "tests/unit/requirements.txt")]
    signature = "".join([*texts, *wanted])
    folder = CACHE / name
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != signature:
        session.run(pythons.found()[version], "-m", "venv", "--clear", str(folder), external=True)
        session.run(str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", *wanted, external=True)
        stamp.write_text(signature)
    return folder / "bin/python"


def _ansible_test_home(own: Path, python: Path) -> Path:
    """A home for this Python's ansible-test: its cache holds what it would download, Python's own ensurepip in place of get-pip.

    ansible-test hides the environment and the user's home from pip, so its settings come along too; the environment's win.
    """
    source = _output(str(python), "-c", "import ansible_test; print(ansible_test.__path__[0])").strip()
    version = re.search(r"pip='([\d.]+)'", Path(source, "_internal/python_requirements.py").read_text())[1]
    settings = dict(re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", "\n".join(reversed(_output("pip", "config", "list").splitlines())), re.M))
    home = own / "home"
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
