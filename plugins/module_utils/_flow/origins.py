# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a copy comes from: an archive on this host, or a registry."""

from __future__ import annotations

import io
import threading
import typing as t

from .._errors import ImageNotInArchive, InvalidInput, NotInRegistry
from .._oci import image as _image
from .._oci import manifest as _manifest
from .._oci.archive import Archive, select
from .._oci.choice import choose
from .._oci.digest import Digest
from .._oci.entries import Entry
from .._oci.extent import Extent
from .._oci.manifest import Descriptor, Index, Manifest, make_index
from .._oci.platform import Platform
from .._oci.reference import parse as parse_reference
from .._plan.content import Tree, described, narrowed, tree
from .._plan.copy import Move, Site, Wish, distinct
from .._registry.client import Client


class Found(t.NamedTuple):
    """What a name shall stand for, and its bytes if they had to be read."""

    descriptor: Descriptor
    raw: t.Optional[bytes]


class Origin(t.Protocol):
    """``where`` is how messages call it, and ``bases`` what else holds its blobs; ``free``: to look into it costs nothing."""

    where: str
    bases: t.Sequence[str]
    free: bool

    def wishes(self, images: t.Optional[t.Sequence[str]], site: Site) -> t.List[Wish]:
        """What is wanted of it and where that shall be; raises InvalidInput, or ImageNotInArchive."""

    def find(self, wish: Wish) -> Found:
        """Raises StowageError if the image, or a platform of it that is wanted, is not there."""

    def tree(self, wish: Wish, found: Found) -> Tree:
        """All that is below."""

    def holds(self, digest: str) -> bool:
        """Whether a blob that a manifest names can be had."""

    def mounts(self, wish: Wish) -> t.Sequence[str]:
        """Repositories of the destination's registry that have all of the image."""

    def ready(self, digests: t.Iterable[str]) -> None:
        """These are to be opened."""

    def open(self, move: Move) -> t.ContextManager[t.Any]:
        """A reader of a blob."""


class ArchiveOrigin:
    free = True

    def __init__(self, archive: Archive, platforms: t.Sequence[Platform]) -> None:
        self.where = archive.where
        self.bases: t.Sequence[str] = [base.where for base in archive.bases]
        self._archive = archive
        self._platforms = platforms
        self._entries: t.Dict[Wish, Entry] = {}
        self._extents: t.Dict[str, Extent] = {}
        self._lock = threading.Lock()

    def wishes(self, images: t.Optional[t.Sequence[str]], site: Site) -> t.List[Wish]:
        entries = select(self._archive, images)
        for text, entry in zip(images or [""] * len(entries), entries):
            if not entry.names:
                raise InvalidInput(
                    "%s: the image %s has no name, and so none at the destination: write the archive again with one, or leave it out with images"
                    % (self.where, entry.label)
                )
            references = [parse_reference(name) for name in entry.names]
            meant = [] if not text or text in entry.handles else [one for one in references if str(one) == str(parse_reference(text))]
            for reference in meant or references:
                wish = Wish(text if meant else reference.spelling, reference, site.target(reference.repository, reference))
                self._entries[wish] = entry
        return distinct(self._entries)

    def find(self, wish: Wish) -> Found:
        entry, where = self._entries[wish], "%s in %s" % (wish.spelling, self.where)
        raw = self._archive.document(entry.targets[0]) if len(entry.targets) == 1 else None
        parsed = _manifest.parse(raw, where) if raw else None
        if not isinstance(parsed, Index) and len(entry.variants) == 1:
            image = entry.variants[0]
            _serve(self._platforms, image.config.platform, where)
            return Found(described(image.manifest), image.manifest.raw)
        if not isinstance(parsed, Index):
            if not entry.variants:
                raise ImageNotInArchive("%s: nothing of it is there but its name: it lacks %s" % (where, ", ".join(entry.absent)))
            parsed = make_index([described(image.manifest, platform=image.config.platform) for image in entry.variants])
        chosen = narrowed(parsed, self._platforms, where)
        if isinstance(chosen, Index):
            return Found(described(chosen), chosen.raw)
        raw = self._archive.document(chosen.digest)
        if raw is None:
            raise ImageNotInArchive(
                "%s: its manifest for %s (%s) is not there: bundle the image with this platform" % (where, chosen.platform, chosen.digest)
            )
        return Found(chosen, raw)

    def tree(self, wish: Wish, found: Found) -> Tree:
        return tree(found.descriptor, t.cast(bytes, found.raw), wish.spelling, lambda child: self._archive.document(child.digest))

    def holds(self, digest: str) -> bool:
        return self._archive.holds(digest)

    def mounts(self, wish: Wish) -> t.Sequence[str]:
        return ()

    def ready(self, digests: t.Iterable[str]) -> None:
        blobs = [digest for digest in digests if digest not in self._extents and self._archive.document(digest) is None and self.holds(digest)]
        with self._lock:
            self._extents.update(self._archive.extents(blobs))

    def open(self, move: Move) -> t.ContextManager[t.Any]:
        digest = move.blob.descriptor.digest
        document = self._archive.document(digest)
        if document is not None:
            return t.cast(t.ContextManager[t.Any], io.BytesIO(document))
        self.ready([digest])
        return t.cast(t.ContextManager[t.Any], self._extents[digest].open())


class RegistryOrigin:
    bases: t.Sequence[str] = ()
    free = False

    def __init__(self, client: Client, site: Site, destination: Site, platforms: t.Sequence[Platform]) -> None:
        self.where = site.where
        self._client = client
        self._site = site
        self._same = site.registry == destination.registry
        self._platforms = platforms

    def wishes(self, images: t.Optional[t.Sequence[str]], site: Site) -> t.List[Wish]:
        if images is None:
            raise InvalidInput(
                "images: which images of the registry %s to copy has to be said, as there is no file or folder of this name" % self.where
            )
        sources = [self._site.source(text) for text in images]
        return distinct(Wish(one.spelling, one, site.target(self._site.below(one), one)) for one in sources)

    def find(self, wish: Wish) -> Found:
        target = self._client.resolve(wish.source)
        if not self._platforms:
            return Found(target, None)
        where, raw = wish.source.where, self._read(wish, target.digest)
        parsed = _manifest.parse(raw, where, target.media_type)
        if isinstance(parsed, Manifest):
            config = _image.parse_config(self._client.raw_config(wish.source, parsed), where)
            _serve(self._platforms, config.platform, where)
            return Found(target, raw)
        chosen = narrowed(parsed, self._platforms, where)
        if isinstance(chosen, Index):
            return Found(target if chosen is parsed else described(chosen), chosen.raw)
        return Found(chosen, None)

    def tree(self, wish: Wish, found: Found) -> Tree:
        def read(child: Descriptor) -> t.Optional[bytes]:
            try:
                return self._read(wish, child.digest)
            except NotInRegistry:
                return None

        raw = found.raw or self._read(wish, found.descriptor.digest)
        return tree(found.descriptor, raw, wish.source.where, read)

    def holds(self, digest: str) -> bool:
        return True

    def mounts(self, wish: Wish) -> t.Sequence[str]:
        return (wish.source.repository,) if self._same else ()

    def ready(self, digests: t.Iterable[str]) -> None:
        pass

    def open(self, move: Move) -> t.ContextManager[t.Any]:
        return self._client.blob(move.wish.source, move.blob.descriptor, move.blob.what)

    def _read(self, wish: Wish, digest: Digest) -> bytes:
        return self._client.manifest(wish.source._replace(tag=None, digest=digest))[0]


def _serve(platforms: t.Sequence[Platform], offered: Platform, where: str) -> None:
    for platform in platforms:
        choose(platform, [offered], where, InvalidInput, named=True)
