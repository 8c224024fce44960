# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured: bench/results.json, an entry for each benchmark, and the tables that are made of it."""

from __future__ import annotations

import json
import statistics
import textwrap
from pathlib import Path
from typing import Any, Iterable, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "bench/results.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- bench: written by bench/bench.py -->\n", "<!-- /bench -->\n"

FIELDS = ("seconds", "cpu", "memory")
"""What each round gives of each contender: wall and CPU time in seconds, and MiB."""

Entry = dict[str, Any]


class Aim(NamedTuple):
    """`of` is to take at most so many times what `against` takes. `by`: one of FIELDS, or a number that `check` returns."""

    of: str
    against: str
    at_most: float
    by: str = "seconds"

    def judged(self, contenders: dict[str, Entry]) -> Entry:
        """With the ratio and whether the aim is met; what rounds give is compared round by round, which the machine's mood counts less in."""
        of, against = contenders[self.of], contenders[self.against]
        if self.by in FIELDS:
            place = FIELDS.index(self.by)
            ratio = statistics.median(ours[place] / theirs[place] for ours, theirs in zip(of["samples"], against["samples"]))
        else:
            ratio = of[self.by] / against[self.by]
        return {**self._asdict(), "ratio": round(ratio, 4), "met": ratio <= self.at_most}


def load() -> list[Entry]:
    return json.loads(FILE.read_text())["benchmarks"] if FILE.exists() else []


def replace(entry: Entry, order: Iterable[str]) -> None:
    """Let this entry be the one of its benchmark; others stay, but for those that are no more."""
    found = {known["name"]: known for known in [*load(), entry]}
    FILE.write_text(json.dumps({"benchmarks": [found[name] for name in order if name in found]}, indent=1, ensure_ascii=False) + "\n")


def table(entry: Entry, full: bool = False) -> str:
    """A line for each case that is a main one or has an aim, a cell for each contender: wall time, and what an aim is judged by.

    With `full` all that is known. Empty if there is no such case.
    """
    cases = [case for case in entry["cases"] if full or _counts(case)]
    if not cases:
        return ""
    names = list(dict.fromkeys(name for case in cases for name in case["contenders"]))
    judged = dict.fromkeys(aim["by"] for case in cases for aim in case["aims"])
    rows = [[entry["title"], *names, *["aim"] * bool(judged)]]
    for case in cases:
        found = [case["contenders"].get(name) for name in names]
        aims = ["; ".join(map(aimed, case["aims"]))] * bool(judged)
        rows.append([case["title"], *["" if one is None else _cell(one, judged, full) for one in found], *aims])
    rows.insert(1, ["---"] * len(rows[0]))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def aimed(aim: Entry) -> str:
    """``at most 1.5 times floor: 1.43, met``"""
    what = "" if aim["by"] == "seconds" else f"{aim['by'].replace('_', ' ')} "
    return f"{what}at most {aim['at_most']:g} times {aim['against']}: {aim['ratio']:.3g}, {'met' if aim['met'] else 'missed'}"


def text() -> str:
    """What stands in the README between BEGIN and END."""
    entries = [entry for entry in load() if any(map(_counts, entry["cases"]))]
    contenders = [found for entry in entries for case in entry["cases"] if _counts(case) for found in case["contenders"].values()]
    rounds = " or ".join(map(str, sorted({len(found["samples"]) for found in contenders}, reverse=True)))
    date = max(entry["date"] for entry in entries)
    machines = dict.fromkeys("{cores} cores, {memory_gib} GiB, {system}, Linux {kernel}".format(**entry["machine"]) for entry in entries)
    versions: dict[str, dict[str, None]] = {}
    for entry in entries:
        for name, version in entry["versions"].items():
            versions.setdefault(name, {})[version.partition("+")[0]] = None
    said = ", ".join(f"{name} {' and '.join(found)}" for name, found in versions.items())
    intro = (
        f"Wall time, as medians of {rounds} rounds in which all take turns, measured {date} on {' and '.join(machines)}, with {said}. "
        "Engines and registries are on the same machine, so a network would add to what sends more. "
        "A *floor* is what Ansible takes for nothing: a play of one `ping`, or as many as there are tasks; without a play, to hash all files. "
        "`make bench` gives these numbers and more cases, with CPU time and memory, and writes "
        "[bench/results.json](https://github.com/stowage/oci/blob/main/bench/results.json)."
    )
    picture = "![Time of each job beside other tools](https://raw.githubusercontent.com/stowage/oci/main/docs/bench.svg)\n"
    return "\n".join([picture, textwrap.fill(intro, 130, break_on_hyphens=False) + "\n", *map(table, entries)])


def publish() -> None:
    """Put the text into the README."""
    readme = README.read_text()
    begin, end = readme.index(BEGIN) + len(BEGIN), readme.index(END)
    README.write_text(readme[:begin] + text() + readme[end:])


def seconds(value: float) -> str:
    """Three digits, or two where they are small: ``0.015 s``, ``0.95 s``, ``23.9 s``, ``119 s``"""
    digits = next((digits for digits, below in ((3, 0.0995), (2, 9.995), (1, 99.95)) if value < below), 0)
    return f"{value:.{digits}f} s"


def _counts(case: Entry) -> bool:
    return bool(case["main"] or case["aims"])


def _cell(found: Entry, judged: Iterable[str], full: bool) -> str:
    keys = [key for key in found if key != "samples"] if full else [key for key in dict.fromkeys(["seconds", *judged]) if key in found]
    return ", ".join(_number(key, found[key]) for key in keys)


def _number(key: str, value: float) -> str:
    if key == "seconds":
        return seconds(value)
    if key == "cpu":
        return f"CPU {seconds(value)}"
    if key == "memory":
        return f"{value:.0f} MiB"
    if key.endswith("_bytes"):
        return f"{key[:-6]} {_size(value)}"
    return f"{key.replace('_', ' ')} {value:,}"


def _size(value: float) -> str:
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.2f} GB"
