# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Descriptors, manifests and indexes: raw bytes and their parse (image-spec, descriptor.md, manifest.md, image-index.md).

A digest is always of the bytes as received; nothing here dumps a parsed document in order to hash it.
"""

from __future__ import annotations

import json
import re
import typing as t

from .._errors import ArchiveError, InvalidInput, shown
from . import platform as _platform
from .digest import Digest

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"

INDEXES = (OCI_INDEX, DOCKER_LIST)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
ACCEPT = ", ".join(INDEXES + MANIFESTS)
"""What a registry must be told that we read, or it converts or hides manifests."""

LIMIT = 4 << 20
"""Bytes of the largest manifest or config that is read (distribution-spec: registries must take manifests of 4 MiB)."""

_LAYERS = "application/vnd.oci.image.layer."
_DEEP = 64
"""How deep JSON may be nested; no document of the specifications comes to a quarter of it."""

REFERENCE_TYPE = "vnd.docker.reference.type"
"""Annotation of BuildKit's attestation manifests, which are no images."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

_T = t.TypeVar("_T")

_OCI_OF_DOCKER = {
    "application/vnd.docker.image.rootfs.diff.tar": OCI_LAYER,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": OCI_LAYER + "+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": OCI_LAYER + "+zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar": "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.docker.container.image.v1+json": OCI_CONFIG,
    DOCKER_MANIFEST: OCI_MANIFEST,
    DOCKER_LIST: OCI_INDEX,
}


def oci_type(media_type: str) -> str:
    """The OCI media type that means the same as a Docker one; any other as it is."""
    return _OCI_OF_DOCKER.get(media_type, media_type)


class Descriptor(t.NamedTuple):
    """A typed pointer to bytes; ``size`` in bytes."""

    media_type: str
    digest: Digest
    size: int
    platform: t.Optional[_platform.Platform] = None
    annotations: t.Mapping[str, str] = {}

    @classmethod
    def parse(cls, document: t.Any, where: str) -> Descriptor:
        """Raises ArchiveError that names ``where`` if a field is missing or malformed."""
        if not isinstance(document, dict):
            raise ArchiveError("%s: a descriptor is wanted where this has %s" % (where, shown(document)))
        size, stated = document.get("size"), document.get("platform")
        try:
            if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
                raise InvalidInput("its size is %s" % shown(size))
            digest = Digest.parse(t.cast(str, document.get("digest")))
            platform = _platform.of(stated) if stated else None
        except InvalidInput as error:
            raise ArchiveError("%s: a descriptor is malformed: %s" % (where, error)) from None
        annotations = mapping(document.get("annotations"), where)
        if not all(isinstance(value, str) for value in annotations.values()):
            raise ArchiveError("%s: the annotations of %s are not all text" % (where, digest))
        return cls(text(document.get("mediaType"), where), digest, size, platform, annotations)

    def json(self) -> t.Dict[str, t.Any]:
        """The three fields that every reader wants."""
        return {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}

    def entry(self) -> t.Dict[str, t.Any]:
        """As an index lists it: with the platform, if one is known."""
        if self.platform is None or not self.platform.architecture:
            return self.json()
        return dict(self.json(), platform={key: value for key, value in self.platform._asdict().items() if value})

    @property
    def attestation(self) -> bool:
        """Whether this points to BuildKit's provenance or SBOM rather than to an image."""
        return REFERENCE_TYPE in self.annotations or (self.platform is not None and self.platform.os == "unknown")


class Manifest(t.NamedTuple):
    """One platform's image manifest."""

    raw: bytes
    media_type: str
    config: Descriptor
    layers: t.Tuple[Descriptor, ...]

    @property
    def digest(self) -> Digest:
        return Digest.of(self.raw)

    @property
    def blobs(self) -> t.Tuple[Descriptor, ...]:
        """All that it names: the config, then the layers."""
        return (self.config,) + self.layers

    @property
    def artifact(self) -> str:
        """The media type that shows this to be no image but a Helm chart, a signature or the like; empty for images."""
        for media_type, image in [(self.config.media_type, OCI_CONFIG)] + [(layer.media_type, _LAYERS) for layer in self.layers]:
            if media_type and not oci_type(media_type).startswith(image):
                return media_type
        return ""


class Index(t.NamedTuple):
    raw: bytes
    media_type: str
    manifests: t.Tuple[Descriptor, ...]

    @property
    def digest(self) -> Digest:
        return Digest.of(self.raw)


def parse(raw: bytes, where: str, media_type: str = "") -> t.Union[Manifest, Index]:
    """Read a manifest or an index; ``media_type`` is what its descriptor or header said, the document's own wins.

    Raises ArchiveError that names ``where`` for anything else (schema 1, not JSON).
    """
    document = load(raw, where)
    if document.get("schemaVersion") != 2:
        raise ArchiveError("%s: not an image manifest of schema version 2 (old schema 1 images must be converted first)" % where)
    media_type = text(document.get("mediaType"), where) or media_type
    if "manifests" in document and ("layers" in document or "config" in document):
        raise ArchiveError("%s: both an index and an image manifest: what it means depends on who reads it, and so it is refused" % where)
    if "manifests" in document:
        children = tuple(Descriptor.parse(entry, where) for entry in listed(document["manifests"], where))
        return Index(raw, media_type or OCI_INDEX, children)
    if "config" not in document or "layers" not in document:
        raise ArchiveError("%s: neither an image manifest nor an index: %s" % (where, shown(media_type) if media_type else "no media type"))
    config = Descriptor.parse(document["config"], where)
    layers = tuple(Descriptor.parse(entry, where) for entry in listed(document["layers"], where))
    return Manifest(raw, media_type or OCI_MANIFEST, config, layers)


def load(raw: bytes, where: str) -> t.Dict[str, t.Any]:
    """A JSON object; raises ArchiveError that names ``where``, also for what no JSON writer for an image makes."""
    try:
        document = json.loads(raw.decode("utf-8"))
        if _SURROGATE.search(raw):
            dump(document)  # raises UnicodeEncodeError for one that stands alone
    except (ValueError, RecursionError) as error:
        raise ArchiveError("%s: not JSON (%s)" % (where, error)) from None
    return mapping(_shallow(document, where), where)


def _shallow(document: t.Any, where: str) -> t.Any:
    """The document, if whoever walks through it will not run out of stack."""
    level = [document]
    for _depth in range(_DEEP):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
    if level:
        raise ArchiveError("%s: JSON nested more than %d deep: no manifest or config is" % (where, _DEEP))
    return document


def mapping(value: t.Any, where: str) -> t.Dict[str, t.Any]:
    """An object, empty where there is none."""
    return _typed({} if value is None else value, dict, "a JSON object", where)


def listed(value: t.Any, where: str) -> t.List[t.Any]:
    """A list, empty where there is none."""
    return _typed([] if value is None else value, list, "a list", where)


def text(value: t.Any, where: str) -> str:
    """Text, empty where there is none."""
    return _typed("" if value is None else value, str, "text", where)


def _typed(value: t.Any, kind: t.Type[_T], name: str, where: str) -> _T:
    if not isinstance(value, kind):
        raise ArchiveError("%s: %s is wanted where this has %s" % (where, name, shown(value)))
    return value


def dump(document: t.Mapping[str, t.Any], sort_keys: bool = True) -> bytes:
    """The bytes of a document that we make: the same on every Python and host."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys).encode("utf-8")


def make(config: Descriptor, layers: t.Iterable[Descriptor], extra: t.Optional[t.Mapping[str, t.Any]] = None) -> Manifest:
    """An OCI manifest of these parts; ``extra`` holds further top-level fields to keep, such as annotations.

    Its fields are in the order in which Docker 28 writes the manifests that it makes up, so an image comes to the same manifest
    from every store that keeps none.
    """
    config = config._replace(media_type=oci_type(config.media_type) or OCI_CONFIG)
    layers = tuple(layer._replace(media_type=oci_type(layer.media_type)) for layer in layers)
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.json(), "layers": [layer.json() for layer in layers]}
    document.update((key, value) for key, value in json.loads(dump(extra or {}).decode("utf-8")).items() if key not in document)
    return Manifest(dump(document, sort_keys=False), OCI_MANIFEST, config, layers)


def make_index(children: t.Iterable[Descriptor]) -> Index:
    """An index of manifests that no index of their source lists: Docker's where all of them are Docker's."""
    children = tuple(sorted(children, key=lambda child: (str(child.platform), child.digest)))
    media_type = DOCKER_LIST if all(child.media_type == DOCKER_MANIFEST for child in children) else OCI_INDEX
    raw = dump({"schemaVersion": 2, "mediaType": media_type, "manifests": [child.entry() for child in children]})
    return Index(raw, media_type, children)


def subset(index: Index, digests: t.Container[str]) -> Index:
    """The index without the entries of other manifests; all else stays, and so does its order, so that some platforms of an image
    are the same bytes wherever they are chosen, and in however many steps. Itself, to the byte, if it lists no others.
    """
    if all(child.digest in digests for child in index.manifests):
        return index
    document = load(index.raw, "an index")
    document["manifests"] = [entry for entry, child in zip(document["manifests"], index.manifests) if child.digest in digests]
    return Index(dump(document, sort_keys=False), index.media_type, tuple(child for child in index.manifests if child.digest in digests))
