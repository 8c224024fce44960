# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulation behind docs/scale.md: cases that were computed by hand, what must hold of any fleet, and the guide's table."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench"))
import sizing  # noqa: E402
from links import share, simulate  # noqa: E402
from sizing import MB, Fleet, Images  # noqa: E402

FLEETS = [
    Fleet("", sites, hosts, forks, centre, wan if sites > 1 else None)
    for sites, hosts, forks, (centre, wan) in itertools.product((1, 2, 7), (1, 4), (1, 20), ((1000, 100), (100, 2), (50, 1000)))
]
IMAGES = [Images("", count, common=common) for count, common in itertools.product((1, 5), (0, 100, 270))]
SMALL = Fleet("small", sites=2, hosts=2, forks=4, centre=80, wan=8, lan=80, disk=1)
TWO = Images("two", count=2, size=10, common=6, top=1)


def run(fleet, way, event):
    return simulate(way(fleet, event), fleet.capacity(), fleet.forks)


def all_cases():
    return [(fleet, event) for fleet in FLEETS for images in IMAGES for event in sizing.events(fleet, images)]


@pytest.mark.parametrize(
    ("flows", "rates"),
    [
        ([[("a",)]], [12]),
        ([[("a",)], [("a",)], [("a",)]], [4, 4, 4]),
        # Who is held up elsewhere leaves the rest to the others.
        ([[("a",), ("b", 1)], [("a",)]], [3, 9]),
        ([[("a",), ("b", 1)], [("a",), ("b", 1)], [("a",), ("b", 2)], [("a",)]], [1.5, 1.5, 3, 6]),
        # Twice over one link.
        ([[("a",), ("a",)]], [6]),
        ([[("a",), ("a",)], [("a",)]], [4, 4]),
    ],
)
def test_a_link_is_shared(flows, rates):
    assert share([tuple(links) for links in flows], {"a": 12, "b": 3}) == pytest.approx(rates)


@pytest.mark.parametrize(
    ("phases", "forks", "seconds"),
    [
        ([], 1, 0),
        ([[]], 1, 0),
        ([[[(0, (("a",),))]]], 1, 0),
        ([[[(24, (("a",),))], [(24, (("a",),))]]], 1, 4),
        ([[[(24, (("a",),))], [(24, (("a",),))]]], 2, 4),
        # One after the other, or side by side.
        ([[[(24, (("a",),)), (6, (("b",),))], [(24, (("a",),)), (6, (("b",),))]]], 1, 8),
        ([[[(24, (("a",),)), (6, (("b",),))], [(24, (("a",),)), (6, (("b",),))]]], 2, 8),
        ([[[(24, (("a",),)), (6, (("b", 1),))], [(24, (("a",),)), (6, (("b", 2),))]]], 2, 6),
        # The short one is through after 2 seconds, then the long one has the link alone.
        ([[[(12, (("a",),))], [(36, (("a",),))]]], 2, 4),
        # The second phase waits for the first.
        ([[[(12, (("a",),))]], [[(3, (("b",),))]]], 5, 2),
    ],
)
def test_time(phases, forks, seconds):
    result = simulate(phases, {"a": 12, "b": 3}, forks)
    assert result.seconds == pytest.approx(seconds)
    assert result.over("a", "b") == sum(size for jobs in phases for job in jobs for size, _links in job)


# Two images of 10 MB, 6 of them common: 14 MB of layers, 20 MB of archives. Links in MB/s: centre 10, each site 1, host 10, disk 1.
@pytest.mark.parametrize(
    ("way", "seconds", "sent"),
    [
        # 40 MB go to each site at 1 MB/s, to both at once; then each host unpacks 14 MB.
        ("copy everything", (40 + 14, 20 + 7, 20 + 14), (80, 40, 20)),
        ("thin preload", (28 + 14, 2 + 1, 14 + 14), (56, 4, 14)),
        # What the registry is filled with takes a tenth of a second for each MB.
        ("registry", (1.4 + 28, 0.1 + 2, 14), (56, 4, 14)),
        # The first host of a site gets 14 MB over the WAN, the second from its site.
        ("registry per site", (1.4 + 14 + 14, 0.1 + 1 + 1, 14), (28, 2, 0)),
        ("mirror of 2.8 per site", (1.4 + 28 + 14, 0.1 + 2 + 1, 14), (56, 4, 0)),
    ],
)
def test_by_hand(way, seconds, sent):
    results = [run(SMALL, sizing.WAYS[way], event) for event in sizing.events(SMALL, TWO)]
    # A new version of one image: copying sends it whole, 10 MB, and the host unpacks the one layer that changed.
    seconds = (seconds[0], 20 + 1, seconds[2]) if way == "copy everything" else seconds
    assert [result.seconds for result in results] == pytest.approx(list(seconds))
    assert [sizing.sent(result) for result in results] == [size * MB for size in sent]


def test_forks_that_fill_one_site_after_the_other_leave_the_links_of_the_others_idle():
    event = sizing.events(SMALL, TWO)[0]
    few, many = (run(SMALL._replace(forks=forks), sizing.thin_preload, event) for forks in (2, 4))
    assert few.traffic == many.traffic
    assert few.seconds == pytest.approx(2 * many.seconds)


def test_layers_that_are_shared_are_sent_once():
    for fleet, event in all_cases():
        everything, thin = (run(fleet, way, event) for way in (sizing.copy_everything, sizing.thin_preload))
        assert sizing.sent(thin) <= sizing.sent(everything)
        assert thin.seconds <= everything.seconds * (1 + 1e-9)


def test_where_nothing_is_shared_the_first_time_is_the_same():
    for fleet in FLEETS:
        first = sizing.events(fleet, Images("", count=3, common=0))[0]
        everything, thin = (run(fleet, way, first) for way in (sizing.copy_everything, sizing.thin_preload))
        assert everything == thin


def test_a_registry_sends_what_a_thin_preload_sends():
    for fleet, event in all_cases():
        thin, registry = (run(fleet, way, event) for way in (sizing.thin_preload, sizing.one_registry))
        assert sizing.sent(registry) == sizing.sent(thin) == event.layers * len(event.hosts)


@pytest.mark.parametrize(("way", "fetches"), [("registry per site", 1), ("mirror of 2.8 per site", 2)])
def test_each_layer_goes_over_the_wan_once_for_each_site(way, fetches):
    for fleet, event in all_cases():
        if not fleet.wan:
            assert sizing.WAYS[way](fleet, event) == []
            continue
        result = run(fleet, sizing.WAYS[way], event)
        sites = {site for site, _host in event.hosts}
        assert result.over("wan") == result.over("registry") == event.cold * fetches * len(sites)
        assert all(result.traffic.get(("wan", site), 0) == event.cold * fetches for site in sites)


@pytest.mark.parametrize("way", sizing.WAYS)
def test_what_leaves_one_link_comes_by_the_next_and_none_carries_more_than_it_can(way):
    for fleet, event in all_cases():
        phases = sizing.WAYS[way](fleet, event)
        if not phases:
            continue
        result = simulate(phases, fleet.capacity(), fleet.forks)
        if fleet.wan:
            assert result.over("wan") == sizing.sent(result)
        assert result.over("disk") == event.layers * len(event.hosts)
        again = event.archives if way == "copy everything" else event.layers
        assert result.over("nic") == again * len(event.hosts)
        assert result.over("fill") == (event.cold if "preload" not in way and "copy" not in way else 0)
        capacity = fleet.capacity()
        assert all(size <= capacity[link[0]] * result.seconds * (1 + 1e-6) for link, size in result.traffic.items())
        assert result.seconds > 0


def test_more_forks_are_never_slower_to_the_last_host():
    for fleet, event in all_cases():
        some, more = (run(fleet._replace(forks=forks), sizing.one_registry, event) for forks in (2, 100))
        assert more.seconds <= some.seconds * (1 + 1e-9)
        assert more.traffic == some.traffic


def test_links_are_given_in_bits_and_the_disk_in_bytes():
    megabit = {"controller": 1000, "registry": 1000, "fill": 1000, "mirror": 100, "nic": 100, "wan": 8}
    bytes_each = dict({kind: speed * 125000 for kind, speed in megabit.items()}, disk=50000000)
    assert Fleet("", 1, 1, 1, centre=1000, wan=8, lan=100).capacity() == bytes_each


def printed(*options):
    return subprocess.run([sys.executable, str(ROOT / "bench/sizing.py"), *options], capture_output=True, text=True, check=False)


def test_the_guide_has_the_table():
    found = printed()
    assert found.returncode == 0, found.stderr
    assert found.stdout == sizing.table(sizing.CASES)
    assert "\n\n" + found.stdout + "\n" in (ROOT / "docs/scale.md").read_text(encoding="utf-8")


def test_any_fleet():
    found = printed("--sites", "2", "--hosts", "2", "--forks", "4", "--centre", "80", "--wan", "8", "--lan", "80", "--disk", "1",
                    "--images", "2", "--size", "10", "--common", "6", "--top", "1")
    assert found.stdout.splitlines()[2] == (
        "| yours | yours | first roll-out | 54 s, 0.08 GB | 42 s, 0.06 GB | 29 s, 0.06 GB | 29 s, 0.03 GB | 43 s, 0.06 GB |"
    ), found.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sites", "2"], "several sites need --wan"),
        (["--sites", "1", "--size", "10"], "an image of 10 MB has no room for 200 MB that are common and 30 MB that change"),
    ],
)
def test_what_is_no_fleet(options, message):
    found = printed(*options)
    assert found.returncode == 2
    assert message in found.stderr
