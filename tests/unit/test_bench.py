# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of the measurements: ratios to aims, the README's tables, and the chart."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

if sys.version_info < (3, 11):
    pytest.skip("controllers have Python 3.11 or later", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench"))
import chart  # noqa: E402
import results  # noqa: E402
from results import Aim  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


def measured(*seconds, **told):
    """As one round each."""
    return {"seconds": sorted(seconds)[len(seconds) // 2], "cpu": 0.1, "memory": 40.0, **told, "samples": [[value, 0.1, 40.0] for value in seconds]}


def entry(name, *cases):
    found = [
        {"title": title, "main": title != "lesser", "contenders": contenders, "aims": [aim.judged(contenders) for aim in aims]}
        for title, contenders, aims in cases
    ]
    return {"name": name, "title": "title of " + name, "rounds": 5, "cases": found}


def words(svg):
    return [node.text for node in ElementTree.fromstring(svg).iter(SVG + "text")]


def test_an_aim_is_judged_round_by_round():
    """Of all that the rounds gave, medians would say 2."""
    contenders = {"ours": measured(2, 4, 9), "floor": measured(1, 8, 2)}
    assert Aim("ours", "floor", 2).judged(contenders) == {"of": "ours", "against": "floor", "at_most": 2, "by": "seconds", "ratio": 2, "met": True}
    assert not Aim("ours", "floor", 1.9).judged(contenders)["met"]
    assert Aim("ours", "floor", 1, "memory").judged(contenders)["ratio"] == 1


def test_an_aim_may_be_of_a_number_that_the_check_tells():
    contenders = {"ours": measured(1, sent_bytes=40_000_000), "peer": measured(1, sent_bytes=1_000_000_000)}
    judged = Aim("ours", "peer", 0.05, "sent_bytes").judged(contenders)
    assert (judged["ratio"], judged["met"]) == (0.04, True)


def test_a_table_has_a_column_for_each_contender_of_a_main_case():
    first = {"ours": measured(1.234, sent_bytes=40_000_000, blobs=3), "peer": measured(23.94, sent_bytes=10**9)}
    again = {"ours": measured(0.0154, sent_bytes=0), "floor": measured(0.01)}
    bytes_, time = Aim("ours", "peer", 0.01, "sent_bytes"), Aim("ours", "floor", 1.5)
    found = entry("x", ("first", first, [bytes_]), ("again", again, [time]), ("lesser", {"others": measured(7)}, []))
    assert results.table(found) == (
        "| title of x | ours | peer | floor | aim |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| first | 1.23 s, sent 40 MB | 23.9 s, sent 1.00 GB |  | sent bytes at most 0.01 times peer: 0.04, missed |\n"
        "| again | 0.015 s, sent 0 B |  | 0.010 s | at most 1.5 times floor: 1.54, missed |\n"
    )
    whole = results.table(found, full=True)
    assert "| 1.23 s, CPU 0.10 s, 40 MiB, sent 40 MB, blobs 3 |" in whole and "\n| lesser |  |  |  | 7.00 s, CPU 0.10 s, 40 MiB |  |\n" in whole


def test_a_benchmark_without_main_cases_is_in_neither_table_nor_chart(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FILE", tmp_path / "results.json")
    machine = {"cores": 2, "memory_gib": 4, "system": "Debian", "kernel": "6.1"}
    surroundings = {"date": "2026-01-31", "machine": machine, "versions": {"crane": "0.20+ds1"}}
    for made in (entry("shown", ("case", {"ours": measured(1, 2, 3)}, [])), entry("hidden", ("lesser", {"ours": measured(1)}, []))):
        results.replace({**made, **surroundings}, ["shown", "hidden"])
    assert "medians of 3 rounds in which all take turns, measured 2026-01-31 on 2 cores, 4 GiB, Debian, Linux 6.1, with crane 0.20. " in (
        results.text().replace("\n", " ")
    )
    assert "title of shown" in results.text() and "title of hidden" not in results.text()
    assert "title of hidden" not in words(chart.drawn(results.load()))


def test_results_of_a_benchmark_take_the_place_of_its_former_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FILE", tmp_path / "results.json")
    for made in (entry("b"), entry("gone"), entry("a"), entry("b", ("new", {"ours": measured(1)}, ()))):
        results.replace(made, ["a", "b", "gone"])
    results.replace(entry("a"), ["a", "b"])
    assert [(found["name"], len(found["cases"])) for found in results.load()] == [("a", 0), ("b", 1)]


def test_the_chart_compares_with_the_first_other_tool_and_leaves_other_ways_to_the_tables():
    seconds = {"ours": 2, "ours, folder": 3, "peer": 20, "peer, folder": 0.1, "late": 50, "floor": 1}
    contenders = {name: measured(value) for name, value in seconds.items()}
    row = chart.Row.of({"title": "t", "contenders": contenders, "aims": []})
    assert (row.ours, row.others, row.floor) == (2, {"peer": 20, "late": 50}, 1)
    cases = ("case", contenders, [Aim("ours", "floor", 1.5)]), ("lesser", contenders, [])
    svg = chart.drawn([entry("x", *cases), entry("y", ("alone", {"ours": measured(5)}, []))])
    assert {"10 × faster", "2.00 s : 20.0 s", "aim ✗", "ours beside peer", "alone", "5.00 s"} <= set(words(svg))
    assert "lesser" not in words(svg)
    assert len(ElementTree.fromstring(svg).findall(f"{SVG}circle[@class='other']")) == 2  # one in the legend


@pytest.mark.parametrize("ours, theirs, said", [
    (1, 1.09, ("as fast", "quiet")), (1.5, 1, ("1.5 × slower", "more")), (1, 9.94, ("9.9 × faster", "less")), (1, 9.96, ("10 × faster", "less")),
])
def test_ratios_in_words(ours, theirs, said):
    assert chart.ratio(ours, theirs) == said


def test_the_chart_is_that_of_the_results():
    svg = chart.FILE.read_text()
    assert svg == chart.drawn(results.load()), "run python bench/bench.py --chart"
    assert {found["title"] for found in results.load() if any(case["main"] for case in found["cases"])} <= set(words(svg))


def test_the_readme_has_the_tables_of_the_results():
    readme = results.README.read_text()
    assert readme.partition(results.BEGIN)[2].partition(results.END)[0] == results.text(), "put in what python bench/bench.py --table prints"


def test_every_benchmark_has_a_file_and_every_result_a_benchmark():
    source = (ROOT / "bench/bench.py").read_text()
    names = json.loads(source.partition("BENCHMARKS = ")[2].partition("\n")[0].replace("(", "[").replace(")", "]"))
    assert [name for name in names if not (ROOT / f"bench/{name}.py").exists()] == []
    assert {found["name"] for found in results.load()} <= set(names)
