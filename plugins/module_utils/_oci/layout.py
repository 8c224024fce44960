# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layouts: the images of an OCI image layout (image-layout, index.json and blobs), and of what docker 25 and later writes."""

from __future__ import annotations

import typing as t

from .._errors import ArchiveError
from . import image as _image
from . import manifest as _manifest
from .contents import Contents, blob_name
from .digest import Digest
from .docker_archive import tagged
from .entries import Below, Draft, Entry
from .manifest import Descriptor, Index, Manifest

NAME_CONTAINERD = "io.containerd.image.name"
NAME_OCI = "org.opencontainers.image.ref.name"
_NO_NAMES = ("sha256:", "sha512:")
"""What podman save names an image that has no name."""
_NESTED = 4
"""How deep an index may lie in an index."""


def entries(contents: Contents) -> t.List[Entry]:
    """Reads ``contents``, and notes there what it learns of blobs and documents."""
    return _Layout(contents).entries()


class _Layout:
    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._known: t.Dict[Digest, Below] = {}

    def entries(self) -> t.List[Entry]:
        index = _manifest.parse(self._contents.files.read("index.json"), self._contents.at("index.json"))
        if not isinstance(index, Index):
            raise ArchiveError("%s is an image manifest: an OCI layout has an index there" % self._contents.at("index.json"))
        tags = tagged(self._contents)
        drafts: t.Dict[str, Draft] = {}
        for descriptor in index.manifests:
            below = self._below(descriptor, _NESTED)
            if not below.images and not below.absent:
                continue
            whole, bare = (descriptor.annotations.get(key) or "" for key in (NAME_CONTAINERD, NAME_OCI))
            names = [text for text in (whole, bare if "/" in bare or ":" in bare else "") if text and not text.startswith(_NO_NAMES)][:1]
            if not names:
                names = next((tags[image.config.digest] for image in below.images if image.config.digest in tags), [])
            # Flat entries of one name are the platforms of one image; entries of one digest are its several names.
            flat = bool(names and descriptor.platform)
            draft = drafts.setdefault(names[0] if flat else str(descriptor.digest), Draft())
            draft.add(below, flat)
            draft.names.update(dict.fromkeys(names))
            draft.targets[descriptor.digest] = None
            handles = [] if names or not bare else [bare]
            handles += [str(descriptor.digest)] + [str(image.config.digest) for image in below.images]
            draft.handles.update(dict.fromkeys(handles))
        return [draft.entry() for draft in drafts.values()]

    def _below(self, descriptor: Descriptor, depth: int) -> Below:
        """All images below a descriptor, without attestations and artifacts; each manifest is looked at once."""
        if descriptor.digest not in self._known:
            self._known[descriptor.digest] = self._look(descriptor, depth)
        return self._known[descriptor.digest]

    def _look(self, descriptor: Descriptor, depth: int) -> Below:
        name = blob_name(descriptor.digest)
        if descriptor.attestation:
            if self._contents.files.has(name):
                self._attest(self._contents.verified(descriptor), descriptor)
            return Below((), ())
        missing = Below((), (str(descriptor.platform or descriptor.digest),))
        alone = depth == _NESTED and not descriptor.platform
        if not self._contents.files.has(name):
            if alone:
                raise ArchiveError(
                    "%s: the manifest %s that it names is not in the archive" % (self._contents.at("index.json"), descriptor.digest)
                )
            return missing
        raw = self._contents.verified(descriptor)
        found = _manifest.parse(raw, self._contents.at(name), descriptor.media_type)
        if isinstance(found, Index):
            if not depth:
                raise ArchiveError("%s: indexes nested more than %d deep" % (self._contents.at(name), _NESTED))
            self._contents.documents[descriptor.digest] = raw
            below = [self._below(child, depth - 1) for child in {child.digest: child for child in found.manifests}.values()]
            images = {image.manifest.digest: image for one in below for image in one.images}
            return Below(tuple(images.values()), tuple(dict.fromkeys(absent for one in below for absent in one.absent)))
        if found.artifact:
            self._contents.artifacts[descriptor.digest] = found.artifact
            self._attest(raw, descriptor)
            return Below((), ())
        if not self._contents.files.has(blob_name(found.config.digest)):
            if alone:
                raise ArchiveError("%s: the config %s of this image is not in the archive" % (self._contents.at(name), found.config.digest))
            return missing
        image = _image.assemble((), found, self._contents.verified(found.config), self._contents.at(name))
        stated = descriptor.platform
        if stated and stated[:2] == image.config.platform[:2]:
            # Old configs do not say for which arm they are.
            image = image._replace(config=image.config._replace(platform=stated))
        for number, layer in enumerate(found.layers, 1):
            self._contents.register(layer, "layer %d of %s" % (number, image.label))
        for digest in (descriptor.digest, image.manifest.digest):
            self._contents.documents[digest] = raw
        for digest in (found.config.digest, image.config.digest):
            self._contents.documents[digest] = image.raw_config
        return Below((image,), ())

    def _attest(self, raw: bytes, descriptor: Descriptor) -> None:
        """What belongs to an image and is none: it goes where the index goes."""
        found = _manifest.parse(raw, self._contents.at(blob_name(descriptor.digest)), descriptor.media_type)
        if isinstance(found, Manifest):
            self._contents.documents[descriptor.digest] = raw
            for blob in found.blobs:
                self._contents.register(blob, "a blob of the artifact %s" % descriptor.digest.short)
