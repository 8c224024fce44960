# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a name stands for, all of it: manifests, the indexes above them, and the blobs that they name."""

from __future__ import annotations

import typing as t

from .._errors import ArchiveError, InvalidInput, shown
from .._oci import manifest as _manifest
from .._oci.choice import choose
from .._oci.digest import Digest
from .._oci.manifest import Descriptor, Index, Manifest, subset
from .._oci.platform import Platform

_NESTED = 4
"""How deep an index may lie in an index."""

_FOREIGN = "application/vnd.oci.image.layer.nondistributable."
"""Layers of others, which are fetched from the addresses in the manifest and never pushed."""


class Blob(t.NamedTuple):
    """``what`` is how messages call it."""

    descriptor: Descriptor
    what: str


class Document(t.NamedTuple):
    """A manifest or index and the blobs that it names."""

    descriptor: Descriptor
    raw: bytes
    blobs: t.Tuple[Blob, ...] = ()


class Tree(t.NamedTuple):
    """All that a name stands for, what is named before what names it; ``lacking`` are manifests that the source does not have."""

    documents: t.Tuple[Document, ...]
    lacking: t.Tuple[Descriptor, ...] = ()

    @property
    def root(self) -> Document:
        return self.documents[-1]

    @property
    def below(self) -> t.Tuple[Digest, ...]:
        """The manifests under the root, those that are lacking too."""
        return tuple(one.descriptor.digest for one in self.documents[:-1]) + tuple(child.digest for child in self.lacking)

    @property
    def blobs(self) -> t.Dict[Digest, Blob]:
        return {blob.descriptor.digest: blob for document in self.documents for blob in document.blobs}


def described(parsed: t.Union[Manifest, Index], digest: t.Optional[Digest] = None, platform: t.Optional[Platform] = None) -> Descriptor:
    return Descriptor(parsed.media_type, digest or parsed.digest, len(parsed.raw), platform)


def narrowed(index: Index, platforms: t.Sequence[Platform], where: str) -> t.Union[Index, Descriptor]:
    """What of an index these platforms take: all of it if none is named, or what is ``left`` of it, or one of its manifests.

    Raises InvalidInput that lists what there is.
    """
    if not platforms:
        return index
    offered = [child for child in index.manifests if child.platform and not child.attestation]
    there = [t.cast(Platform, child.platform) for child in offered]
    chosen = [offered[choose(platform, there, where, InvalidInput, named=True)] for platform in platforms]
    return left(index, {child.digest for child in chosen}) or chosen[0]


def left(index: Index, chosen: t.AbstractSet[str]) -> t.Optional[Index]:
    """What stands for those images of an index that were asked for: all of it for all of them, and else the part that lists them
    alone, without attestations; None for one image, which is its own manifest.
    """
    if len(chosen) == 1:
        return None
    return index if chosen == {child.digest for child in index.manifests if not child.attestation} else subset(index, chosen)


def tree(root: Descriptor, raw: bytes, where: str, read: t.Callable[[Descriptor], t.Optional[bytes]]) -> Tree:
    """Everything below a manifest or index; ``read`` gives the bytes of a further one, or None where the source lacks it.

    Raises ArchiveError for what is no image.
    """
    documents: t.Dict[Digest, Document] = {}
    lacking: t.Dict[Digest, Descriptor] = {}

    def walk(descriptor: Descriptor, data: t.Optional[bytes], depth: int) -> None:
        if descriptor.digest in documents:
            return
        if data is None:
            lacking[descriptor.digest] = descriptor
            return
        parsed = _manifest.parse(data, where, descriptor.media_type)
        descriptor = descriptor._replace(media_type=parsed.media_type, size=len(data))
        if isinstance(parsed, Manifest):
            if parsed.artifact and descriptor.digest == root.digest:
                raise ArchiveError("%s is no image, but %s" % (where, shown(parsed.artifact)))
            documents[descriptor.digest] = Document(descriptor, data, _blobs(parsed, where))
            return
        if not depth:
            raise ArchiveError("%s: indexes nested more than %d deep" % (where, _NESTED))
        for child in parsed.manifests:
            walk(child, read(child), depth - 1)
        documents[descriptor.digest] = Document(descriptor, data)

    walk(root, raw, _NESTED)
    return Tree(tuple(documents.values()), tuple(lacking.values()))


def _blobs(manifest: Manifest, where: str) -> t.Tuple[Blob, ...]:
    layers = [(layer, "layer %d" % number) for number, layer in enumerate(manifest.layers, 1)]
    kept = [(blob, name) for blob, name in layers if not _manifest.oci_type(blob.media_type).startswith(_FOREIGN)]
    return tuple(Blob(blob, "%s of %s" % (name, where)) for blob, name in [(manifest.config, "the config")] + kept)
