# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives: an OCI image layout or a docker archive, in a folder, a tar or a compressed tar.

Read from what others write: docker save (20.10's ``<id>/layer.tar``, 25 and later's layout with ``manifest.json``),
podman save, skopeo, crane, buildx. A blob that the archive does not hold is no error here: the host may have it.
"""

from __future__ import annotations

import io
import os
import re
import typing as t

from .._errors import ArchiveError, BlobMismatch, ImageNotInArchive, InvalidReference, naming, shown
from . import compression
from . import image as _image
from . import manifest as _manifest
from .digest import Digest, Verified
from .extent import Extent
from .files import opened
from .image import Image
from .manifest import Descriptor, Index, Manifest
from .reference import misplaced
from .reference import parse as parse_reference

NAME_CONTAINERD = "io.containerd.image.name"
NAME_OCI = "org.opencontainers.image.ref.name"
_NO_NAMES = ("sha256:", "sha512:")
"""What podman save names an image that has no name."""
_NESTED = 4
"""How deep an index may lie in an index."""
_CONFIG_NAME = re.compile(r"(?:blobs/sha256/|sha256:)?([0-9a-f]{64})(?:\.json)?")
"""What writers call a config by its digest."""


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


class Archive:
    """``entries`` are its images, ``where`` the path that the user gave; ``bases`` are other archives that have blobs which this
    one leaves out. Can be pickled.
    """

    def __init__(self, path: str, scratch: str, bases: t.Sequence[Archive] = ()) -> None:
        """Open ``path``; a compressed tar is expanded into the folder ``scratch`` as far as its blobs are asked for.

        Raises ArchiveError that says what the path is instead of an archive.
        """
        self.where = path
        self.bases = tuple(bases)
        self._files = opened(path, scratch)
        self._blobs: t.Dict[str, str] = {}
        self._documents: t.Dict[str, bytes] = {}
        self._artifacts: t.Dict[str, str] = {}
        if self._files.has("index.json"):
            found = self._layout()
        elif self._files.has("manifest.json"):
            found = self._docker()
        else:
            raise ArchiveError(
                "%s: neither an OCI layout (no index.json) nor a docker archive (no manifest.json)" % path,
                "give what docker save, podman save, skopeo or image_archive wrote",
            )
        self.entries = _settled(found)
        if not self.entries:
            other = ", but %s" % ", ".join(map(shown, sorted(set(self._artifacts.values())))) if self._artifacts else ""
            raise ArchiveError("%s: holds no image%s" % (path, other))

    def holds(self, digest: str) -> bool:
        """Whether the blob is here, or in a base."""
        return digest in self._documents or digest in self._blobs or any(base.holds(digest) for base in self.bases)

    def document(self, digest: str) -> t.Optional[bytes]:
        """A manifest or config of one of the entries, an index above them, or the manifest of what is attached to them."""
        return self._documents.get(digest)

    def attached(self, index: Index) -> t.Tuple[Manifest, ...]:
        """The manifests of attestations and artifacts that an index names, those of which all is here."""
        found = []
        for child in index.manifests:
            raw = self._documents.get(child.digest) if child.attestation or child.digest in self._artifacts else None
            manifest = _manifest.parse(raw, self.where, child.media_type) if raw else None
            if isinstance(manifest, Manifest) and all(self.holds(blob.digest) for blob in manifest.blobs):
                found.append(manifest)
        return tuple(found)

    def artifact(self, digest: str) -> t.Optional[str]:
        """The media type of what is in the archive and no image: a Helm chart, a signature."""
        return self._artifacts.get(digest)

    def extents(self, digests: t.Iterable[str]) -> t.Dict[str, Extent]:
        """Where blobs lie on disk, by digest; expands all of them in one pass if the archive is compressed."""
        digests = list(digests)
        names = {digest: self._blobs[digest] for digest in digests if digest in self._blobs}
        found = self._files.extents(names.values())
        extents = {digest: found[name] for digest, name in names.items()}
        for base in self.bases:
            extents.update(base.extents(digest for digest in digests if digest not in extents and base.holds(digest)))
        return {digest: extents[digest] for digest in digests}

    # OCI layouts

    def _layout(self) -> t.List[Entry]:
        index = _manifest.parse(self._files.read("index.json"), self._at("index.json"))
        if not isinstance(index, Index):
            raise ArchiveError("%s is an image manifest: an OCI layout has an index there" % self._at("index.json"))
        tags = self._docker_tags()
        drafts: t.Dict[str, _Draft] = {}
        known: t.Dict[Digest, _Below] = {}
        for descriptor in index.manifests:
            below = self._below(descriptor, _NESTED, known)
            if not below.images and not below.absent:
                continue
            whole, bare = (descriptor.annotations.get(key) or "" for key in (NAME_CONTAINERD, NAME_OCI))
            names = [text for text in (whole, bare if "/" in bare or ":" in bare else "") if text and not text.startswith(_NO_NAMES)][:1]
            if not names:
                names = next((tags[image.config.digest] for image in below.images if image.config.digest in tags), [])
            # Flat entries of one name are the platforms of one image; entries of one digest are its several names.
            flat = bool(names and descriptor.platform)
            draft = drafts.setdefault(names[0] if flat else str(descriptor.digest), _Draft())
            draft.add(below, flat)
            draft.names.update(dict.fromkeys(names))
            draft.targets[descriptor.digest] = None
            handles = [] if names or not bare else [bare]
            handles += [str(descriptor.digest)] + [str(image.config.digest) for image in below.images]
            draft.handles.update(dict.fromkeys(handles))
        return [draft.entry() for draft in drafts.values()]

    def _below(self, descriptor: Descriptor, depth: int, known: t.Dict[Digest, _Below]) -> _Below:
        """All images below a descriptor, without attestations and artifacts; each manifest is looked at once."""
        if descriptor.digest not in known:
            known[descriptor.digest] = self._look(descriptor, depth, known)
        return known[descriptor.digest]

    def _look(self, descriptor: Descriptor, depth: int, known: t.Dict[Digest, _Below]) -> _Below:
        name = _blob(descriptor.digest)
        if descriptor.attestation:
            if self._files.has(name):
                self._attest(self._verified(descriptor), descriptor)
            return _Below((), ())
        missing = _Below((), (str(descriptor.platform or descriptor.digest),))
        alone = depth == _NESTED and not descriptor.platform
        if not self._files.has(name):
            if alone:
                raise ArchiveError("%s: the manifest %s that it names is not in the archive" % (self._at("index.json"), descriptor.digest))
            return missing
        raw = self._verified(descriptor)
        found = _manifest.parse(raw, self._at(name), descriptor.media_type)
        if isinstance(found, Index):
            if not depth:
                raise ArchiveError("%s: indexes nested more than %d deep" % (self._at(name), _NESTED))
            self._documents[descriptor.digest] = raw
            below = [self._below(child, depth - 1, known) for child in {child.digest: child for child in found.manifests}.values()]
            images = {image.manifest.digest: image for one in below for image in one.images}
            return _Below(tuple(images.values()), tuple(dict.fromkeys(absent for one in below for absent in one.absent)))
        if found.artifact:
            self._artifacts[descriptor.digest] = found.artifact
            self._attest(raw, descriptor)
            return _Below((), ())
        if not self._files.has(_blob(found.config.digest)):
            if alone:
                raise ArchiveError("%s: the config %s of this image is not in the archive" % (self._at(name), found.config.digest))
            return missing
        image = _image.assemble((), found, self._verified(found.config), self._at(name))
        stated = descriptor.platform
        if stated and stated[:2] == image.config.platform[:2]:
            # Old configs do not say for which arm they are.
            image = image._replace(config=image.config._replace(platform=stated))
        for number, layer in enumerate(found.layers, 1):
            self._register(layer, "layer %d of %s" % (number, image.label))
        for digest in (descriptor.digest, image.manifest.digest):
            self._documents[digest] = raw
        for digest in (found.config.digest, image.config.digest):
            self._documents[digest] = image.raw_config
        return _Below((image,), ())

    def _attest(self, raw: bytes, descriptor: Descriptor) -> None:
        """What belongs to an image and is none: it goes where the index goes."""
        found = _manifest.parse(raw, self._at(_blob(descriptor.digest)), descriptor.media_type)
        if isinstance(found, Manifest):
            self._documents[descriptor.digest] = raw
            for blob in found.blobs:
                self._register(blob, "a blob of the artifact %s" % descriptor.digest.short)

    def _verified(self, descriptor: Descriptor) -> bytes:
        name = _blob(descriptor.digest)
        raw = self._files.read(name)
        Verified(io.BytesIO(raw), descriptor.digest, descriptor.size, self._at(name)).read()
        return raw

    def _register(self, layer: Descriptor, what: str) -> None:
        name = _blob(layer.digest)
        if not self._files.has(name):
            return
        if self._files.size(name) != layer.size:
            raise BlobMismatch(
                "%s: %s has %d bytes where the manifest says %d: make or copy the archive again"
                % (self._at(name), what, self._files.size(name), layer.size)
            )
        self._blobs[layer.digest] = name

    def _docker_tags(self) -> t.Dict[str, t.List[str]]:
        """Names by config digest, from the ``manifest.json`` that docker puts beside a layout."""
        tags: t.Dict[str, t.List[str]] = {}
        for item in self._docker_items() if self._files.has("manifest.json") else ():
            folder, _slash, encoded = item.config.rpartition("/")
            if folder == "blobs/sha256" and item.tags:
                tags.setdefault("sha256:" + encoded, []).extend(item.tags)
        return tags

    # Docker archives

    def _docker_items(self) -> t.List[_Item]:
        where = self._at("manifest.json")
        document = _manifest.load(b'{"items":%s}' % self._files.read("manifest.json"), where)
        return [_Item.parse(item, where) for item in _manifest.listed(document["items"], where)]

    def _docker(self) -> t.List[Entry]:
        where = self._at("manifest.json")
        drafts: t.Dict[str, _Draft] = {}
        packed: t.Dict[str, Digest] = {}
        for item in self._docker_items():
            if not self._files.has(item.config):
                raise ArchiveError("%s: the config %s that it names is not in the archive" % (where, shown(item.config)))
            raw = self._files.read(item.config)
            config = _image.parse_config(raw, self._at(item.config))
            named = _CONFIG_NAME.fullmatch(item.config)
            if named and named.group(1) != config.digest.hex:
                raise BlobMismatch(
                    "%s: its bytes are %s, not what its name says: make or copy the archive again" % (self._at(item.config), config.digest)
                )
            if len(item.layers) != len(config.diff_ids):
                raise ArchiveError(
                    "%s: %d layer files for the %d layers of %s" % (where, len(item.layers), len(config.diff_ids), shown(item.config))
                )
            layers = [self._docker_layer(name, diff_id, packed) for name, diff_id in zip(item.layers, config.diff_ids)]
            manifest = _manifest.make(Descriptor(_manifest.OCI_CONFIG, config.digest, len(raw)), layers)
            image = _image.assemble((), manifest, raw, self._at(item.config))
            self._documents[manifest.digest] = manifest.raw
            self._documents[config.digest] = raw
            draft = drafts.setdefault(manifest.digest, _Draft())
            draft.add(_Below((image,), ()), False)
            draft.names.update(dict.fromkeys(item.tags))
            draft.targets[manifest.digest] = None
            draft.handles.update({str(config.digest): None, str(manifest.digest): None})
        return [draft.entry() for draft in drafts.values()]

    def _docker_layer(self, name: str, diff_id: Digest, packed: t.Dict[str, Digest]) -> Descriptor:
        """A docker archive states no digests: an uncompressed layer's is its diff ID, any other's is found by reading it, once."""
        if not self._files.has(name):
            return Descriptor(_manifest.OCI_LAYER, diff_id, 0)
        kind = compression.sniff(self._files.head(name))
        if kind and name not in packed:
            packed[name] = Digest(self._files.sha256(name))
        digest = packed[name] if kind else diff_id
        self._blobs[digest] = name
        suffix = "+" + kind if kind else ""
        return Descriptor(_manifest.OCI_LAYER + suffix, digest, self._files.size(name))

    def _at(self, name: str) -> str:
        return "%s: %s" % (self.where, shown(name))


def several(paths: t.Iterable[str], scratch: str) -> t.List[Archive]:
    """The archives of the option ``base``, which may each need a folder of their own below ``scratch``."""
    with naming("base"):
        return [Archive(path, os.path.join(scratch, "base-%d" % number)) for number, path in enumerate(paths)]


class _Item(t.NamedTuple):
    """One image of a ``manifest.json``."""

    config: str
    tags: t.List[str]
    layers: t.List[str]

    @classmethod
    def parse(cls, document: t.Any, where: str) -> _Item:
        item = _manifest.mapping(document, where)
        tags, layers = (
            [_manifest.text(text, where) for text in _manifest.listed(item.get(key), where)] for key in ("RepoTags", "Layers")
        )
        return cls(_manifest.text(item.get("Config"), where), list(filter(None, tags)), layers)


class _Below(t.NamedTuple):
    """What an index or manifest leads to."""

    images: t.Tuple[Image, ...]
    absent: t.Tuple[str, ...]


class _Draft:
    """An entry in the making; dicts for their order."""

    def __init__(self) -> None:
        self.names: t.Dict[str, None] = {}
        self.handles: t.Dict[str, None] = {}
        self.variants: t.Dict[str, Image] = {}
        self.absent: t.Dict[str, None] = {}
        self.targets: t.Dict[Digest, None] = {}

    def add(self, below: _Below, flat: bool) -> None:
        """``flat``: of several images for one platform the last replaces the others, as a tag that was moved."""
        for image in below.images:
            if flat:
                self.variants = {key: one for key, one in self.variants.items() if one.config.platform != image.config.platform}
            self.variants[image.manifest.digest] = image
        self.absent.update(dict.fromkeys(below.absent))

    def entry(self) -> Entry:
        return Entry(tuple(self.names), tuple(self.handles), tuple(self.variants.values()), tuple(self.absent), tuple(self.targets))


def _settled(entries: t.Iterable[Entry]) -> t.Tuple[Entry, ...]:
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
        owners.update((_canonical(name), key) for name in entry.names)
    settled = (
        (entry, entry._replace(names=tuple(name for name in entry.names if owners[_canonical(name)] == key)))
        for key, entry in merged.items()
    )
    return tuple(entry for before, entry in settled if entry.names or not before.names)


def _blob(digest: Digest) -> str:
    return "blobs/%s/%s" % (digest.algorithm, digest.hex)


def select(archive: Archive, wanted: t.Optional[t.Sequence[str]]) -> t.List[Entry]:
    """The entries that ``wanted`` names, by reference or digest, in that order; all of them if it is None.

    Raises ImageNotInArchive that lists what there is, or InvalidReference.
    """
    if wanted is None:
        return list(archive.entries)
    chosen = []
    for text in wanted:
        match = [entry for entry in archive.entries if text in entry.handles or _canonical(text) in map(_canonical, entry.names)]
        if not match and misplaced(text):
            parse_reference(text)  # it raises InvalidReference, which says more
        if not match and archive.artifact(text):
            raise ImageNotInArchive("%s in %s is no image, but %s" % (text, archive.where, shown(archive.artifact(text))))
        if not match:
            raise ImageNotInArchive(
                "%s is not in %s, which holds %s" % (text, archive.where, ", ".join(entry.label for entry in archive.entries))
            )
        chosen.append(match[0])
    return chosen


def _canonical(text: str) -> str:
    try:
        return str(parse_reference(text))
    except InvalidReference:
        return text
