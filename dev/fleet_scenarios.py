# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""Runs molecule's scenarios on a fleet that is up, and keeps what became of each step for a junit file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable, Iterator, Mapping
from xml.sax.saxutils import escape, quoteattr

ROOT = Path(__file__).resolve().parents[1]
STEP = re.compile(r"^(?:INFO|WARNING|ERROR) +\[(?P<scenario>\S+) > (?P<step>\S+)\] (?P<state>Executing|Executed: (?P<outcome>.*))$")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")

LINES = 200
"""How many of the last lines of a step that failed are kept."""


@dataclass
class Case:
    """One step of a scenario. `failure`: what it printed, if it failed."""

    scenario: str
    step: str
    seconds: float = 0.0
    failure: str | None = None


@dataclass
class Recorder:
    """Learns from the lines that molecule prints which steps ran and what became of them."""

    scenario: str
    cases: list[Case] = field(default_factory=list)
    _step: str | None = None
    _begun: float = 0.0
    _lines: list[str] = field(default_factory=list)

    def line(self, text: str, now: float) -> None:
        text = COLOUR.sub("", text)
        found = STEP.match(text)
        if not found:
            self._lines.append(text)
        elif found["state"] == "Executing":
            self._step, self._begun, self._lines = found["step"], now, []
        elif self._step:
            if not found["outcome"].startswith("Missing playbook"):
                self._close(now, failed=not found["outcome"].startswith("Successful"))
            self._step, self._lines = None, []

    def end(self, code: int, now: float) -> None:
        """Molecule has ended: a step under way has failed, and so has a run without a step, or one that failed in none."""
        if self._step:
            self._close(now, failed=True)
        elif not self.cases or code and all(case.failure is None for case in self.cases):
            self._step = "molecule"
            self._close(now, failed=True)

    def _close(self, now: float, failed: bool) -> None:
        text = "\n".join(self._lines[-LINES:]) if failed else None
        self.cases.append(Case(self.scenario, self._step or "", now - self._begun if self._begun else 0.0, text))


def names() -> list[str]:
    """All scenarios that run on the fleet; one with a create.yml of its own makes its own hosts."""
    folders = (file.parent for file in (ROOT / "molecule").glob("*/molecule.yml"))
    return sorted(folder.name for folder in folders if not (folder / "create.yml").exists())


def test(wanted: Iterable[str], environ: Mapping[str, str], label: str) -> list[Case]:
    """Run each scenario's whole test; a failure ends its scenario and no other. `label` goes into the cases' scenario names."""
    cases = []
    for name in wanted:
        recorder = Recorder(f"{name} {label}")
        command = ["molecule", "--base-config", "molecule/config.yml", "test", "--scenario-name", name, "--no-command-borders"]
        with _running(command, environ) as process:
            for line in process.stdout:
                print(line, end="", flush=True)
                recorder.line(line.rstrip("\n"), time.monotonic())
        recorder.end(process.returncode, time.monotonic())
        cases += recorder.cases
    return cases


def junit(cases: Iterable[Case]) -> str:
    """The cases as a junit file."""
    return f"<testsuite name='molecule'>{''.join(map(_testcase, cases))}</testsuite>\n"


def _testcase(case: Case) -> str:
    failure = "" if case.failure is None else f"<failure>{escape(_printable(case.failure))}</failure>"
    return f"<testcase classname={quoteattr(case.scenario)} name={quoteattr(case.step)} time='{case.seconds:.1f}'>{failure}</testcase>"


def _printable(text: str) -> str:
    """The text without what XML has no way to write."""
    return re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd]", "", text)


@contextmanager
def _running(command: list[str], environ: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The command in a session of its own; whatever happens to us, all of it has ended at the end."""
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environ, "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
    )
    try:
        yield process
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        process.wait()
        process.stdout.close()
