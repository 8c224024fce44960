# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles: a set of images in one file or folder, each blob once, the same images always as the same bytes.

Three forms: ``oci-archive``, the tar of an OCI image layout that also carries docker's ``manifest.json``, so that a plain
``docker load`` or ``podman load`` reads it; ``oci-layout``, that layout as a folder; ``docker-archive``, what docker save
wrote before it knew layouts.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import typing as t

from .._errors import BlobMismatch
from . import manifest as _manifest
from .digest import CHUNK, Digest, Verified, drain
from .extent import Extent
from .image import Image
from .layout import NAME_CONTAINERD, NAME_OCI
from .manifest import OCI_INDEX, Descriptor, Index, Manifest, make_index, subset
from .platform import Platform
from .tar import BLOCK, END, header, padding
from .thin import LAYOUT, path

OCI_ARCHIVE, OCI_LAYOUT, DOCKER_ARCHIVE = FORMS = ("oci-archive", "oci-layout", "docker-archive")

_COMMON = Platform("linux", "amd64")


class Member(t.NamedTuple):
    """An image of a bundle under its ``name`` (canonical, with a tag), in each platform that the bundle shall have.

    ``source_index`` is the one that its source has of it, ``attached`` are the manifests of its attestations and artifacts; they
    are kept, to the byte, if the index lists just these and the ``variants``, and else what it says of the variants is.
    """

    name: str
    variants: t.Tuple[Image, ...]
    source_index: t.Optional[Index] = None
    attached: t.Tuple[Manifest, ...] = ()

    @property
    def whole(self) -> t.Optional[Index]:
        """The source's index, if all that it lists is here."""
        here = {image.manifest.digest for image in self.variants} | {manifest.digest for manifest in self.attached}
        return self.source_index if self.source_index and {child.digest for child in self.source_index.manifests} == here else None

    @property
    def attachments(self) -> t.Tuple[Manifest, ...]:
        """Those of ``attached`` that are kept."""
        return self.attached if self.whole else ()

    @property
    def blobs(self) -> t.List[t.Tuple[Descriptor, str]]:
        """Layers, and what is attached to the image, each with how messages call it."""
        found = []
        for image in self.variants:
            found += [(layer.descriptor, "layer %d of %s" % (number, self.name)) for number, layer in enumerate(image.layers, 1)]
        for manifest in self.attachments:
            found += [(blob, "an attachment of %s" % self.name) for blob in manifest.blobs]
        return found

    @property
    def target(self) -> t.Tuple[Descriptor, bytes]:
        """What the name stands for: a manifest if there is one platform, else an index."""
        index = self.whole
        if index is None and len(self.variants) == 1:
            return _descriptor(self.variants[0]), self.variants[0].manifest.raw
        if index is None:
            digests = {image.manifest.digest for image in self.variants}
            known = self.source_index
            listed = known and digests <= {child.digest for child in known.manifests}
            index = subset(known, digests) if known and listed else make_index(map(_descriptor, self.variants))
        return Descriptor(index.media_type, index.digest, len(index.raw)), index.raw


class File(t.NamedTuple):
    """A file of a bundle: a document in ``data``, or a layer of this ``digest``; ``what`` is how messages call it."""

    name: str
    digest: t.Optional[Digest]
    size: int
    data: t.Optional[bytes]
    what: str


Blobs = t.Mapping[str, Extent]


def files(members: t.Iterable[Member], form: str, base: t.Callable[[str], bool] = lambda digest: False) -> t.List[File]:
    """What a bundle of these images consists of, in its order: documents, then layers in the order of their first use.

    A docker-archive takes one platform of each image. Layers that are in a ``base`` are left out.
    """
    members = sorted(members, key=lambda member: member.name)
    found = _docker_archive(members) if form == DOCKER_ARCHIVE else _layout(members, form == OCI_ARCHIVE)
    return [file for file in found if file.digest is None or not base(file.digest)]


def _layout(members: t.Sequence[Member], with_docker: bool) -> t.List[File]:
    entries, found = [], {}
    for member in members:
        target, raw = member.target
        annotations = {NAME_CONTAINERD: member.name, NAME_OCI: member.name}
        entries.append(dict(target.entry(), annotations=annotations))
        found[path(target.digest)] = raw
        for image in member.variants:
            found[path(image.manifest.digest)] = image.manifest.raw
            found[path(image.config.digest)] = image.raw_config
        found.update((path(manifest.digest), manifest.raw) for manifest in member.attachments)
    documents = {"oci-layout": LAYOUT, "index.json": _manifest.dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})}
    if with_docker:
        documents["manifest.json"] = _docker_manifest(members, path, path)
    documents.update(found)
    return _documents(documents) + _layers(members, path)


def _docker_archive(members: t.Sequence[Member]) -> t.List[File]:
    members = [member._replace(variants=(_one(member),), attached=()) for member in members]
    documents = {"manifest.json": _docker_manifest(members, _docker_config, _docker_layer)}
    documents.update((_docker_config(image.config.digest), image.raw_config) for member in members for image in member.variants)
    return _documents(documents) + _layers(members, _docker_layer)


def _one(member: Member) -> Image:
    """The platform for who knows no more than one: linux/amd64, else the first."""
    return next((image for image in member.variants if image.config.platform == _COMMON), member.variants[0])


def _docker_config(digest: Digest) -> str:
    return digest.hex + ".json"


def _docker_layer(digest: Digest) -> str:
    return digest.hex + ".tar"


def _docker_manifest(members: t.Sequence[Member], config: t.Callable[[Digest], str], layer: t.Callable[[Digest], str]) -> bytes:
    items: t.Dict[str, t.Dict[str, t.Any]] = {}
    for member in members:
        image = _one(member)
        layers = [layer(one.descriptor.digest) for one in image.layers]
        item = items.setdefault(image.manifest.digest, {"Config": config(image.config.digest), "RepoTags": [], "Layers": layers})
        item["RepoTags"].append(member.name)
    return b"[%s]" % b",".join(map(_manifest.dump, items.values()))


def _documents(documents: t.Mapping[str, bytes]) -> t.List[File]:
    return [File(name, None, len(data), data, name) for name, data in documents.items()]


def _layers(members: t.Iterable[Member], name: t.Callable[[Digest], str]) -> t.List[File]:
    found: t.Dict[str, File] = {}
    for member in members:
        for blob, what in member.blobs:
            found.setdefault(blob.digest, File(name(blob.digest), blob.digest, blob.size, None, what))
    return list(found.values())


def _descriptor(image: Image) -> Descriptor:
    return Descriptor(image.manifest.media_type, image.manifest.digest, len(image.manifest.raw), image.config.platform)


# Writing


def size(files: t.Iterable[File], form: str) -> int:
    """Bytes of the bundle."""
    if form == OCI_LAYOUT:
        return sum(file.size for file in files)
    return sum(BLOCK + file.size + len(padding(file.size)) for file in files) + len(END)


def write_tar(files: t.Iterable[File], blobs: Blobs, out: t.BinaryIO, proved: bool = False) -> str:
    """Write the files as a tar, each layer checked by digest on the way unless it is ``proved``; the sha256 of the tar, in hex."""
    digest = hashlib.sha256()
    for data in itertools.chain(*(_tarred(file, blobs, proved) for file in files), [END]):
        digest.update(data)
        out.write(data)
    out.flush()
    return digest.hexdigest()


def write_folder(files: t.Iterable[File], blobs: Blobs, folder: str, proved: bool = False) -> None:
    """Make ``folder`` this layout: what is there and right stays, ``index.json`` comes last, and then goes what it does not name.

    Files of their own in which ``proved`` layers lie are moved.
    """
    os.makedirs(os.path.join(folder, "blobs"), exist_ok=True)
    files = sorted(files, key=lambda file: file.name == "index.json")
    part = os.path.join(folder, "blobs", "part-%d" % os.getpid())
    for file in files:
        target = os.path.join(folder, file.name)
        extent = blobs[file.digest] if file.digest and proved else None
        if extent and os.path.realpath(target) == extent.path or not extent and _intact(file, target):
            continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if extent and extent == Extent(extent.path, 0, os.path.getsize(extent.path)):
            shutil.move(extent.path, part)
        else:
            with open(part, "wb") as out:
                for data in _content(file, blobs, proved):
                    out.write(data)
        os.rename(part, target)
    wanted = {os.path.join(folder, file.name) for file in files}
    for found in below(os.path.join(folder, "blobs")):
        if found not in wanted:
            os.unlink(found)


def _intact(file: File, target: str) -> bool:
    """Whether ``target`` has these bytes already."""
    if not os.path.isfile(target) or os.path.getsize(target) != file.size:
        return False
    with open(target, "rb") as stream:
        if file.data is not None:
            return stream.read() == file.data
        try:
            drain(Verified(stream, t.cast(Digest, file.digest), file.size, file.what))
        except BlobMismatch:
            return False
        return True


def below(folder: str) -> t.List[str]:
    """The paths of all files in a folder."""
    return [os.path.join(where, name) for where, _folders, names in os.walk(folder) for name in names]


def _tarred(file: File, blobs: Blobs, proved: bool) -> t.Iterator[bytes]:
    yield header(file.name, file.size)
    yield from _content(file, blobs, proved)
    yield padding(file.size)


def _content(file: File, blobs: Blobs, proved: bool) -> t.Iterator[bytes]:
    if file.data is not None:
        yield file.data
        return
    with blobs[t.cast(Digest, file.digest)].open() as stream:
        source = stream if proved else Verified(stream, t.cast(Digest, file.digest), file.size, file.what)
        yield from iter(lambda: source.read(CHUNK), b"")
