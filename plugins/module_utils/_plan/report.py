# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report: what a fleet has, from what ``image_info`` told of each host: images and their drift, shared layers, notes on stores."""

from __future__ import annotations

import typing as t
from collections import Counter

from .drift import Copies, Copy, alike, by_platform, natural, versions
from .info import FOUND

Facts = t.Mapping[str, t.Any]
Result = t.Dict[str, t.Any]

_MOST = 100
"""Shared layers that are listed, of those that save most."""

_SILENT = "It gave neither an answer nor a reason."


def report(facts: t.Mapping[str, Facts]) -> Result:
    """What the fleet has, from the result of ``image_info`` by host; one that failed or was not reached is in ``silent`` with its message."""
    asked = {host: facts[host] for host in sorted(facts, key=natural) if "engine" in facts[host]}
    silent = [{"name": host, "message": facts[host].get("msg") or _SILENT} for host in sorted(facts, key=natural) if host not in asked]
    images = _images(asked)
    odd = Counter(host for image in images for version in image["versions"] if version["differs"] for host in version["hosts"])
    hosts = [dict(_host(host, told), differs=odd[host]) for host, told in asked.items()]
    layers = _shared(asked)
    return {
        "summary": {
            "hosts": len(hosts),
            "silent": len(silent),
            "images": len(images),
            "distinct": _distinct(asked),
            "drifts": sum(image["drifts"] for image in images),
            "shared_layers": len(layers),
            **{key: sum(host[key] for host in hosts) for key in ("apart_bytes", "stored_bytes", "saved_bytes", "unsized")},
        },
        "hosts": hosts,
        "silent": silent,
        "images": images,
        "layers": layers[:_MOST],
        "notes": _notes(asked),
    }


# Images


def _found(told: Facts) -> t.Iterator[Facts]:
    return (image for image in told["images"] if image["action"] == FOUND)


def _names(image: Facts) -> t.List[str]:
    """The names under which a host has an image: its tags; without them a digest."""
    return image["tags"] or image["digests"][:1] or [image["image_id"]]


def _images(asked: t.Mapping[str, Facts]) -> t.List[Result]:
    """One entry for each name; those that drift come first, those without a tag last."""
    copies: t.Dict[str, Copies] = {}
    untagged = set()
    for host, told in asked.items():
        for image in _found(told):
            for name in _names(image):
                copies.setdefault(name, []).append(Copy(host, image))
                untagged.update([] if image["tags"] else [name])
    images = [_image(name, copies[name], asked) for name in sorted(copies, key=natural)]
    return sorted(images, key=lambda image: (not image["drifts"], image["reference"] in untagged))


def _image(name: str, copies: Copies, asked: t.Mapping[str, Facts]) -> Result:
    found = [version for group in by_platform(copies) for version in versions(name, group)]
    having = {copy.host for copy in copies}
    return {
        "reference": name,
        "drifts": any(version["differs"] for version in found),
        "versions": found,
        "absent": [host for host in asked if host not in having],
    }


def _distinct(asked: t.Mapping[str, Facts]) -> int:
    """How many images there are, whatever their names."""
    copies = [Copy(host, image) for host, told in asked.items() for image in _found(told)]
    return sum(len(alike(group)) for group in by_platform(copies))


# Hosts and their layers


def _host(name: str, told: Facts) -> Result:
    apart, stored, unsized = _bytes(told)
    engine, storage = told["engine"], told["storage"]
    return {
        "name": name,
        "engine": "%s %s" % (engine["name"], engine["version"]),
        "url": engine["url"],
        "store": told["store"],
        "driver": storage["driver"],
        "file_system": storage["backing_file_system"],
        "root": storage["root"],
        "images": sum(1 for _image in _found(told)),
        "apart_bytes": apart,
        "stored_bytes": stored,
        "saved_bytes": apart - stored,
        "unsized": unsized,
    }


def _bytes(told: Facts) -> t.Tuple[int, int, int]:
    """Of layers, as if each image had its own, and as they are; and how many there are of unknown size."""
    sizes = [(_size(holders), len(holders)) for holders in _holders(told).values()]
    apart = sum((size or 0) * times for size, times in sizes)
    return apart, sum(size or 0 for size, _times in sizes), sum(size is None for size, _times in sizes)


def _shared(asked: t.Mapping[str, Facts]) -> t.List[Result]:
    """The layers that several images of one host have, those first by which the fleet saves most."""
    found: t.Dict[str, Result] = {}
    for told in asked.values():
        for chain_id, holders in _holders(told).items():
            if len(holders) > 1:
                size, command = _size(holders), holders[0].layer["command"]
                empty = {"chain_id": chain_id, "command": command, "size": size, "references": [], "hosts": 0, "saved_bytes": 0}
                entry = found.setdefault(chain_id, empty)
                entry["references"] += [name for holder in holders for name in _names(holder.image) if name not in entry["references"]]
                entry["hosts"] += 1
                entry["saved_bytes"] += (size or 0) * (len(holders) - 1)
    for entry in found.values():
        entry["references"].sort(key=natural)
    return sorted(found.values(), key=lambda entry: (-entry["saved_bytes"], -entry["hosts"], entry["chain_id"]))


class _Holder(t.NamedTuple):
    """An image that has a layer, and what it tells of it."""

    image: Facts
    layer: Facts


def _holders(told: Facts) -> t.Dict[str, t.List[_Holder]]:
    """The images of a host that have each layer, by its chain ID."""
    found: t.Dict[str, t.List[_Holder]] = {}
    for image in _found(told):
        for layer in image["layers"]:
            found.setdefault(layer["chain_id"], []).append(_Holder(image, layer))
    return found


def _size(holders: t.Iterable[_Holder]) -> t.Optional[int]:
    """Of a layer, if any image tells it."""
    return max((holder.layer["size"] for holder in holders if holder.layer["size"] is not None), default=None)


def _notes(asked: t.Mapping[str, Facts]) -> t.List[Result]:
    """Each sentence of ``weaknesses`` once, those first that are true of most hosts."""
    hosts: t.Dict[str, t.List[str]] = {}
    for host, told in asked.items():
        for sentence in told["weaknesses"]:
            hosts.setdefault(sentence, []).append(host)
    return [{"text": text, "hosts": hosts[text]} for text in sorted(hosts, key=lambda text: (-len(hosts[text]), text))]
