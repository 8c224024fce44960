# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's half of image_load: ask the engine what it holds, plan, load what is here, verify, tag.

Thin is an optimisation, never a belief: an image is loaded untagged, and named only once inspect shows that it is the one.
Where it is not, everything is sent once.
"""

from __future__ import annotations

import concurrent.futures
import io
import os
import typing as t

from .._engine import local as _local
from .._engine import stores
from .._engine.engine import CONTAINERD, Engine
from .._errors import EngineError, StowageError, TagMoved
from .._oci import holdings, thin
from .._oci import manifest as _manifest
from .._oci import platform as _platform
from .._oci.archive import Archive
from .._oci.digest import CHUNK, Verified, drain
from .._oci.files import Extent, expand
from .._oci.manifest import OCI_LAYER, Descriptor, Manifest
from .._oci.reference import Reference
from .._oci.reference import parse as parse_reference
from .._plan.load import Local, Need, Part, Step, Variant, Wanted, absent, choose, needs, plan, same
from .._module import failed
from .staging import Staging

Result = t.Dict[str, t.Any]


class Source(t.Protocol):
    """Where the host finds blobs: what was staged, or an archive of its own."""

    def lacks(self, needs: t.Sequence[Need]) -> t.List[Result]:
        """What must come from the controller first; everything else is verified when this returns."""

    def reader(self, digest: str) -> t.ContextManager[t.Any]:
        """A stream of a blob that ``lacks`` was asked about."""

    def size(self, digest: str) -> int:
        """Bytes of that blob."""


class Staged:
    """Blobs in the staging folder; ``sizes`` are those of expanded ones, told by the controller."""

    def __init__(self, staging: Staging, sizes: t.Mapping[str, int]) -> None:
        self._staging = staging
        self._sizes = sizes
        self.reader = staging.open
        self.size = staging.size

    def lacks(self, needs: t.Sequence[Need]) -> t.List[Result]:
        missing = []
        for need in needs:
            size = self._sizes.get(need.digest) if need.size is None else need.size
            staged = self._staging.stock(need.digest, size, need.what)
            if staged != size:
                missing.append(dict(need._asdict(), staged=staged))
        return missing


class Archived:
    """Blobs of an archive on this host; ``scratch`` takes what has to be expanded."""

    def __init__(self, archive: Archive, scratch: str) -> None:
        self._archive = archive
        self._scratch = scratch
        self._extents: t.Dict[str, Extent] = {}
        self._documents: t.Dict[str, bytes] = {}

    def lacks(self, needs: t.Sequence[Need]) -> t.List[Result]:
        fresh = [need for need in needs if need.digest not in self._extents and self._archive.document(need.digest) is None]
        absent(fresh, self._archive)
        found = self._archive.extents(need.of for need in fresh)
        for need in fresh:
            extent = found[need.of]
            if need.digest != need.of:
                extent = expand(extent, os.path.join(self._scratch, need.digest.replace(":", "-")), need.what)
            with extent.open() as stream:
                drain(Verified(stream, need.digest, extent.size, "%s in %s" % (need.what, self._archive.where)))
            self._extents[need.digest] = extent
        return []

    def reader(self, digest: str) -> t.ContextManager[t.Any]:
        document = self._archive.document(digest)
        if document is not None:
            return t.cast(t.ContextManager[t.Any], io.BytesIO(document))
        return t.cast(t.ContextManager[t.Any], self._extents[digest].open())

    def size(self, digest: str) -> int:
        return self._extents[digest].size


class _Doubt(Exception):
    """What was loaded is not what was planned; the message is what the engine said or shows."""


class Loader:
    """One run on one host.

    ``seen`` is what the references named when the controller last asked; a reference that names something else by now was
    moved by somebody else. ``distrusted`` are config digests of images that a thin load did not bring.
    """

    def __init__(
        self,
        engine: Engine,
        source: Source,
        platform: t.Optional[str],
        seen: t.Optional[t.Mapping[str, t.Optional[str]]] = None,
        distrusted: t.Iterable[str] = (),
    ) -> None:
        self._engine = engine
        self.source = source
        self._platform = _platform.parse(platform) if platform else None
        self._seen = seen
        self.distrusted = set(distrusted)
        self.failed: t.List[Result] = []

    def plan(self, wishes: t.Sequence[Wanted]) -> t.List[Step]:
        """Raises TagMoved if somebody else moved a reference since ``seen``; an image that fits no platform fails alone."""
        images: t.List[t.Tuple[Wanted, Variant]] = []
        for wanted in wishes:
            try:
                images.append((wanted, choose(wanted, self._engine.platform, self._platform)))
            except StowageError as error:
                self.failed.append(failed(wanted.label, error))
        named = self._named(images)
        present = self._present(images, named)
        diff_ids = [
            diff_id
            for wanted, variant in images
            if variant.config.digest not in present and not any(here and here.same for here in map(named.get, wanted.references))
            for diff_id in variant.diff_ids
        ]
        held = None
        if any(variant.config.digest not in present for _wanted, variant in images):
            survey = stores.survey(self._engine)
            present.update(self._elsewhere(images, survey))
            held = stores.holdings(self._engine, survey, diff_ids)
        return plan(images, named, present, held, lambda media_type: stores.expands(self._engine, media_type), self.distrusted)

    def act(self, step: Step) -> t.Tuple[t.Optional[str], t.List[Result]]:
        """Do one step; the image's ID, or what is missing for a second, full load of it."""
        image_id = step.image_id
        if image_id is None:
            try:
                image_id = self._load(step)
            except _Doubt as doubt:
                if len(step.sent) == len(step.parts):
                    raise EngineError("%s: the engine at %s did not load it: %s" % (step.wanted.label, self._engine.url, doubt)) from None
                self.distrusted.add(step.variant.config.digest)
                full = step._replace(parts=tuple(part._replace(held=None) for part in step.parts))
                missing = self.source.lacks(needs([full]))
                return (None, missing) if missing else self.act(full)
        for text, before in step.moves:
            self._move(image_id, text, before)
        return image_id, []

    # Facts

    def _named(self, images: t.Sequence[t.Tuple[Wanted, Variant]]) -> t.Dict[str, t.Optional[Local]]:
        asked = [(text, variant) for wanted, variant in images for text in wanted.references]

        def ask(pair: t.Tuple[str, Variant]) -> t.Optional[Local]:
            document = self._engine.inspect(parse_reference(pair[0]).tagged)
            return Local(document["Id"], self._same(document, pair[1])) if document else None

        with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
            named = {text: found for (text, _variant), found in zip(asked, pool.map(ask, asked))}
        for text, before in (self._seen or {}).items():
            now = named.get(text)
            if text in named and not (now and now.same) and (now.image_id if now else None) != before:
                raise _moved(text, before, now.image_id if now else None)
        return named

    def _present(self, images: t.Sequence[t.Tuple[Wanted, Variant]], named: t.Mapping[str, t.Optional[Local]]) -> t.Dict[str, str]:
        """By config digest, images that are here: under a wanted name, or under the ID that they would have."""
        present = {}
        for wanted, variant in images:
            here = next((here.image_id for here in map(named.get, wanted.references) if here and here.same), None)
            if here is None:
                document = self._engine.inspect(stores.loaded_id(self._engine.store, variant.config.digest, variant.manifest.digest))
                here = document["Id"] if document and self._same(document, variant) else None
            if here is not None:
                present[variant.config.digest] = here
        return present

    def _elsewhere(self, images: t.Iterable[t.Tuple[Wanted, Variant]], survey: stores.Inspects) -> t.Dict[str, str]:
        """By config digest, images that are here under another name, in stores whose ID does not say which image it is."""
        return {
            variant.config.digest: document["Id"]
            for _wanted, variant in images
            for document in survey
            if self._engine.store == CONTAINERD and self._same(document, variant)
        }

    def _same(self, document: t.Mapping[str, t.Any], variant: Variant) -> bool:
        return same(document, variant, by_content=self._engine.store == CONTAINERD)

    # Acts

    def _load(self, step: Step) -> str:
        variant = step.variant
        original = t.cast(Manifest, _manifest.parse(self._bytes(variant.manifest.digest), step.wanted.label))
        manifest = thin.described(original, [self._describe(part) for part in step.parts])
        sent = [layer for layer, part in zip(manifest.layers, step.parts) if part.held is None]
        notes = holdings.annotations(variant.config.digest, variant.diff_ids, manifest.layers)
        archive = thin.stream(manifest, self._bytes(variant.config.digest), sent, notes, self.source.reader)
        error = self._engine.load(archive).error
        image_id = stores.loaded_id(self._engine.store, variant.config.digest, manifest.digest)
        document = self._engine.inspect(image_id)
        if error is None and document and document["Id"] == image_id and self._same(document, variant):
            return image_id
        if document and self._engine.store == CONTAINERD:
            self._engine.remove(image_id, force=True)
        raise _Doubt(error or ("it shows other layers than were sent" if document else "it reported success, and has no such image"))

    def _describe(self, part: Part) -> Descriptor:
        if part.held:
            return part.held
        return Descriptor(OCI_LAYER, part.layer.diff_id, self.source.size(part.blob)) if part.expand else part.layer.descriptor

    def _bytes(self, digest: str) -> bytes:
        with self.source.reader(digest) as stream:
            return b"".join(iter(lambda: stream.read(CHUNK), b""))

    def _move(self, image_id: str, text: str, before: t.Optional[str]) -> None:
        """Set a reference that names ``before``, or nothing; raises TagMoved if it names anything else by now."""
        reference = parse_reference(text)
        now = self._id(reference)
        if now == image_id:
            return
        if now != before:
            raise _moved(text, before, now)
        self._engine.tag(image_id, reference)
        now = self._id(reference)
        if now != image_id:
            raise _moved(text, image_id, now)

    def _id(self, reference: Reference) -> t.Optional[str]:
        document = self._engine.inspect(reference.tagged)
        return document["Id"] if document else None

    # The report

    def entry(self, step: Step, image_id: t.Optional[str]) -> Result:
        """One entry of ``images``; with ``image_id`` None the step was planned and not done."""
        references = list(step.wanted.references)
        document = self._engine.inspect(image_id) if image_id else None
        found = _local.of_inspect(document, self._engine.store) if document else None
        before = {"references": dict(step.moves)}
        after = {
            "references": {text: str(step.variant.config.digest) for text, _old in step.moves},
            "layers_to_send": [str(part.blob) for part in step.sent],
        }
        return {
            "reference": references[0],
            "references": references,
            "image_id": image_id,
            "digest": found.digest if found else None,
            "config_digest": str(step.variant.config.digest),
            "changed": step.action != "kept",
            "action": step.action,
            "layers": len(step.variant.layers),
            "layers_sent": len(step.sent),
            "diff": (before, after),
        }


def _moved(text: str, expected: t.Optional[str], now: t.Optional[str]) -> TagMoved:
    return TagMoved(
        "%s: somebody else moved it from %s to %s while this task ran; it was left alone, and what was loaded stays: run again to set it"
        % (text, expected or "nothing", now or "nothing")
    )



def perform(
    loader: Loader, wishes: t.Sequence[Wanted], staging: t.Optional[Staging], check_mode: bool, done: t.Mapping[str, Result]
) -> Result:
    """Plan; act if nothing is missing, else make room for it and say what it is, under ``ask``.

    ``done`` are entries, by reference, of what earlier rounds of the same task have changed. One image that fails does not
    stop the others and has its entry. Raises StagingError if what is missing finds no room.
    """
    steps = loader.plan(wishes)
    wanted = needs(steps)
    missing = loader.source.lacks(wanted)
    if missing and staging:
        staging.prepare(sum((need["size"] or 0) - need["staged"] for need in missing), check_mode)
    entries = []
    changed = dict(done)
    for step in steps:
        label, image_id = step.wanted.label, step.image_id
        if not check_mode and not missing:
            try:
                image_id, missing = loader.act(step)
            except EngineError as error:
                loader.failed.append(failed(label, error))
                continue
            if image_id and step.action != "kept":
                changed[label] = loader.entry(step, image_id)
        entries.append(changed.get(label) or loader.entry(step, image_id))
    result: Result = dict(_balance(steps, wanted), entries=entries + loader.failed)
    if missing:
        seen = {text: before for step in steps for text, before in step.moves}
        result["ask"] = {
            "missing": missing,
            "root": staging.root if staging else None,
            "state": {"seen": seen, "distrusted": sorted(loader.distrusted), "done": list(changed.values())},
        }
    elif staging and not check_mode and not loader.failed:
        staging.clear()
    return result


def _balance(steps: t.Iterable[Step], wanted: t.Iterable[Need]) -> Result:
    """Blobs of the wished images that the host has already, in number and bytes."""
    blobs = {
        blob.digest: blob.size
        for step in steps
        for blob in [step.variant.manifest, step.variant.config] + [layer.descriptor for layer in step.variant.layers]
    }
    for need in wanted:
        blobs.pop(need.of, None)
    return {"held_blobs": len(blobs), "held_bytes": sum(blobs.values())}
