# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archive: whether a bundle already is what it shall be, from what its source and the old bundle say."""

from __future__ import annotations

import typing as t

from .._errors import InvalidInput, InvalidReference
from .._oci import choice
from .._oci.archive import Archive
from .._oci.bundle import DOCKER_ARCHIVE
from .._oci.entries import Entry
from .._oci.place import Old
from .._oci.platform import Platform
from .._oci.reference import Reference
from .._oci.reference import parse as parse_reference
from .load import same
from .names import want
from .wish import Variant


class Offer(t.NamedTuple):
    """One platform of an image as its source has it: known by its ``manifest``, or by what an engine shows of it.

    ``by_content`` is the one of ``load.same``. ``size`` is in bytes, 0 where the source does not tell.
    """

    platform: Platform
    manifest: t.Optional[str]
    document: t.Optional[t.Mapping[str, t.Any]] = None
    by_content: bool = False
    size: int = 0

    def serves(self, variant: Variant) -> bool:
        """Whether a bundle's image is exactly this one."""
        if self.manifest == variant.manifest.digest:
            return True
        return self.document is not None and same(self.document, variant, self.by_content)


class Sought(t.NamedTuple):
    """A wanted image, in the platforms that shall be in the bundle; the three digests are its source's, where it has them.

    ``target`` is the manifest or index that the name shall stand for in the bundle, if the source tells. ``attached`` are the digests
    of blobs that come with the image and are no layers of it.
    """

    reference: Reference
    image_id: t.Optional[str]
    digest: t.Optional[str]
    config_digest: t.Optional[str]
    offers: t.Tuple[Offer, ...]
    target: t.Optional[str] = None
    attached: t.Tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Under which a bundle has it."""
        return self.reference.tagged

    @property
    def size(self) -> int:
        """In bytes, as far as the source tells."""
        return sum(offer.size for offer in self.offers)


class Keep(t.NamedTuple):
    """The bundle is as it shall be."""


class Write(t.NamedTuple):
    """``reasons``, by name: why an image is written that the bundle does not have so. ``removed`` are names that go."""

    reasons: t.Mapping[str, str]
    removed: t.Tuple[str, ...]


def wanted(texts: t.Iterable[str]) -> t.List[Reference]:
    """The references that a bundle shall hold, each once; raises InvalidInput for one without a tag, and for a name given twice."""
    found: t.Dict[str, Reference] = {}
    for text in texts:
        reference = parse_reference(text)
        if not reference.tag:
            raise InvalidReference("%s has no tag, and a bundle names its images by repository and tag: write repository:tag@digest" % text)
        first = found.setdefault(reference.tagged, reference)
        if first.digest != reference.digest:
            raise InvalidInput("images: both %s and %s would be named %s in the bundle: leave one out" % (first.spelling, text, reference.tagged))
    return list(found.values())


def choose(platforms: t.Sequence[Platform], offers: t.Sequence[Offer], where: str) -> t.Tuple[Offer, ...]:
    """The offers that serve ``platforms``, all of them if none is named; raises InvalidInput that lists what there is."""
    there = [offer.platform for offer in offers]
    chosen = [choice.choose(platform, there, where, InvalidInput, named=True) for platform in platforms] or range(len(offers))
    return tuple(offers[position] for position in dict.fromkeys(chosen))


def decide(form: str, sought: t.Sequence[Sought], old: t.Optional[Old], base: t.Callable[[str], bool] = lambda digest: False) -> t.Union[Keep, Write]:
    """The reasons: absent, damaged, other_format, incomplete (a layer is not there), other_base (a layer is there that the ``base``
    has), other_platforms, other_content.

    Raises InvalidInput for an image that the form cannot hold.
    """
    for image in sought:
        if form == DOCKER_ARCHIVE and len(image.offers) > 1:
            raise InvalidInput(
                "%s: a docker-archive holds one platform of an image, and this comes for %s: choose one with platform, or use another format"
                % (image.reference.spelling, ", ".join(str(offer.platform) for offer in image.offers))
            )
    entries = by_name(old.archive) if old and old.archive else {}
    reasons = {}
    for image in sought:
        reason = _reason(form, image, old, entries.get(image.name), base)
        if reason:
            reasons[image.name] = reason
    names = {image.name for image in sought}
    unnamed = [entry.label for entry in old.archive.entries if not entry.names] if old and old.archive else []
    removed = tuple(sorted(name for name in entries if name not in names) + unnamed)
    return Write(reasons, removed) if reasons or removed else Keep()


def shown(image: Sought, old: t.Optional[Old]) -> t.Tuple[t.Dict[str, t.Optional[str]], t.Dict[str, t.Optional[str]]]:
    """What the name stands for in the old bundle and shall stand for: by platform, a digest as the source has them."""
    entry = by_name(old.archive).get(image.name) if old and old.archive else None
    becomes = {str(offer.platform): offer.manifest or image.config_digest or image.image_id for offer in image.offers}
    by_manifest = image.offers[0].manifest is not None
    was: t.Dict[str, t.Optional[str]] = {}
    if entry:
        was = {str(one.config.platform): str(one.manifest.digest if by_manifest else one.config.digest) for one in entry.variants}
    return was, becomes


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


def _reason(form: str, image: Sought, old: t.Optional[Old], entry: t.Optional[Entry], base: t.Callable[[str], bool]) -> str:
    if old and not old.archive:
        return "damaged"
    if not old or not old.archive or not entry:
        return "absent"
    if old.form != form:
        return "other_format"
    blobs = [layer.descriptor.digest for one in entry.variants for layer in one.layers] + list(image.attached)
    there = facts(entry, image.name)
    if len(there) == len(image.offers) and all(any(map(offer.serves, there)) for offer in image.offers):
        if image.target and entry.targets != (image.target,):
            return "other_content"
        held = {old.archive.holds(blob) for blob in blobs if not base(blob)}
        return "incomplete" if False in held else "other_base" if any(base(blob) and old.archive.holds(blob) for blob in blobs) else ""
    same_platforms = {variant.platform for variant in there} == {offer.platform for offer in image.offers}
    return "other_content" if same_platforms else "other_platforms"


def facts(entry: Entry, name: str) -> t.Tuple[Variant, ...]:
    """The platforms of an entry, as ``load.same`` wants them."""
    return want([entry._replace(names=(name,))], {}, "")[0].variants
