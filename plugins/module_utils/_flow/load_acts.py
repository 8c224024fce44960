# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What image_load does to an engine: load an image untagged and see that it is the one, set a name and see that it holds."""

from __future__ import annotations

import contextlib
import typing as t

from .._engine import stores
from .._engine.engine import CONTAINERD, Engine
from .._errors import EngineError, StagingError, TagMoved
from .._oci import holdings as _holdings
from .._oci import manifest as _manifest
from .._oci.digest import CHUNK, Digest, hashing
from .._oci.manifest import OCI_LAYER, Descriptor, Manifest
from .._oci.reference import Reference
from .._oci.reference import parse as parse_reference
from .._plan.load import Part, Step, same
from .source import Source


class Doubt(Exception):
    """What was loaded is not what was planned; the message is what the engine said or shows."""


class Acts:
    """On one engine, with blobs that ``source`` has."""

    def __init__(self, engine: Engine, source: Source) -> None:
        self._engine = engine
        self._source = source
        self._expanded: t.Dict[str, Descriptor] = {}

    def load(self, step: Step) -> str:
        """Load what a step says; the image's ID. Raises Doubt if what is there then is not the image that was planned."""
        from .._oci import thin  # late: most runs load nothing

        variant = step.variant
        original = t.cast(Manifest, _manifest.parse(self._bytes(variant.manifest.digest), step.wanted.label))
        manifest = thin.described(original, [self._describe(part) for part in step.parts])
        sent = [layer for layer, part in zip(manifest.layers, step.parts) if part.held is None]
        notes = _holdings.notes(variant.config.digest, variant.diff_ids, manifest.layers)
        archive = thin.stream(manifest, self._bytes(variant.config.digest), sent, notes, self._source.reader)
        error = self._engine.load(archive).error
        image_id = stores.loaded_id(self._engine.store, variant.config.digest, manifest.digest)
        document = self._engine.inspect(image_id)
        if error is None and document and document["Id"] == image_id and same(document, variant, by_content=self._engine.store == CONTAINERD):
            return image_id
        if document and self._engine.store == CONTAINERD and not document.get("RepoTags"):
            with contextlib.suppress(EngineError):
                self._engine.remove(image_id, force=True)
        raise Doubt(error or ("it shows other layers than were sent" if document else "it reported success, and has no such image"))

    def move(self, image_id: str, text: str, before: t.Optional[str]) -> None:
        """Set a reference that names ``before``, or nothing; raises TagMoved if it names anything else by now."""
        reference = parse_reference(text)
        now = self._id(reference)
        if now == image_id:
            return
        if now != before:
            raise moved(text, before, now)
        self._engine.tag(image_id, reference)
        now = self._id(reference)
        if now != image_id:
            raise moved(text, image_id, now)

    def _describe(self, part: Part) -> Descriptor:
        if part.held:
            # If an image before this one brought it expanded, its size was not known when that was planned.
            return self._expanded.get(part.held.digest, part.held)
        if not part.expand:
            return stores.described(self._engine, part.layer.descriptor)
        self._expanded[part.blob] = Descriptor(OCI_LAYER, part.blob, self._source.size(part.blob))
        return self._expanded[part.blob]

    def _bytes(self, digest: Digest) -> bytes:
        with self._source.reader(digest) as stream:
            data = b"".join(iter(lambda: stream.read(CHUNK), b""))
        found = hashing(digest)
        found.update(data)
        if found.hexdigest() != digest.hex:
            raise StagingError("%s: its bytes changed while they were used: is something else writing where they lie?" % digest)
        return data

    def _id(self, reference: Reference) -> t.Optional[str]:
        document = self._engine.inspect(reference.tagged)
        return document["Id"] if document else None


def moved(text: str, expected: t.Optional[str], now: t.Optional[str]) -> TagMoved:
    return TagMoved(
        "%s: somebody else moved it from %s to %s while this task ran; it was left alone, and what was loaded stays: run again to set it"
        % (text, expected or "nothing", now or "nothing")
    )
