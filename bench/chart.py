# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/bench.svg: a row for each main case of bench/results.json, with a mark for each time on a scale that is the same in all rows.

A case's first contender is ours, and the first of the others is the one that the ratio is of. What is ours in another way
(`NAME, folder`), and what stands beside that (`OTHER, folder`), is left to the tables.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple
from xml.etree import ElementTree

import results

FILE = results.ROOT / "docs/bench.svg"
FLOOR = "floor"

WIDTH, LEFT, RIGHT = 1000, 350, 680
ROW, HEAD, TOP, MARGIN = 27, 52, 78, 20

STYLE = """
text { font: 14px -apple-system, BlinkMacSystemFont, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 20px; font-weight: 600 } .head { font-size: 15px; font-weight: 600 } .ratio { font-weight: 600 }
.quiet, .scale { fill: #59636e } .scale { font-size: 12px } .end { text-anchor: end } .middle { text-anchor: middle }
.grid { stroke: #d1d9e0 } .line { stroke: #d1d9e0; stroke-width: 3 }
.ours { fill: #0969da } .peer { fill: #fff; stroke: #59636e; stroke-width: 2.5 } .other { fill: #9198a1 } .floor { stroke: #bf3989; stroke-width: 3 }
.less, .met { fill: #1a7f37 } .more, .missed { fill: #bc4c00 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .quiet, .scale { fill: #9198a1 } .grid { stroke: #3d444d } .line { stroke: #3d444d }
.ours { fill: #4493f8 } .peer { fill: #0d1117; stroke: #9198a1 } .other { fill: #656c76 } .floor { stroke: #db61a2 }
.less, .met { fill: #3fb950 } .more, .missed { fill: #f0883e }
}
"""


class Row(NamedTuple):
    """`name` is ours. Seconds: ours; by name the others', the one to compare with first; and the floor, if the case has one."""

    title: str
    name: str
    ours: float
    others: dict[str, float]
    floor: float | None
    aims: list[dict[str, Any]]

    @classmethod
    def of(cls, case: dict[str, Any]) -> Row:
        times = {name: found["seconds"] for name, found in case["contenders"].items()}
        ours = next(iter(times))
        ways = tuple(name[len(ours):] for name in times if name.startswith(f"{ours}, "))
        others = {name: time for name, time in times.items() if name not in (ours, FLOOR) and not name.endswith(ways)}
        return cls(case["title"], ours, times[ours], others, times.get(FLOOR), case["aims"])

    @property
    def peer(self) -> float | None:
        return next(iter(self.others.values()), None)

    @property
    def all(self) -> list[float]:
        return [self.ours, *self.others.values(), *[self.floor] * (self.floor is not None)]


class Scale:
    """Logarithmic, over whole powers of ten that hold all of these times."""

    def __init__(self, times: list[float]) -> None:
        self.first, self.last = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))

    def __call__(self, seconds: float) -> float:
        return round(LEFT + (math.log10(seconds) - self.first) / (self.last - self.first) * (RIGHT - LEFT), 1)

    @property
    def powers(self) -> list[float]:
        return [10.0 ** power for power in range(self.first, self.last + 1)]


class Drawing:
    """An SVG that grows downwards."""

    def __init__(self, height: int) -> None:
        self.root = ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {WIDTH} {height}", "role": "img"})

    def add(self, tag: str, content: str = "", **attributes: Any) -> None:
        named = {name.strip("_"): str(value) for name, value in attributes.items()}
        ElementTree.SubElement(self.root, tag, named).text = content

    def line(self, kind: str, x1: float, y1: float, x2: float, y2: float) -> None:
        self.add("line", class_=kind, x1=x1, y1=y1, x2=x2, y2=y2)

    def mark(self, kind: str, x: float, y: float) -> None:
        if kind == FLOOR:
            self.line(FLOOR, x, y - 8, x, y + 8)
        else:
            self.add("circle", class_=kind, cx=x, cy=y, r={"ours": 7, "peer": 6, "other": 4}[kind])


def drawn(entries: list[dict[str, Any]]) -> str:
    """The chart of these entries of results.json."""
    groups = [(entry["title"], rows) for entry in entries if (rows := [Row.of(case) for case in entry["cases"] if case["main"]])]
    height = TOP + sum(HEAD + ROW * len(rows) for _title, rows in groups) + 40
    scale = Scale([time for _title, rows in groups for row in rows for time in row.all])
    drawing = Drawing(height)
    drawing.add("title", "Time of each job beside other tools")
    drawing.add("style", STYLE)
    _legend(drawing)
    for power in scale.powers:
        drawing.line("grid", scale(power), TOP, scale(power), height - 40)
        for y in (TOP - 6, height - 22):
            drawing.add("text", f"{power:g} s", class_="scale middle", x=scale(power), y=y)
    y = TOP
    for title, rows in groups:
        ours = " / ".join(dict.fromkeys(row.name for row in rows))
        peers = dict.fromkeys(name for row in rows for name in list(row.others)[:1])
        drawing.add("text", title, class_="head", x=MARGIN, y=y + 24)
        drawing.add("text", f"{ours} beside {' / '.join(peers)}" if peers else ours, class_="quiet", x=MARGIN, y=y + 43)
        y += HEAD
        for row in rows:
            _row(drawing, scale, row, y + ROW / 2)
            y += ROW
    ElementTree.indent(drawing.root)
    return ElementTree.tostring(drawing.root, encoding="unicode") + "\n"


def write() -> None:
    FILE.write_text(drawn(results.load()))


def _legend(drawing: Drawing) -> None:
    drawing.add("text", "Time of each job", class_="title", x=MARGIN, y=30)
    drawing.add("text", "Left is better; each line of the scale is ten times the one before.", class_="quiet", x=MARGIN, y=52)
    places = {580: ("ours", "stowage.oci"), 705: ("peer", "its peer"), 805: ("other", "others"), 890: (FLOOR, "the floor")}
    for x, (kind, said) in places.items():
        drawing.mark(kind, x, 25)
        drawing.add("text", said, x=x + 14, y=30)


def _row(drawing: Drawing, scale: Scale, row: Row, y: float) -> None:
    middle = y + 5
    drawing.add("text", row.title, x=MARGIN + 12, y=middle)
    drawing.line("line", scale(min(row.all)), y, scale(max(row.all)), y)
    for time in list(row.others.values())[1:]:
        drawing.mark("other", scale(time), y)
    if row.floor is not None:
        drawing.mark(FLOOR, scale(row.floor), y)
    if row.peer is not None:
        drawing.mark("peer", scale(row.peer), y)
        words, kind = ratio(row.ours, row.peer)
        drawing.add("text", words, class_=f"ratio {kind}", x=RIGHT + 20, y=middle)
    drawing.mark("ours", scale(row.ours), y)
    times = [results.seconds(time) for time in (row.ours, row.peer) if time is not None]
    drawing.add("text", " : ".join(times), class_="quiet", x=RIGHT + 127, y=middle)
    if row.aims:
        met = all(aim["met"] for aim in row.aims)
        drawing.add("text", "aim ✓" if met else "aim ✗", class_=f"end {'met' if met else 'missed'}", x=WIDTH - 12, y=middle)


def ratio(ours: float, theirs: float) -> tuple[str, str]:
    """``14 × faster`` and how it is shown; what differs by less than a tenth is as fast."""
    more = max(ours, theirs) / min(ours, theirs)
    if more < 1.1:
        return "as fast", "quiet"
    said = f"{more:.0f}" if more >= 9.95 else f"{more:.1f}"
    return (f"{said} × faster", "less") if ours < theirs else (f"{said} × slower", "more")
