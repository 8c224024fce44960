# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's modules against the tools that people use for the same, side by side. Run it by `make bench`.

Each of BENCHMARKS is a file here with a title and `cases`. Of every case each contender runs once to warm up, then all run in
turn for ROUNDS rounds; medians count. A contender is one command: its wall time, its CPU time with all that it starts, and
the most memory that one process of it had, each measured around it from outside.

Each benchmark's results take the place of its former ones in bench/results.json, and from there go into the README's tables and
docs/bench.svg. `python bench/bench.py unchanged` runs one alone. Everything else lies in a temporary folder and goes with it.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import importlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Callable, Mapping, NamedTuple

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT / "dev")]
import chart  # noqa: E402
import debs  # noqa: E402
import peers  # noqa: E402
import results  # noqa: E402
from results import Aim  # noqa: E402

BENCHMARKS = ("unchanged", "preload", "from_registry", "into_registry", "across_registries", "builds", "catalog", "controller")
ROUNDS = 5


class Command(NamedTuple):
    """What is measured: a program with its arguments, and what it reads on stdin."""

    argv: list[str]
    stdin: str = ""


class Contender(NamedTuple):
    """`prepare` sets the scene, unmeasured, and gives the command; `check` gets its stdout and raises if the job is not done.

    What `check` returns is kept beside the measurements.
    """

    name: str
    prepare: Callable[[], Command]
    check: Callable[[str], dict[str, int] | None] = lambda _printed: None


class Case(NamedTuple):
    """The first contender is ours, and the second its peer, unless that is the same in another way. `main`: shown in README and chart.

    `rounds`: at most so many, for a command that does the same for many and takes minutes.
    """

    title: str
    contenders: list[Contender]
    aims: tuple[Aim, ...] = ()
    main: bool = True
    rounds: int | None = None


class Sample(NamedTuple):
    """results.FIELDS"""

    seconds: float
    cpu: float
    memory: float


def module(name: str, **params: Any) -> Command:
    """A module of the collection as a plain process of this Python."""
    return Command([sys.executable, str(HERE / "plain.py"), name], json.dumps(params))


def play(folder: Path, *tasks: dict[str, Any], hosts: Mapping[str, Mapping[str, Any]] | None = None) -> Command:
    """A play of these tasks on this machine, or on all `hosts` (name -> variables) at once.

    The checkout and the peers are its collections, and what Ansible writes goes below `folder`.
    """
    ours = folder / "collections/ansible_collections/stowage/oci"
    if not ours.exists():
        ours.parent.mkdir(parents=True)
        ours.symlink_to(ROOT)
    hosts = hosts or {"localhost": {"ansible_connection": "local"}}
    playbook = _written(folder, "play", [{"hosts": "all", "gather_facts": False, "tasks": list(tasks)}])
    inventory = _written(folder, "hosts", {"all": {"hosts": hosts}})
    settings = {
        "COLLECTIONS_PATH": f"{folder}/collections:{peers.collections()}",
        "HOME": folder / "ansible",
        "REMOTE_TEMP": folder / "remote",
        "PYTHON_INTERPRETER": sys.executable,
        "NOCOLOR": "1",
        "FORKS": len(hosts),
    }
    program = str(Path(sys.executable).parent / "ansible-playbook")
    return Command(["env", *(f"ANSIBLE_{key}={value}" for key, value in settings.items()), program, "-i", str(inventory), str(playbook)])


def skopeo(folder: Path, *args: str) -> Command:
    """skopeo copy, with a memory of its own in `folder`: else it would know from former rounds which repository has which blob."""
    shutil.rmtree(folder, ignore_errors=True)
    own = ["env", "_CONTAINERS_ROOTLESS_UID=1", f"XDG_DATA_HOME={folder}"]
    return Command([*own, "skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", *args])


def succeeded(*keys: str) -> Callable[[str], dict[str, int]]:
    """A check that the module did not fail; these returned numbers are kept."""

    def check(printed: str) -> dict[str, int]:
        result = json.loads(printed)
        assert not result.get("failed"), result["msg"]
        return {key: result[key] for key in keys}

    return check


def run(case: Case, rounds: int) -> dict[str, Any]:
    """The case's measurements by contender; the first round only warms up."""
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in case.contenders}
    told: dict[str, dict[str, int]] = {}
    for number in range(min(rounds, case.rounds or rounds) + 1):
        for contender in case.contenders:
            sample, printed = measure(contender.prepare())
            told[contender.name] = contender.check(printed) or {}
            if number:
                samples[contender.name].append(sample)
    return {
        name: {**_medians(found), **told[name], "samples": [[round(value, 3) for value in sample] for sample in found]}
        for name, found in samples.items()
    }


def measure(command: Command) -> tuple[Sample, str]:
    """Run the command below a small process: its memory would count as the command's own until that has begun."""
    with TemporaryDirectory() as folder:
        report = Path(folder, "report")
        watched = [sys.executable, "-I", "-S", str(HERE / "measured.py"), str(report), *command.argv]
        done = subprocess.run(watched, input=command.stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command.argv)} ended with exit code {done.returncode}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        return Sample(*json.loads(report.read_text())), done.stdout


def surroundings() -> dict[str, Any]:
    """What the numbers depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    collections = peers.collections() / "ansible_collections"
    versions = {
        "python": platform.python_version(),
        "requests": importlib.import_module("requests").__version__,
        "ansible-core": importlib.import_module("ansible.release").__version__,
        **{name: _collection(collections / name.replace(".", "/")) for name in ("community.docker", "containers.podman")},
        "crane": debs.crane().parents[2].name.partition("-")[2],
        "docker": debs.docker(28).name.partition("-")[2].partition("_")[0],
        **{name: _printed("dpkg-query", "-W", "-f", "${Version}", name) for name in ("skopeo", "docker-registry", "podman") if debs.which(name)},
    }
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "machine": {"cores": os.cpu_count(), "memory_gib": round(memory), "system": system, "kernel": platform.release().partition("-")[0]},
        "versions": versions,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the modules beside other tools.")
    parser.add_argument("benchmark", nargs="*", choices=[*BENCHMARKS, []], help="all of them, if none is named")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="fewer than %(default)s are for a look, and nothing is written")
    parser.add_argument("--table", action="store_true", help="measure nothing, print the README's tables")
    parser.add_argument("--chart", action="store_true", help="measure nothing, write docs/bench.svg")
    options = parser.parse_args()
    if options.table:
        print(results.text(), end="")
    if options.chart:
        chart.write()
    if not options.table and not options.chart:
        for name in options.benchmark or BENCHMARKS:
            entry = benchmark(name, options.rounds)
            print(results.table(entry, full=True), flush=True)
            if options.rounds >= ROUNDS:
                results.replace(entry, BENCHMARKS)
        if options.rounds >= ROUNDS:
            chart.write()
            results.publish()


def benchmark(name: str, rounds: int) -> results.Entry:
    """Run one; the entry that results.json has for it."""
    debs.ensure(["docker-registry", "skopeo"])
    file = importlib.import_module(name)
    cases = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="stowage-bench-")))
        for case in file.cases(folder, stack):
            print(f"{file.TITLE}: {case.title}", file=sys.stderr, flush=True)
            found = run(case, rounds)
            cases.append({"title": case.title, "main": case.main, "contenders": found, "aims": [aim.judged(found) for aim in case.aims]})
    return {"name": name, "title": file.TITLE, **surroundings(), "rounds": rounds, "cases": cases}


def _written(folder: Path, kind: str, document: Any) -> Path:
    """A file of its own for each document; JSON is YAML."""
    text = json.dumps(document)
    path = folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    path.write_text(text)
    return path


def _medians(samples: list[Sample]) -> dict[str, float]:
    return {field: round(statistics.median(getattr(sample, field) for sample in samples), 3) for field in Sample._fields}


def _collection(folder: Path) -> str:
    return json.loads((folder / "MANIFEST.json").read_text())["collection_info"]["version"]


def _printed(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
