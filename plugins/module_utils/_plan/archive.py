# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archive: whether a bundle already is what it shall be, from what its source and the old bundle say."""

from __future__ import annotations

import typing as t

from .._errors import InvalidInput, InvalidReference
from .._oci.archive import Archive, Entry
from .._oci.bundle import Old
from .._oci.platform import Platform
from .._oci.reference import Reference
from .._oci.reference import parse as parse_reference
from . import load


class Offer(t.NamedTuple):
    """One platform of an image as its source has it: known by its ``manifest``, or by what an engine shows of it.

    ``by_content`` is the one of ``load.same``. ``size`` is in bytes, 0 where the source does not tell.
    """

    platform: Platform
    manifest: t.Optional[str]
    document: t.Optional[t.Mapping[str, t.Any]] = None
    by_content: bool = False
    size: int = 0

    @property
    def config(self) -> t.Optional[str]:
        """The digest of its config, where the source tells it."""
        return str(self.document["Id"]) if self.document and not self.by_content else None

    def decide(form: str, sought: t.Sequence[Sought], old: t.Optional[Old]) -> t.Union[Keep, Write]:
    """The reasons: absent, damaged, other_format, incomplete (a layer is not there), other_platforms, other_content."""
    entries = by_name(old.archive) if old and old.archive else {}
    reasons = {}
    for image in sought:
        reason = _reason(form, image, old, entries.get(image.name))
        if reason:
            reasons[image.name] = reason
    names = {image.name for image in sought}
    unnamed = [entry.label for entry in old.archive.entries if not entry.names] if old and old.archive else []
    removed = tuple(sorted(name for name in entries if name not in names) + unnamed)
    return Write(reasons, removed) if reasons or removed else Keep()


def by_name(archive: Archive) -> t.Dict[str, Entry]:
    """The entries of an archive that have names, by the canonical form of each."""
    found = {}
    for entry in archive.entries:
        for name in entry.names:
            try:
                found[str(parse_reference(name))] = entry
            except InvalidReference:
                found[name] = entry
    return found


def _reason(form: str, image: Sought, old: t.Optional[Old], entry: t.Optional[Entry]) -> str:
    if old and not old.archive:
        return "damaged"
    if not old or not old.archive or not entry:
        return "absent"
    if old.form != form:
        return "other_format"
    if not all(old.archive.holds(layer.descriptor.digest) for one in entry.variants for layer in one.layers):
        return "incomplete"
    there = facts(entry, image.name)
    if len(there) == len(image.offers) and all(any(map(offer.serves, there)) for offer in image.offers):
        return ""
    same_platforms = {variant.platform for variant in there} == {offer.platform for offer in image.offers}
    return "other_content" if same_platforms else "other_platforms"


def facts(entry: Entry, name: str) -> t.Tuple[load.Variant, ...]:
    """The platforms of an entry, as ``load.same`` wants them."""
    return load.want([entry._replace(names=(name,))], {}, "")[0].variants
