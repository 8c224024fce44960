# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pull: whether a host has the image that a reference names now, from what the host and the registry say."""

from __future__ import annotations

import typing as t

from .._errors import NotInRegistry
from .._oci.choice import choose
from .._oci.digest import Digest
from .._oci.manifest import INDEXES, Descriptor
from .._oci.platform import Platform
from .._oci.reference import Reference

DIGEST, MISSING = "digest", "missing"
"""Policies: be what the registry has now, or be there at all."""


class Wish(t.NamedTuple):
    """``platform`` is what the user asked for, ``host`` what the engine runs and takes of an index unless told otherwise."""

    reference: Reference
    policy: str
    platform: t.Optional[Platform]
    host: Platform


class Content(t.NamedTuple):
    """The config of the registry's image for the wanted platform; only its digest is always known."""

    config_digest: Digest
    fingerprint: t.Optional[str] = None
    platform: t.Optional[Platform] = None


class Local(t.NamedTuple):
    """What the reference names on the host.

    ``digest`` is the one that the store shows, ``digests`` are all under which it knows the image in that repository.
    ``config_digest`` is None where the store does not tell it; ``fingerprint`` is that of ``_oci.image``. A platform without
    variant is one of which the variant is not known. Of an image that is not ``complete`` blobs are missing (containerd store
    alone): then neither fingerprint nor platform are known, and it may run or not.
    """

    image_id: str
    digest: t.Optional[str]
    digests: t.FrozenSet[str]
    config_digest: t.Optional[str]
    fingerprint: str
    platform: Platform
    complete: bool = True

    def same(self, other: t.Optional[Local]) -> bool:
        """Whether the reference that named ``other`` names the same image still."""
        if other is None or self.image_id != other.image_id:
            return False
        return self.platform == other.platform or not other.complete

    def has(self, content: Content) -> bool:
        """Whether it is the image that has this config."""
        return self.config_digest == content.config_digest or self.fingerprint == content.fingerprint


class Remote(t.NamedTuple):
    """What the reference names in the registry; ``platforms`` of an index, where they are known without asking again."""

    descriptor: Descriptor
    platforms: t.Optional[t.Tuple[Platform, ...]]

    @property
    def is_index(self) -> bool:
        return self.descriptor.media_type in INDEXES


class Keep(t.NamedTuple):
    """``reason``: present, same_digest, or same_content under another digest."""

    reason: str


class Pull(t.NamedTuple):
    """``reason``: absent, other_platform, other_digest, or incomplete, where the name stays with what it names."""

    reason: str


def settled(wish: Wish, local: t.Optional[Local]) -> t.Optional[Keep]:
    """Keep, if that is certain without asking the registry."""
    if local is None or not local.complete or (wish.platform and not _serves(local.platform, wish.platform)):
        return None
    if wish.reference.digest:
        return Keep("same_digest") if wish.reference.digest in local.digests else None
    return Keep("present") if wish.policy == MISSING else None


def decide(wish: Wish, local: t.Optional[Local], remote: Remote, content: t.Optional[Content] = None) -> t.Union[Keep, Pull]:
    """``content`` is None before it is asked, and where it cannot be; raises NotInRegistry if the wanted platform is not there."""
    where = wish.reference.where
    wanted, exactly = wish.platform, False
    if remote.is_index:
        wanted = wanted or wish.host
        if remote.platforms is not None:
            wanted, exactly = remote.platforms[choose(wanted, remote.platforms, where, NotInRegistry, named=wish.platform is not None)], True
    elif wanted:
        known = local is not None and local.complete and remote.descriptor.digest in local.digests
        offered = content.platform if content else t.cast(Local, local).platform if known else None
        if offered and not _serves(offered, wanted):
            choose(wanted, [offered], where, NotInRegistry, named=True)

    if local is None:
        return Pull("absent")
    if not local.complete:
        return Pull("incomplete" if remote.descriptor.digest in local.digests else "other_digest")
    if wanted and not _serves(local.platform, wanted, exactly):
        return Pull("other_platform")
    if remote.descriptor.digest in local.digests:
        return Keep("same_digest")
    if not wish.reference.digest and content and local.has(content):
        return Keep("same_content")
    return Pull("other_digest")


def _serves(has: Platform, wanted: Platform, exactly: bool = False) -> bool:
    if not has.variant:
        return has[:2] == wanted[:2]
    rank = wanted.rank(has)
    return rank == 0 if exactly else rank is not None
