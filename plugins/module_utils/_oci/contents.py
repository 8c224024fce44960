# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contents: the files of an archive, and what reading its manifests taught of them."""

from __future__ import annotations

import io
import typing as t

from .._errors import BlobMismatch, shown
from .digest import Digest, Verified
from .files import FolderFiles, PackedFiles, TarFiles
from .manifest import Descriptor


class Contents:
    """``blobs`` are the names of files by digest, ``documents`` manifests and configs, ``artifacts`` the media types of what is no image."""

    def __init__(self, where: str, files: t.Union[FolderFiles, TarFiles, PackedFiles]) -> None:
        self.where = where
        self.files = files
        self.blobs: t.Dict[str, str] = {}
        self.documents: t.Dict[str, bytes] = {}
        self.artifacts: t.Dict[str, str] = {}

    def at(self, name: str) -> str:
        """How messages call a file of the archive."""
        return "%s: %s" % (self.where, shown(name))

    def verified(self, descriptor: Descriptor) -> bytes:
        """The blob in memory; raises BlobMismatch or ArchiveError."""
        name = blob_name(descriptor.digest)
        raw = self.files.read(name)
        Verified(io.BytesIO(raw), descriptor.digest, descriptor.size, self.at(name)).read()
        return raw

    def register(self, layer: Descriptor, what: str) -> None:
        """Remember where a blob lies, if it is here; ``what`` names it in the BlobMismatch for one of another size."""
        name = blob_name(layer.digest)
        if not self.files.has(name):
            return
        if self.files.size(name) != layer.size:
            raise BlobMismatch(
                "%s: %s has %d bytes where the manifest says %d: make or copy the archive again"
                % (self.at(name), what, self.files.size(name), layer.size)
            )
        self.blobs[layer.digest] = name


def blob_name(digest: Digest) -> str:
    """Where a layout has a blob (image-layout, blobs)."""
    return "blobs/%s/%s" % (digest.algorithm, digest.hex)
