# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries: the images of an archive, put together from what its indexes and manifests lead to."""

from __future__ import annotations

import typing as t

from .._errors import InvalidReference, shown
from .digest import Digest
from .image import Image
from .reference import parse as parse_reference


class Entry(t.NamedTuple):
    """One image of an archive, in each platform that the archive has.

    ``names`` are whole references as the archive spells them; ``label`` is how messages call it; ``handles`` are further
    texts by which a user may mean it: digests, and a bare tag that the writer left in place of a name. ``absent`` lists
    platforms that an index names and the archive lacks. ``targets`` are the digests of what the names stand for: one manifest or
    index, or the several manifests that a flat layout has of one image.
    """

    names: t.Tuple[str, ...]
    handles: t.Tuple[str, ...]
    variants: t.Tuple[Image, ...]
    absent: t.Tuple[str, ...]
    targets: t.Tuple[Digest, ...] = ()

    @property
    def label(self) -> str:
        return shown((self.names + self.handles)[0])


class Below(t.NamedTuple):
    """What an index or manifest leads to."""

    images: t.Tuple[Image, ...]
    absent: t.Tuple[str, ...]


class Draft:
    """An entry in the making; dicts for their order."""

    def __init__(self) -> None:
        self.names: t.Dict[str, None] = {}
        self.handles: t.Dict[str, None] = {}
        self.variants: t.Dict[str, Image] = {}
        self.absent: t.Dict[str, None] = {}
        self.targets: t.Dict[Digest, None] = {}

    def add(self, below: Below, flat: bool) -> None:
        """``flat``: of several images for one platform the last replaces the others, as a tag that was moved."""
        for image in below.images:
            if flat:
                self.variants = {key: one for key, one in self.variants.items() if one.config.platform != image.config.platform}
            self.variants[image.manifest.digest] = image
        self.absent.update(dict.fromkeys(below.absent))

    def entry(self) -> Entry:
        return Entry(tuple(self.names), tuple(self.handles), tuple(self.variants.values()), tuple(self.absent), tuple(self.targets))


def settled(entries: t.Iterable[Entry]) -> t.Tuple[Entry, ...]:
    """Entries that stand for the same are one image under several names; a name that several claim is the last one's.

    So engines read it too. What has lost all its names was replaced, and is left out.
    """
    merged: t.Dict[t.Any, Entry] = {}
    owners: t.Dict[str, t.Any] = {}
    for entry in entries:
        key = tuple(sorted(entry.targets))
        first = merged.get(key, entry)
        names, handles = (tuple(dict.fromkeys(old + new)) for old, new in ((first.names, entry.names), (first.handles, entry.handles)))
        merged[key] = first._replace(names=names, handles=handles)
        owners.update((canonical(name), key) for name in entry.names)
    kept = (
        (entry, entry._replace(names=tuple(name for name in entry.names if owners[canonical(name)] == key)))
        for key, entry in merged.items()
    )
    return tuple(entry for before, entry in kept if entry.names or not before.names)


def canonical(text: str) -> str:
    """The name in full, or as it is where it is no reference: writers have their own ideas."""
    try:
        return str(parse_reference(text))
    except InvalidReference:
        return text
