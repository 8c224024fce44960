# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long it takes and how much is sent to bring images to a fleet, by each way there is: a simulation of links, not a measurement.

The model. A centre has the controller and the registry. From there a link goes to each site, whose hosts have a network card each and take
images in at the rate of their disks. A link is shared evenly by all that goes over it at a time; what one transfer cannot use, because it
is held up elsewhere, the others get. Ansible serves `forks` hosts at a time, in the order of the inventory, which is site by site.
Layers are sent compressed. What is copied or preloaded is unpacked once it is there; what is pulled, while it comes.

`python bench/sizing.py` prints the table of docs/scale.md, and with options that of another fleet.
"""

from __future__ import annotations

import argparse
from typing import Callable, Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Tuple

from links import Job, Link, Phases, Result, Step, simulate

MB = 10**6
MBIT = MB // 8
UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


class Layer(NamedTuple):
    name: str
    size: int


Image = FrozenSet[Layer]


class Fleet(NamedTuple):
    """Links in Mbit/s, the disk in MB/s of compressed layers. Without `wan` its one site is the centre."""

    name: str
    sites: int
    hosts: int
    forks: int
    centre: int
    wan: Optional[int]
    lan: int = 1000
    disk: int = 50

    def capacity(self) -> Dict[str, int]:
        """Bytes per second by kind of link. `fill` is the way into the registry."""
        speeds = {"controller": self.centre, "registry": self.centre, "fill": self.centre, "mirror": self.lan, "nic": self.lan}
        if self.wan:
            speeds["wan"] = self.wan
        return {**{kind: speed * MBIT for kind, speed in speeds.items()}, "disk": self.disk * MB}

    def way(self, site: int) -> Tuple[Link, ...]:
        return (("wan", site),) if self.wan else ()


class Images(NamedTuple):
    """`count` images of `size` MB, `common` of it one layer of all and `top` one of its own, which a new version changes."""

    name: str
    count: int = 10
    size: int = 300
    common: int = 200
    top: int = 30

    def version(self, number: int) -> FrozenSet[Image]:
        """All images, of the first of them this version."""
        return frozenset(self._image(image, number if image == 0 else 1) for image in range(self.count))

    def _image(self, image: int, version: int) -> Image:
        below = self.size - self.common - self.top
        names = {"common": self.common, "own-%d" % image: below, "top-%d-%d" % (image, version): self.top}
        return frozenset(Layer(name, size * MB) for name, size in names.items())


class Event(NamedTuple):
    """These hosts, of which each has `held`, are to have `wanted`. Registry and mirrors have `there`."""

    name: str
    hosts: List[Tuple[int, int]]
    held: FrozenSet[Image]
    there: FrozenSet[Image]
    wanted: FrozenSet[Image]

    @property
    def archives(self) -> int:
        """Bytes of the images that a host lacks, of each with all that is in it."""
        return sum(_size(image) for image in self.wanted - self.held)

    @property
    def layers(self) -> int:
        """Bytes of the layers that a host lacks."""
        return _size(_layers(self.wanted) - _layers(self.held))

    @property
    def cold(self) -> int:
        """Bytes of the layers that registry and mirrors lack."""
        return _size(_layers(self.wanted) - _layers(self.there))


def events(fleet: Fleet, images: Images) -> List[Event]:
    everyone = [(site, host) for site in range(fleet.sites) for host in range(fleet.hosts)]
    none, old, new = frozenset(), images.version(1), images.version(2)
    return [
        Event("first roll-out", everyone, none, none, old),
        Event("update of a layer", everyone, old, old, new),
        Event("a new host", everyone[:1], none, old, old),
    ]


def copy_everything(fleet: Fleet, event: Event) -> Phases:
    """An archive for each image that is new or changed, copied and loaded."""
    return [[_sent(fleet, host, event.archives, event.layers) for host in event.hosts]]


def thin_preload(fleet: Fleet, event: Event) -> Phases:
    """The layers that the host lacks, from a bundle on the controller."""
    return [[_sent(fleet, host, event.layers, event.layers) for host in event.hosts]]


def one_registry(fleet: Fleet, event: Event) -> Phases:
    """A registry at the centre is filled, then all pull from it."""
    return [_fill(event), [[_pull(host, event.layers, ("registry",), *fleet.way(host[0]))] for host in event.hosts]]


def registry_per_site(fetches: int) -> Callable[[Fleet, Event], Phases]:
    """A registry at the centre and one at each site, to which what it lacks comes `fetches` times when its first host asks, before the others.

    Nothing where the site is the centre.
    """

    def plan(fleet: Fleet, event: Event) -> Phases:
        if not fleet.wan:
            return []
        first = list({site: (site, host) for site, host in reversed(event.hosts)}.values())
        rest = [host for host in event.hosts if host not in first]
        over = {site: (("registry",), *fleet.way(site)) * fetches for site, _host in first}
        warm = event.layers - event.cold
        return [
            _fill(event),
            [[_pull(host, event.cold, *over[host[0]]), _pull(host, warm, ("mirror", host[0]))] for host in sorted(first)],
            [[_pull(host, event.layers, ("mirror", host[0]))] for host in rest],
        ]

    return plan


WAYS = {
    "copy everything": copy_everything,
    "thin preload": thin_preload,
    "registry": one_registry,
    "registry per site": registry_per_site(1),
    "mirror of 2.8 per site": registry_per_site(2),
}


def sent(result: Result) -> int:
    """Bytes that left the centre; what the registry was filled with did not."""
    return result.over("controller", "registry")


def table(cases: Iterable[Tuple[Fleet, Images]]) -> str:
    rows = [["fleet", "images", "what happens", *WAYS]]
    for fleet, images in cases:
        for event in events(fleet, images):
            plans = [way(fleet, event) for way in WAYS.values()]
            cells = [_cell(simulate(phases, fleet.capacity(), fleet.forks)) if phases else "-" for phases in plans]
            rows.append([fleet.name, images.name, event.name, *cells])
    rows.insert(1, ["---"] * len(rows[0]))
    return "".join("| %s |\n" % " | ".join(row) for row in rows)


SHARED = Images("shared")
APART = Images("nothing shared", common=0)
BRANCHES = Fleet("branches, 5 forks", sites=20, hosts=5, forks=5, centre=1000, wan=100)
CASES = [
    (Fleet("room", sites=1, hosts=20, forks=5, centre=1000, wan=None), SHARED),
    (Fleet("hall", sites=1, hosts=500, forks=50, centre=10000, wan=None), SHARED),
    (BRANCHES, SHARED),
    (BRANCHES._replace(name="branches", forks=100), SHARED),
    (BRANCHES._replace(name="branches", forks=100), APART),
    (Fleet("shops", sites=200, hosts=2, forks=100, centre=1000, wan=10), SHARED),
    (Fleet("ships", sites=10, hosts=10, forks=100, centre=100, wan=2), SHARED),
]


def _size(layers: Iterable[Layer]) -> int:
    return sum(layer.size for layer in layers)


def _layers(images: Iterable[Image]) -> FrozenSet[Layer]:
    return frozenset(layer for image in images for layer in image)


def _sent(fleet: Fleet, host: Tuple[int, int], size: int, unpacked: int) -> Job:
    return [(size, (("controller",), *fleet.way(host[0]), ("nic", *host))), (unpacked, (("disk", *host),))]


def _pull(host: Tuple[int, int], size: int, *source: Link) -> Step:
    return (size, (*source, ("nic", *host), ("disk", *host)))


def _fill(event: Event) -> List[Job]:
    return [[(event.cold, (("fill",),))]]


def _cell(result: Result) -> str:
    unit, length = next((unit, length) for unit, length in UNITS if result.seconds >= 1.5 * length or length == 1)
    return "%s %s, %s GB" % (_round(result.seconds / length), unit, _round(sent(result) / 10**9))


def _round(number: float) -> str:
    """Two digits that count."""
    return "%.*f" % (0 if number >= 10 or number == 0 else 1 if number >= 1 else 2, number)


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulate how images come to a fleet. Without options: the table of docs/scale.md.")
    parser.add_argument("--sites", type=int, help="how many")
    parser.add_argument("--hosts", type=int, default=5, help="of each site (%(default)s)")
    parser.add_argument("--forks", type=int, default=5, help="of Ansible (%(default)s)")
    parser.add_argument("--centre", type=int, default=1000, help="Mbit/s that controller and registry can send (%(default)s)")
    parser.add_argument("--wan", type=int, help="Mbit/s to each site; without it the one site is the centre")
    parser.add_argument("--lan", type=int, default=1000, help="Mbit/s of each host (%(default)s)")
    parser.add_argument("--disk", type=int, default=50, help="MB/s at which a host unpacks compressed layers (%(default)s)")
    parser.add_argument("--images", type=int, default=SHARED.count, help="how many (%(default)s)")
    parser.add_argument("--size", type=int, default=SHARED.size, help="MB of each, compressed (%(default)s)")
    parser.add_argument("--common", type=int, default=SHARED.common, help="MB of it that all images share (%(default)s)")
    parser.add_argument("--top", type=int, default=SHARED.top, help="MB of it that a new version changes (%(default)s)")
    given = parser.parse_args()
    if not given.sites:
        print(table(CASES), end="")
        return
    if given.common + given.top > given.size:
        parser.error("an image of %d MB has no room for %d MB that are common and %d MB that change" % (given.size, given.common, given.top))
    if given.sites > 1 and not given.wan:
        parser.error("several sites need --wan")
    fleet = Fleet("yours", given.sites, given.hosts, given.forks, given.centre, given.wan, given.lan, given.disk)
    print(table([(fleet, Images("yours", given.images, given.size, given.common, given.top))]), end="")


if __name__ == "__main__":
    main()
