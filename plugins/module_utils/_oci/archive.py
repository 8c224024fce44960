# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives: an OCI image layout or a docker archive, in a folder, a tar or a compressed tar.

Read from what others write: docker save (20.10's ``<id>/layer.tar``, 25 and later's layout with ``manifest.json``),
podman save, skopeo, crane, buildx. A blob that the archive does not hold is no error here: the host may have it.
"""

from __future__ import annotations

import os
import typing as t

from .._errors import ArchiveError, ImageNotInArchive, naming, shown
from . import docker_archive, layout
from . import manifest as _manifest
from .contents import Contents
from .entries import Entry, canonical, settled
from .extent import Extent
from .files import opened
from .manifest import Index, Manifest
from .reference import misplaced
from .reference import parse as parse_reference


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
        self._contents = contents = Contents(path, opened(path, scratch))
        if contents.files.has("index.json"):
            found = layout.entries(contents)
        elif contents.files.has("manifest.json"):
            found = docker_archive.entries(contents)
        else:
            raise ArchiveError(
                "%s: neither an OCI layout (no index.json) nor a docker archive (no manifest.json)" % path,
                "give what docker save, podman save, skopeo or image_archive wrote",
            )
        self.entries = settled(found)
        if not self.entries:
            other = ", but %s" % ", ".join(map(shown, sorted(set(contents.artifacts.values())))) if contents.artifacts else ""
            raise ArchiveError("%s: holds no image%s" % (path, other))

    def holds(self, digest: str) -> bool:
        """Whether the blob is here, or in a base."""
        return digest in self._contents.documents or digest in self._contents.blobs or any(base.holds(digest) for base in self.bases)

    def document(self, digest: str) -> t.Optional[bytes]:
        """A manifest or config of one of the entries, an index above them, or the manifest of what is attached to them."""
        return self._contents.documents.get(digest)

    def attached(self, index: Index) -> t.Tuple[Manifest, ...]:
        """The manifests of attestations and artifacts that an index names, those of which all is here."""
        found = []
        for child in index.manifests:
            raw = self._contents.documents.get(child.digest) if child.attestation or child.digest in self._contents.artifacts else None
            manifest = _manifest.parse(raw, self.where, child.media_type) if raw else None
            if isinstance(manifest, Manifest) and all(self.holds(blob.digest) for blob in manifest.blobs):
                found.append(manifest)
        return tuple(found)

    def artifact(self, digest: str) -> t.Optional[str]:
        """The media type of what is in the archive and no image: a Helm chart, a signature."""
        return self._contents.artifacts.get(digest)

    def extents(self, digests: t.Iterable[str]) -> t.Dict[str, Extent]:
        """Where blobs lie on disk, by digest; expands all of them in one pass if the archive is compressed."""
        digests = list(digests)
        names = {digest: self._contents.blobs[digest] for digest in digests if digest in self._contents.blobs}
        found = self._contents.files.extents(names.values())
        extents = {digest: found[name] for digest, name in names.items()}
        for base in self.bases:
            extents.update(base.extents(digest for digest in digests if digest not in extents and base.holds(digest)))
        return {digest: extents[digest] for digest in digests}


def several(paths: t.Iterable[str], scratch: str) -> t.List[Archive]:
    """The archives of the option ``base``, which may each need a folder of their own below ``scratch``."""
    with naming("base"):
        return [Archive(path, os.path.join(scratch, "base-%d" % number)) for number, path in enumerate(paths)]


def select(archive: Archive, wanted: t.Optional[t.Sequence[str]]) -> t.List[Entry]:
    """The entries that ``wanted`` names, by reference or digest, in that order; all of them if it is None.

    Raises ImageNotInArchive that lists what there is, or InvalidReference.
    """
    if wanted is None:
        return list(archive.entries)
    chosen = []
    for text in wanted:
        match = [entry for entry in archive.entries if text in entry.handles or canonical(text) in map(canonical, entry.names)]
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
