# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine as the source of a bundle: what it shows of images, and its export of them."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import os
import typing as t

from .._engine import local as _local
from .._engine.engine import CONTAINERD, Engine
from .._errors import ArchiveError, EngineError
from .._oci import bundle, place
from .._oci import manifest as _manifest
from .._oci import platform as _platform
from .._oci.archive import Archive
from .._oci.digest import CHUNK
from .._oci.extent import Extent
from .._oci.manifest import Index
from .._oci.platform import Platform
from .._oci.reference import Reference
from .._oci.reference import parse as parse_reference
from .._plan.archive import Offer, Sought, choose, facts
from .._plan.content import left
from .archive import Fetched


class EngineSource:
    """The engine of a host, whose exports are read for what is wanted of them."""

    def __init__(self, engine: Engine, platforms: t.Sequence[Platform]) -> None:
        self._engine = engine
        self._platforms = platforms

    def look(self, reference: Reference) -> Sought:
        name = "%s@%s" % (reference.name, reference.digest) if reference.digest else str(reference)
        document = self._engine.inspect(name)
        if document is None:
            raise EngineError("%s: the engine at %s has no such image%s" % (reference.spelling, self._engine.url, self._similar(reference)))
        image = _local.of_inspect(dict(document, Digest=self._engine.digest(document["Id"])), self._engine.store, reference)
        if not image.complete:
            raise EngineError("%s: the engine at %s has only a part of this image: load or pull it again" % (reference.spelling, self._engine.url))
        where = "%s on the engine at %s" % (reference.spelling, self._engine.url)
        offers = choose(self._platforms, self._offers(document, image), where)
        return Sought(reference, image.image_id, image.digest, image.config_digest, offers)

    def _offers(self, document: t.Mapping[str, t.Any], image: _local.LocalImage) -> t.List[Offer]:
        if self._engine.store != CONTAINERD:
            return [Offer(image.platform, None, document, size=document.get("Size") or 0)]
        told = [one for one in self._engine.manifests(image.image_id) or [] if one.get("Available") and one.get("Kind") == "image"]
        offers = []
        for one in told:
            platform = _platform.of(one["ImageData"]["Platform"])
            shown = document if len(told) == 1 else self._engine.inspect(image.image_id, platform)
            offers.append(Offer(platform, one["ID"], shown, True, one["Size"]["Content"]))
        return offers or [Offer(image.platform, None, document, True)]

    def _similar(self, reference: Reference) -> str:
        names = [parse_reference(name) for one in self._engine.images() for name in one.get("RepoTags") or [] if name != "<none>:<none>"]
        last = reference.repository.rpartition("/")[2]
        near = [str(name) for name in names if name.repository.rpartition("/")[2] == last]
        near += difflib.get_close_matches(str(reference), map(str, names), 3)
        return ", but %s" % ", ".join(list(dict.fromkeys(near))[:5]) if near else ": pull, build or load it first"

    @contextlib.contextmanager
    def fetch(self, sought: t.Sequence[Sought], target: str) -> t.Iterator[Fetched]:
        """One export of all; what is not in it comes by ID: its name was moved meanwhile, or the engine left it out.

        Docker 28's classic store lists only one of several nameless images in the index of an export.
        """
        members: t.Dict[str, bundle.Member] = {}
        blobs: t.Dict[str, Extent] = {}
        read = 0
        everything = [str(image.image_id) if image.reference.digest else image.name for image in sought]
        one_by_one = ([str(image.image_id)] for image in sought if image.name not in members)
        with contextlib.ExitStack() as stack:
            for names in itertools.chain([everything], one_by_one):
                spool = stack.enter_context(place.beside(target))
                archive = self._export(names, spool)
                read += os.path.getsize(spool.name)
                for image in sought:
                    member = None if image.name in members else _member(image, archive, bool(self._platforms))
                    if member:
                        members[image.name] = member
                        blobs.update(archive.extents(_layers(member, archive)))
            for image in sought:
                if image.name not in members:
                    raise EngineError(
                        "%s: the engine at %s shows %s, and exports something else: look at its log, or load the image again"
                        % (image.reference.spelling, self._engine.url, image.image_id)
                    )
            yield Fetched(list(members.values()), blobs, read)

    def _export(self, names: t.Sequence[str], spool: t.BinaryIO) -> Archive:
        with self._engine.export(names) as answer:
            for data in iter(lambda: answer.read(CHUNK), b""):
                spool.write(data)
        spool.flush()
        try:
            return Archive(spool.name, "")
        except ArchiveError as error:
            why = str(error).replace(spool.name, "its export")
            raise EngineError(
                "the engine at %s did not export %s as it should (%s): look at its log, and run again" % (self._engine.url, ", ".join(names), why)
            ) from None


def _member(image: Sought, archive: Archive, chosen: bool) -> t.Optional[bundle.Member]:
    """The image as an archive has it; a manifest that the source told must be that very one.

    ``chosen``: its platforms were asked for.
    """
    for entry in archive.entries:
        found = [
            there
            for there, variant in zip(entry.variants, facts(entry, image.name))
            if any(offer.manifest == variant.manifest.digest if offer.manifest else offer.serves(variant) for offer in image.offers)
        ]
        if len(found) == len(image.offers):
            # The ID is a config's or manifest's where it is not an index's.
            plain = {digest for there in found for digest in (there.config.digest, there.manifest.digest)}
            raw = archive.document(str(image.image_id)) if image.image_id not in plain else None
            index = t.cast(Index, _manifest.parse(raw, image.name)) if raw else None
            if index and chosen:
                index = left(index, {there.manifest.digest for there in found})
            return bundle.Member(image.name, tuple(found), index, archive.attached(index) if index else ())
    return None


def _layers(member: bundle.Member, archive: Archive) -> t.List[str]:
    """The digests of an image's layers; raises EngineError for one that was not exported."""
    for blob, what in member.blobs:
        if not archive.holds(blob.digest):
            raise EngineError("%s: the engine exports the image without %s (%s): load or pull it again" % (member.name, what, blob.digest))
    return [blob.digest for blob, _what in member.blobs]
