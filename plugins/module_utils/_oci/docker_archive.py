# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker archives: the images of what docker save wrote before version 25, and the names in the ``manifest.json`` of any writer."""

from __future__ import annotations

import re
import typing as t

from .._errors import ArchiveError, BlobMismatch, shown
from . import compression
from . import image as _image
from . import manifest as _manifest
from .contents import Contents
from .digest import Digest
from .entries import Below, Draft, Entry
from .manifest import Descriptor

_CONFIG_NAME = re.compile(r"(?:blobs/sha256/|sha256:)?([0-9a-f]{64})(?:\.json)?")
"""What writers call a config by its digest."""


def entries(contents: Contents) -> t.List[Entry]:
    """Reads ``contents``, and notes there what it learns of blobs and documents."""
    where = contents.at("manifest.json")
    drafts: t.Dict[str, Draft] = {}
    packed: t.Dict[str, Digest] = {}
    for item in _items(contents):
        if not contents.files.has(item.config):
            raise ArchiveError("%s: the config %s that it names is not in the archive" % (where, shown(item.config)))
        raw = contents.files.read(item.config)
        config = _image.parse_config(raw, contents.at(item.config))
        named = _CONFIG_NAME.fullmatch(item.config)
        if named and named.group(1) != config.digest.hex:
            raise BlobMismatch(
                "%s: its bytes are %s, not what its name says: make or copy the archive again" % (contents.at(item.config), config.digest)
            )
        if len(item.layers) != len(config.diff_ids):
            raise ArchiveError(
                "%s: %d layer files for the %d layers of %s" % (where, len(item.layers), len(config.diff_ids), shown(item.config))
            )
        layers = [_layer(contents, name, diff_id, packed) for name, diff_id in zip(item.layers, config.diff_ids)]
        manifest = _manifest.make(Descriptor(_manifest.OCI_CONFIG, config.digest, len(raw)), layers)
        image = _image.assemble((), manifest, raw, contents.at(item.config))
        contents.documents[manifest.digest] = manifest.raw
        contents.documents[config.digest] = raw
        draft = drafts.setdefault(manifest.digest, Draft())
        draft.add(Below((image,), ()), False)
        draft.names.update(dict.fromkeys(item.tags))
        draft.targets[manifest.digest] = None
        draft.handles.update({str(config.digest): None, str(manifest.digest): None})
    return [draft.entry() for draft in drafts.values()]


def _layer(contents: Contents, name: str, diff_id: Digest, packed: t.Dict[str, Digest]) -> Descriptor:
    """A docker archive states no digests: an uncompressed layer's is its diff ID, any other's is found by reading it, once."""
    if not contents.files.has(name):
        return Descriptor(_manifest.OCI_LAYER, diff_id, 0)
    kind = compression.sniff(contents.files.head(name))
    if kind and name not in packed:
        packed[name] = Digest(contents.files.sha256(name))
    digest = packed[name] if kind else diff_id
    contents.blobs[digest] = name
    suffix = "+" + kind if kind else ""
    return Descriptor(_manifest.OCI_LAYER + suffix, digest, contents.files.size(name))


def tagged(contents: Contents) -> t.Dict[str, t.List[str]]:
    """Names by config digest, from the ``manifest.json`` that docker puts beside a layout."""
    tags: t.Dict[str, t.List[str]] = {}
    for item in _items(contents) if contents.files.has("manifest.json") else ():
        folder, _slash, encoded = item.config.rpartition("/")
        if folder == "blobs/sha256" and item.tags:
            tags.setdefault("sha256:" + encoded, []).extend(item.tags)
    return tags


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


def _items(contents: Contents) -> t.List[_Item]:
    where = contents.at("manifest.json")
    document = _manifest.load(b'{"items":%s}' % contents.files.read("manifest.json"), where)
    return [_Item.parse(item, where) for item in _manifest.listed(document["items"], where)]
