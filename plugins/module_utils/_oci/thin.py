# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one form that every store loads: one image, untagged, in an OCI layout that also carries docker's manifest.json.

Layers that the host holds are named and left out (image-spec, image-layout.md).
"""

from __future__ import annotations

import typing as t

from . import manifest as _manifest
from .digest import CHUNK
from .manifest import Descriptor, Manifest
from .tar import END, header, padding

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


def described(original: Manifest, layers: t.Sequence[Descriptor]) -> Manifest:
    """The manifest with these layers: the original, to the byte, if it is an OCI manifest that says just that."""
    plain = [layer.json() for layer in layers]
    if original.media_type == _manifest.OCI_MANIFEST and plain == [layer.json() for layer in original.layers]:
        return original
    return _manifest.make(original.config, layers, _manifest.load(original.raw, "manifest"))


def stream(
    manifest: Manifest,
    config: bytes,
    sent: t.Iterable[Descriptor],
    annotations: t.Mapping[str, str],
    reader: t.Callable[[str], t.ContextManager[t.Any]],
) -> t.Iterator[bytes]:
    """The tar, a megabyte at a time. ``sent`` are the layers whose bytes ``reader`` gives by digest, each written once."""
    entry = dict(Descriptor(manifest.media_type, manifest.digest, len(manifest.raw)).json(), annotations=dict(annotations))
    index = {"schemaVersion": 2, "mediaType": _manifest.OCI_INDEX, "manifests": [entry]}
    docker = {"Config": path(manifest.config.digest), "RepoTags": None, "Layers": [path(layer.digest) for layer in manifest.layers]}
    yield from _file("oci-layout", LAYOUT)
    yield from _file("index.json", _manifest.dump(index))
    yield from _file("manifest.json", b"[%s]" % _manifest.dump(docker))
    yield from _file(path(manifest.digest), manifest.raw)
    yield from _file(path(manifest.config.digest), config)
    for digest, size in {layer.digest: layer.size for layer in sent}.items():
        yield header(path(digest), size)
        with reader(digest) as blob:
            yield from iter(lambda: blob.read(CHUNK), b"")
        yield padding(size)
    yield END


def path(digest: str) -> str:
    """Where a layout keeps a blob."""
    return "blobs/" + digest.replace(":", "/", 1)


def _file(name: str, data: bytes) -> t.Iterator[bytes]:
    yield header(name, len(data)) + data + padding(len(data))
