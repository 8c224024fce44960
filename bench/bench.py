# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's modules against the tools that people use for the same, side by side. Run it by `make bench`.

Each of BENCHMARKS is a file here with a title and `cases`. Of every case each contender runs once to warm up, then all run in
turn for ROUNDS rounds; medians count. A contender is one command: its wall time, its CPU time with all that it starts, and
the most memory that one process of it had, each measured around it from outside.

All results go to bench/results.json, and as a table to stdout. `python bench/bench.py from_registry` runs one benchmark and
prints it alone. Everything else that it makes lies in one temporary folder and goes with it.
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
from typing import Any, Callable, Iterable, NamedTuple

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT / "dev")]
import debs  # noqa: E402
import peers  # noqa: E402

BENCHMARKS = ("from_registry", "into_registry", "across_registries", "catalog", "builds")
ROUNDS = 5
RESULTS = HERE / "results.json"


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
    title: str
    contenders: list[Contender]


class Sample(NamedTuple):
    """Seconds of wall and CPU time, and MiB."""

    seconds: float
    cpu: float
    memory: float


def module(name: str, **params: Any) -> Command:
    """A module of the collection as a plain process of this Python."""
    return Command([sys.executable, str(HERE / "plain.py"), name], json.dumps(params))


def play(folder: Path, task: dict[str, Any]) -> Command:
    """A play of one task on this machine; the checkout and the peers are its collections, and what Ansible writes goes below `folder`."""
    ours = folder / "collections/ansible_collections/stowage/oci"
    if not ours.exists():
        ours.parent.mkdir(parents=True)
        ours.symlink_to(ROOT)
    text = json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}])
    playbook = folder / f"play-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    playbook.write_text(text)
    settings = {
        "COLLECTIONS_PATH": f"{folder}/collections:{peers.collections()}",
        "HOME": folder / "ansible",
        "REMOTE_TEMP": folder / "remote",
        "PYTHON_INTERPRETER": sys.executable,
        "NOCOLOR": "1",
    }
    program = str(Path(sys.executable).parent / "ansible-playbook")
    return Command(["env", *(f"ANSIBLE_{key}={value}" for key, value in settings.items()), program, "-i", "localhost,", "-c", "local", str(playbook)])


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
    for number in range(rounds + 1):
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


def table(results: Iterable[dict[str, Any]]) -> str:
    """For the README: a line for each case, the medians of each contender."""
    lines = []
    for benchmark in results:
        names = list(benchmark["cases"][0]["contenders"])
        lines += [f"| {benchmark['title']} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        for case in benchmark["cases"]:
            cells = [
                f"{found['seconds']:.2f} s, CPU {found['cpu']:.2f} s, {found['memory']:.0f} MiB" if found else ""
                for found in (case["contenders"].get(name) for name in names)
            ]
            lines.append(f"| {case['title']} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def surroundings() -> dict[str, Any]:
    """What the numbers depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    manifest = peers.collections() / "ansible_collections/community/docker/MANIFEST.json"
    versions = {
        "python": platform.python_version(),
        "requests": importlib.import_module("requests").__version__,
        "ansible-core": importlib.import_module("ansible.release").__version__,
        "community.docker": json.loads(manifest.read_text())["collection_info"]["version"],
        "crane": debs.crane().parents[2].name.partition("-")[2],
        "docker": debs.docker(28).name.partition("-")[2].partition("_")[0],
        **{package: _printed("dpkg-query", "-W", "-f", "${Version}", package) for package in ("skopeo", "docker-registry")},
    }
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "machine": {"cores": os.cpu_count(), "memory_gib": round(memory), "system": system, "kernel": platform.release().partition("-")[0]},
        "versions": versions,
        "rounds": ROUNDS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the modules beside other tools.")
    parser.add_argument("benchmark", nargs="*", choices=[*BENCHMARKS, []], help="all of them, if none is named")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="fewer are for a look: results.json is written with %(default)s alone")
    options = parser.parse_args()
    chosen = options.benchmark or BENCHMARKS
    debs.ensure(["docker-registry", "skopeo"])
    results = []
    for name in chosen:
        benchmark = importlib.import_module(name)
        found: dict[str, Any] = {"name": name, "title": benchmark.TITLE, "cases": []}
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="stowage-bench-")))
            for case in benchmark.cases(folder, stack):
                print(f"{benchmark.TITLE}: {case.title}", file=sys.stderr, flush=True)
                found["cases"].append({"title": case.title, "contenders": run(case, options.rounds)})
        results.append(found)
        print(table([found]), flush=True)
    if set(chosen) == set(BENCHMARKS) and options.rounds == ROUNDS:
        RESULTS.write_text(json.dumps({**surroundings(), "benchmarks": results}, indent=1) + "\n")


def _medians(samples: list[Sample]) -> dict[str, float]:
    return {field: round(statistics.median(getattr(sample, field) for sample in samples), 3) for field in Sample._fields}


def _printed(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
