# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift: which copies of an image on the hosts of a fleet are the same image, and where one name means several.

Hosts of one platform drift where one name means different images on them. Stores know an image by different digests, so that
two copies are one image if they have any digest in common, be it of the config, a manifest or an index. Where one of them tells no
config digest and they have none in common, they are one image if layers, labels and time of creation are the same.
"""

from __future__ import annotations

import re
import typing as t
from collections import Counter

Result = t.Dict[str, t.Any]


class Copy(t.NamedTuple):
    """An image on a host, as an entry of ``image_info``."""

    host: str
    image: t.Mapping[str, t.Any]

    @property
    def config(self) -> t.Optional[str]:
        return t.cast(t.Optional[str], self.image["config_digest"])

    @property
    def manifests(self) -> t.Set[str]:
        """Digests of its manifest and of indexes that led to it."""
        found = {text.partition("@")[2] for text in self.image["digests"]} | {self.image["digest"]}
        return found - {None}

    def is_twin_of(self, other: Copy) -> bool:
        """Whether all that every store tells of the two is the same."""
        times = {str(copy.image["created"])[:19] for copy in (self, other) if copy.image["created"]}
        return (
            all(copy.image["complete"] for copy in (self, other)) and len(times) < 2
            and _diff_ids(self) == _diff_ids(other) and self.image["labels"] == other.image["labels"]
        )


Copies = t.List[Copy]


def natural(text: str) -> t.List[t.Any]:
    """A key that sorts web-9 before web-10."""
    return [int(part) if odd % 2 else part for odd, part in enumerate(re.split(r"([0-9]+)", text))]


def by_platform(copies: Copies) -> t.List[Copies]:
    """Incomplete copies, of which no platform is known, come last."""
    groups: t.Dict[str, Copies] = {}
    for copy in copies:
        groups.setdefault(copy.image["platform"] or "", []).append(copy)
    return [groups[platform] for platform in sorted(groups, key=lambda platform: (not platform, platform))]


def versions(name: str, copies: Copies) -> t.Iterator[Result]:
    """Those of one platform, the one that most hosts have first. If no other is as frequent, it does not differ."""
    groups = sorted(alike(copies), key=lambda group: (-len(group), natural(group[0].host)))
    usual = groups[0] if len(groups) == 1 or len(groups[0]) > len(groups[1]) else None
    for group in groups:
        image = group[0].image
        sizes = [layer["size"] for layer in image["layers"]]
        yield {
            "platform": image["platform"],
            "complete": image["complete"],
            "differs": group is not usual or not image["complete"],
            "digests": _digests(name, group),
            "config_digest": _config(group),
            "created": image["created"],
            "size": None if None in sizes else sum(sizes),
            "layers": len(sizes),
            "shared_layers": sum(bool(layer["shared_with"]) for layer in image["layers"]),
            "hosts": sorted((copy.host for copy in group), key=natural),
        }


def alike(copies: Copies) -> t.List[Copies]:
    """The copies of one platform by image, in their order."""
    links: t.Dict[str, str] = {}

    def end(digest: str) -> str:
        while links.setdefault(digest, digest) != digest:
            digest = links[digest]
        return digest

    for copy in copies:
        for digest in filter(None, [copy.config, *copy.manifests]):
            links[end(digest)] = end(copy.image["image_id"])
    groups: t.Dict[str, Copies] = {}
    for copy in copies:
        groups.setdefault(end(copy.image["image_id"]), []).append(copy)
    return _twins_joined(list(groups.values()))


def _twins_joined(groups: t.List[Copies]) -> t.List[Copies]:
    """With those whose config digest nobody tells where they belong; if that could be more than one image, by themselves."""
    sure = [list(group) for group in groups if _config(group)]
    rest: t.List[Copies] = []
    for group in groups:
        if not _config(group):
            twins = [other for other in sure if other[0].is_twin_of(group[0])]
            if len(twins) != 1:
                twins = [other for other in rest if other[0].is_twin_of(group[0])]
            if twins:
                twins[0].extend(group)
            else:
                rest.append(list(group))
    return sure + rest


def _diff_ids(copy: Copy) -> t.List[str]:
    return [layer["diff_id"] for layer in copy.image["layers"]]


def _config(group: Copies) -> t.Optional[str]:
    """Where an index has one image of the platform, which is the rule, all that tell one tell the same."""
    return min((copy.config for copy in group if copy.config), default=None)


def _digests(name: str, group: Copies) -> t.List[str]:
    """Of manifests and indexes; those first by which most hosts have it in the repository of the name."""
    repository = name.partition("@")[0] if "@" in name else name.rpartition(":")[0]
    own = Counter(text.partition("@")[2] for copy in group for text in copy.image["digests"] if text.startswith(repository + "@"))
    every = Counter(digest for copy in group for digest in copy.manifests)
    return sorted(every, key=lambda digest: (-own[digest], -every[digest], digest))
