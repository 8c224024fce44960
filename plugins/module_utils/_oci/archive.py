# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives: an OCI image layout or a docker archive, in a folder, a tar or a compressed tar.

Read from what others write: docker save (20.10's ``<id>/layer.tar``, 25 and later's layout with ``manifest.json``),
podman save, skopeo, crane, buildx. A blob that the archive does not hold is no error here: the host may have it.
"""

from __future__ import annotations

import os
import typing as t

from .._errors import ArchiveError, BlobMismatch, ImageNotInArchive, InvalidReference
from . import compression
from . import image as _image
from . import manifest as _manifest
from . import platform as _platform
from .digest import Digest
from .files import Extent, FolderFiles, PackedFiles, TarFiles
from .image import Image
from .manifest import Descriptor, Index
from .reference import parse as parse_reference

NAME_CONTAINERD = "io.containerd.image.name"
NAME_OCI = "org.opencontainers.image.ref.name"
_NESTED = 4
"""How deep an index may lie in an index."""


class Entry(t.NamedTuple):
    """One image of an archive, in each platform that the archive has.

    ``names`` are whole references as the archive spells them; ``label`` is how messages call it; ``handles`` are further
    texts by which a user may mean it: digests, and a bare tag that the writer left in place of a name. ``absent`` lists
    platforms that an index names and the archive lacks.
    """

    names: t.Tuple[str, ...]
    handles: t.Tuple[str, ...]
    variants: t.Tuple[Image, ...]
    absent: t.Tuple[str, ...]

    @property
    def label(self) -> str:
        return (self.names + self.handles)[0]


class Archive:
    """``entries`` are its images, ``where`` the path that the user gave; can be pickled."""

    def __init__(self, path: str, scratch: str) -> None:
        """Open ``path``; a compressed tar is expanded into the folder ``scratch`` as far as its blobs are asked for.

        Raises ArchiveError that says what the path is instead of an archive.
        """
        self.where = path
        self._files = _files(path, scratch)
        self._blobs: t.Dict[str, str] = {}
        self._documents: t.Dict[str, bytes] = {}
        if self._files.has("index.json"):
            self.entries = self._layout()
        elif self._files.has("manifest.json"):
            self.entries = self._docker()
        else:
            raise ArchiveError(
                "%s: neither an OCI layout (no index.json) nor a docker archive (no manifest.json): give what docker save, podman save, "
                "skopeo or image_archive wrote" % path
            )
        if not self.entries:
            raise ArchiveError("%s: holds no image" % path)

    def holds(self, digest: str) -> bool:
        return digest in self._documents or digest in self._blobs

    def document(self, digest: str) -> t.Optional[bytes]:
        """A manifest or config of one of the entries."""
        return self._documents.get(digest)

    def extents(self, digests: t.Iterable[str]) -> t.Dict[str, Extent]:
        """Where blobs lie on disk, by digest; expands all of them in one pass if the archive is compressed."""
        names = {digest: self._blobs[digest] for digest in digests}
        found = self._files.extents(names.values())
        return {digest: found[name] for digest, name in names.items()}

    # OCI layouts

    def _layout(self) -> t.Tuple[Entry, ...]:
        index = _manifest.parse(self._files.read("index.json"), self._at("index.json"))
        if not isinstance(index, Index):
            raise ArchiveError("%s is an image manifest: an OCI layout has an index there" % self._at("index.json"))
        tags = self._docker_tags()
        groups: t.Dict[str, t.Tuple[t.List[str], t.List[str], t.List[Image], t.List[str]]] = {}
        for descriptor in index.manifests:
            variants: t.List[Image] = []
            absent: t.List[str] = []
            self._collect(descriptor, variants, absent, _NESTED)
            names = [descriptor.annotations[NAME_CONTAINERD]] if NAME_CONTAINERD in descriptor.annotations else []
            bare = descriptor.annotations.get(NAME_OCI) or ""
            if not names and ("/" in bare or ":" in bare):
                names, bare = [bare], ""
            for image in variants:
                names = names or tags.get(image.config.digest, [])
            # Flat entries of one name are the platforms of one image; entries of one digest are its several names.
            key = names[0] if names and len(variants) == 1 and descriptor.platform else str(descriptor.digest)
            group = groups.setdefault(key, ([], [], [], []))
            _extend(group[0], names)
            _extend(group[1], [bare] * bool(bare) + [str(descriptor.digest)] + [str(image.config.digest) for image in variants])
            _extend(group[2], variants)
            _extend(group[3], absent)
        return _merged(Entry(*map(tuple, group)) for group in groups.values() if group[2] or group[3])

    def _collect(self, descriptor: Descriptor, variants: t.List[Image], absent: t.List[str], depth: int) -> None:
        """All images below a descriptor, without attestations."""
        if descriptor.attestation:
            return
        name = _blob(descriptor.digest)
        if not self._files.has(name):
            absent.append(str(descriptor.platform or descriptor.digest))
            return
        raw = self._verified(descriptor)
        found = _manifest.parse(raw, self._at(name), descriptor.media_type)
        if isinstance(found, Index):
            if not depth:
                raise ArchiveError("%s: indexes nested more than %d deep" % (self._at(name), _NESTED))
            for child in found.manifests:
                self._collect(child, variants, absent, depth - 1)
            return
        if not self._files.has(_blob(found.config.digest)):
            raise ArchiveError("%s: the config %s of this image is not in the archive" % (self._at(name), found.config.digest))
        image = _image.assemble((), found, self._verified(found.config), self._at(name))
        for number, layer in enumerate(found.layers, 1):
            self._register(layer, "layer %d of %s" % (number, image.label))
        self._documents[image.manifest.digest] = raw
        self._documents[image.config.digest] = image.raw_config
        variants.append(image)

    def _verified(self, descriptor: Descriptor) -> bytes:
        name = _blob(descriptor.digest)
        raw = self._files.read(name)
        if Digest.of(raw) != descriptor.digest and descriptor.digest.algorithm == "sha256":
            raise BlobMismatch("%s: its bytes are %s, not what its name says: make or copy the archive again" % (self._at(name), Digest.of(raw)))
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
        if not self._files.has("manifest.json"):
            return {}
        where = self._at("manifest.json")
        tags: t.Dict[str, t.List[str]] = {}
        for item in self._docker_items():
            config = str(item.get("Config") or "")
            if config.startswith("blobs/sha256/"):
                tags["sha256:" + config[len("blobs/sha256/"):]] = [str(tag) for tag in _manifest.listed(item.get("RepoTags") or [], where)]
        return tags

    # Docker archives

    def _docker_items(self) -> t.List[t.Dict[str, t.Any]]:
        where = self._at("manifest.json")
        document = _manifest.load(b'{"items":%s}' % self._files.read("manifest.json"), where)
        items = _manifest.listed(document["items"], where)
        if not all(isinstance(item, dict) for item in items):
            raise ArchiveError("%s: a list of images is wanted" % where)
        return items

    def _docker(self) -> t.Tuple[Entry, ...]:
        where = self._at("manifest.json")
        groups: t.Dict[str, t.Tuple[t.List[str], Image]] = {}
        for item in self._docker_items():
            config_name = str(item.get("Config") or "")
            if not self._files.has(config_name):
                raise ArchiveError("%s: the config %r that it names is not in the archive" % (where, config_name))
            raw = self._files.read(config_name)
            config = _image.parse_config(raw, self._at(config_name))
            files = [str(name) for name in _manifest.listed(item.get("Layers") or [], where)]
            if len(files) != len(config.diff_ids):
                raise ArchiveError("%s: %d layer files for the %d layers of %s" % (where, len(files), len(config.diff_ids), config_name))
            layers = [self._docker_layer(name, diff_id) for name, diff_id in zip(files, config.diff_ids)]
            manifest = _manifest.make(Descriptor(_manifest.OCI_CONFIG, config.digest, len(raw)), layers)
            image = _image.assemble((), manifest, raw, self._at(config_name))
            self._documents[manifest.digest] = manifest.raw
            self._documents[config.digest] = raw
            group = groups.setdefault(manifest.digest, ([], image))
            _extend(group[0], [str(tag) for tag in _manifest.listed(item.get("RepoTags") or [], where)])
        return tuple(
            Entry(tuple(names), (str(image.config.digest), str(image.manifest.digest)), (image,), ()) for names, image in groups.values()
        )

    def _docker_layer(self, name: str, diff_id: Digest) -> Descriptor:
        """A docker archive states no digests: an uncompressed layer's is its diff ID, any other's is found by reading it."""
        if not self._files.has(name):
            return Descriptor(_manifest.OCI_LAYER, diff_id, 0)
        kind = compression.sniff(self._files.head(name))
        digest = Digest(self._files.sha256(name)) if kind else diff_id
        self._blobs[digest] = name
        suffix = "+" + kind if kind else ""
        return Descriptor(_manifest.OCI_LAYER + suffix, digest, self._files.size(name))

    def _at(self, name: str) -> str:
        return "%s: %s" % (self.where, name)


def _merged(entries: t.Iterable[Entry]) -> t.Tuple[Entry, ...]:
    """Entries of the same manifests are one image under several names."""
    merged: t.Dict[t.Any, Entry] = {}
    for entry in entries:
        key = tuple(image.manifest.digest for image in entry.variants) or entry.handles
        first = merged.get(key, entry)
        names, handles = list(first.names), list(first.handles)
        _extend(names, entry.names)
        _extend(handles, entry.handles)
        merged[key] = first._replace(names=tuple(names), handles=tuple(handles))
    return tuple(merged.values())


def _files(path: str, scratch: str) -> t.Any:
    if os.path.isdir(path):
        return FolderFiles(path)
    try:
        with open(path, "rb") as stream:
            kind = compression.sniff(stream.read(compression.HEAD))
    except OSError as error:
        raise ArchiveError("%s: cannot be read: %s" % (path, error.strerror)) from None
    return PackedFiles(path, kind, scratch) if kind else TarFiles(path)


def _blob(digest: Digest) -> str:
    return "blobs/%s/%s" % (digest.algorithm, digest.hex)


def _extend(items: t.List[t.Any], more: t.Iterable[t.Any]) -> None:
    items.extend(item for item in more if item not in items)


def select(archive: Archive, wanted: t.Optional[t.Sequence[str]]) -> t.List[Entry]:
    """The entries that ``wanted`` names, by reference or digest, in that order; all of them if it is None.

    Raises ImageNotInArchive that lists what there is.
    """
    if wanted is None:
        return list(archive.entries)
    chosen = []
    for text in wanted:
        match = [entry for entry in archive.entries if text in entry.handles or _canonical(text) in map(_canonical, entry.names)]
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
