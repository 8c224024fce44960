# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's half of image_load: ask the engine what it holds, plan, load what is here, verify, tag.

Thin is an optimisation, never a belief: an image is loaded untagged, and named only once inspect shows that it is the one.
Where it is not, everything is sent once.
"""

from __future__ import annotations

import contextlib
import typing as t

from .._engine import local as _local
from .._engine import stores
from .._engine.engine import CONTAINERD, Engine
from .._errors import ArchiveError, BlobMismatch, EngineError, StagingError, StowageError, TagMoved
from .._oci import holdings as _holdings
from .._oci import manifest as _manifest
from .._oci import platform as _platform
from .._oci.digest import CHUNK, Digest, hashing
from .._oci.holdings import Holdings
from .._oci.manifest import OCI_LAYER, Descriptor, Manifest
from .._oci.reference import Reference
from .._oci.reference import parse as parse_reference
from .._plan.load import Elsewhere, Local, Need, Part, Step, Variant, Wanted, absent, choose, needs, plan, same
from .._module import failed
from .staging import Staging

Result = t.Dict[str, t.Any]


class Source(t.Protocol):
    """Where the host finds blobs: what was staged, or an archive of its own."""

    @property
    def sent(self) -> t.Container[str]:
        """Digests of what came in this run."""

    def lacks(self, needs: t.Sequence[Need]) -> t.List[Result]:
        """What must come from the controller first; everything else is verified when this returns.

        Raises ArchiveError if a blob is damaged where it comes from, or is nowhere.
        """

    def reader(self, digest: str) -> t.ContextManager[t.Any]:
        """A stream of a blob that ``lacks`` was asked about."""

    def size(self, digest: str) -> int:
        """Bytes of that blob."""


class Staged:
    """Blobs in the staging folder; ``sizes``, told by the controller, are those of the blobs that it sends from ``archive``."""

    def __init__(self, staging: Staging, sizes: t.Mapping[str, int], archive: Elsewhere) -> None:
        self._staging = staging
        self._archive = archive
        self._damaged: t.Dict[str, BlobMismatch] = {}
        self.sent = sizes
        self.reader = staging.open
        self.size = staging.size

    def lacks(self, needs: t.Sequence[Need]) -> t.List[Result]:
        if needs:
            self._staging.check()
        missing = []
        for need in needs:
            size = self.sent.get(need.digest) if need.size is None else need.size
            staged = self._stock(need, size)
            if staged != size:
                missing.append((need._replace(size=size), staged))
        absent((need for need, _staged in missing), self._archive)
        return [dict(need._asdict(), staged=staged) for need, staged in missing]

    def _stock(self, need: Need, size: t.Optional[int]) -> int:
        """A damaged blob is forgotten at once, and yet must not be asked for again."""
        if need.digest in self._damaged:
            raise self._damaged[need.digest]
        try:
            return self._staging.stock(need.digest, size, need.what)
        except BlobMismatch as error:
            self._damaged[need.digest] = error
            raise


class _Doubt(Exception):
    """What was loaded is not what was planned; the message is what the engine said or shows."""


class Loader:
    """One run on one host.

    ``seen`` is what the references named when the controller last asked; a reference that names something else by now was
    moved by somebody else. ``distrusted`` are config digests of images that a thin load did not bring. ``held`` is what the
    host held then, if nothing has been done since: to look at all its images takes long. ``failed`` has the entries, by
    label, of images that failed; they do not stop the others.
    """

    def __init__(
        self,
        engine: Engine,
        source: Source,
        platform: t.Optional[str],
        seen: t.Optional[t.Mapping[str, t.Optional[str]]] = None,
        distrusted: t.Iterable[str] = (),
        held: t.Optional[t.Mapping[str, t.Any]] = None,
    ) -> None:
        self._engine = engine
        self.source = source
        self._platform = _platform.parse(platform) if platform else None
        self.seen = dict(seen or {})
        self.distrusted = set(distrusted)
        self._holdings: t.Optional[Holdings] = None if held is None else stores.KINDS[engine.store].parse(held)
        self.failed: t.Dict[str, Result] = {}
        self._named: t.Dict[str, t.Optional[Local]] = {}
        self._documents: t.Dict[str, t.Dict[str, t.Any]] = {}
        self._expanded: t.Dict[str, Descriptor] = {}
        self._done: t.Dict[str, t.Dict[str, t.Optional[str]]] = {}

    def prepare(self, wishes: t.Sequence[Wanted]) -> t.Tuple[t.List[Step], t.List[Result]]:
        """The plan, and what must come from the controller first."""
        steps = self.plan(wishes)
        try:
            missing = self.source.lacks(needs(steps))
        except ArchiveError:
            for step in steps:
                with self.alone(step.wanted):
                    self.source.lacks(needs([step]))
            # Planned anew, for what others were to share with an image that failed does not come.
            return self.prepare([wanted for wanted in wishes if wanted.label not in self.failed])
        for step in steps:
            self.seen.update((text, here.image_id if here else None) for text, here in self._locals(step.wanted))
        return steps, missing

    @contextlib.contextmanager
    def alone(self, wanted: Wanted) -> t.Iterator[None]:
        """Let an image fail without the others."""
        try:
            yield
        except StowageError as error:
            self.failed[wanted.label] = failed(wanted.label, error)

    def plan(self, wishes: t.Sequence[Wanted]) -> t.List[Step]:
        """Without images that fit no platform, and those one of whose references somebody else moved: they have failed."""
        images: t.List[t.Tuple[Wanted, Variant]] = []
        for wanted in wishes:
            with self.alone(wanted):
                images.append((wanted, choose(wanted, self._engine.platform, self._platform)))
        self._look(images)
        for wanted, _variant in images:
            with self.alone(wanted):
                self._unmoved(wanted)
        images = [(wanted, variant) for wanted, variant in images if wanted.label not in self.failed]
        present = self._present(images)
        if self._unknown(images, present) and self._holdings is None:
            survey, others = stores.listed(self._engine)
            present.update(self._elsewhere(images, present, survey))
            if self._unknown(images, present):
                survey += stores.inspects(self._engine, others).values()
                present.update(self._elsewhere(images, present, survey))
                unknown = self._unknown(images, present)
                self._holdings = stores.holdings(self._engine, survey, (diff_id for variant in unknown for diff_id in variant.diff_ids))
        return plan(images, self._named, present, self._holdings, lambda media_type: stores.expands(self._engine, media_type), self.distrusted)

    def held(self, steps: t.Iterable[Step]) -> t.Optional[Result]:
        """What ``held`` of the next run shall be."""
        return self._holdings.json([step.variant.layers for step in steps if step.action == "loaded"]) if self._holdings else None

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
            self._done.setdefault(step.wanted.label, {})[text] = before
        return image_id, []

    # Facts

    def _look(self, images: t.Sequence[t.Tuple[Wanted, Variant]]) -> None:
        """Learn what the references name now."""
        names = {text: parse_reference(text).tagged for wanted, _variant in images for text in wanted.references}
        documents = self._inspect(names.values())
        for wanted, variant in images:
            for text in wanted.references:
                document = documents.get(names[text])
                self._named[text] = Local(document["Id"], self._same(document, variant)) if document else None

    def _locals(self, wanted: Wanted) -> t.List[t.Tuple[str, t.Optional[Local]]]:
        return [(text, self._named[text]) for text in wanted.references]

    def _unmoved(self, wanted: Wanted) -> None:
        """Raises TagMoved if a reference names neither what it did when the controller last asked nor what it should."""
        for text, here in self._locals(wanted):
            now = here.image_id if here else None
            if text in self.seen and now != self.seen[text] and not (here and here.same):
                raise _moved(text, self.seen[text], now)

    def _present(self, images: t.Sequence[t.Tuple[Wanted, Variant]]) -> t.Dict[str, str]:
        """By config digest, images that are here: under a wanted name, or under the ID that they would have."""
        present: t.Dict[str, str] = {
            variant.config.digest: here.image_id
            for wanted, variant in images
            for _text, here in self._locals(wanted)
            if here and here.same
        }
        ids = {
            stores.loaded_id(self._engine.store, variant.config.digest, variant.manifest.digest): variant
            for variant in self._unknown(images, present)
        }
        for image_id, document in self._inspect(ids).items():
            if self._same(document, ids[image_id]):
                present[ids[image_id].config.digest] = document["Id"]
        return present

    @staticmethod
    def _unknown(images: t.Iterable[t.Tuple[Wanted, Variant]], present: t.Container[str]) -> t.List[Variant]:
        return [variant for _wanted, variant in images if variant.config.digest not in present]

    def _elsewhere(
        self, images: t.Iterable[t.Tuple[Wanted, Variant]], present: t.Container[str], survey: stores.Inspects
    ) -> t.Dict[str, str]:
        """By config digest, images that are here under another name, in the store whose ID does not say which image it is."""
        return {
            variant.config.digest: document["Id"]
            for variant in self._unknown(images, present)
            for document in survey
            if self._engine.store == CONTAINERD and self._same(document, variant)
        }

    def _same(self, document: t.Mapping[str, t.Any], variant: Variant) -> bool:
        return same(document, variant, by_content=self._engine.store == CONTAINERD)

    def _inspect(self, names: t.Iterable[str]) -> t.Dict[str, t.Dict[str, t.Any]]:
        """Documents by the name asked for; they are remembered by ID."""
        found = stores.inspects(self._engine, names)
        self._documents.update((document["Id"], document) for document in found.values())
        return found

    # Acts

    def _load(self, step: Step) -> str:
        from .._oci import thin  # late: most runs load nothing

        variant = step.variant
        original = t.cast(Manifest, _manifest.parse(self._bytes(variant.manifest.digest), step.wanted.label))
        manifest = thin.described(original, [self._describe(part) for part in step.parts])
        sent = [layer for layer, part in zip(manifest.layers, step.parts) if part.held is None]
        notes = _holdings.notes(variant.config.digest, variant.diff_ids, manifest.layers)
        archive = thin.stream(manifest, self._bytes(variant.config.digest), sent, notes, self.source.reader)
        error = self._engine.load(archive).error
        image_id = stores.loaded_id(self._engine.store, variant.config.digest, manifest.digest)
        document = self._engine.inspect(image_id)
        if error is None and document and document["Id"] == image_id and self._same(document, variant):
            return image_id
        if document and self._engine.store == CONTAINERD and not document.get("RepoTags"):
            with contextlib.suppress(EngineError):
                self._engine.remove(image_id, force=True)
        raise _Doubt(error or ("it shows other layers than were sent" if document else "it reported success, and has no such image"))

    def _describe(self, part: Part) -> Descriptor:
        if part.held:
            # If an image before this one brought it expanded, its size was not known when that was planned.
            return self._expanded.get(part.held.digest, part.held)
        if not part.expand:
            return stores.described(self._engine, part.layer.descriptor)
        self._expanded[part.blob] = Descriptor(OCI_LAYER, part.blob, self.source.size(part.blob))
        return self._expanded[part.blob]

    def _bytes(self, digest: Digest) -> bytes:
        with self.source.reader(digest) as stream:
            data = b"".join(iter(lambda: stream.read(CHUNK), b""))
        found = hashing(digest)
        found.update(data)
        if found.hexdigest() != digest.hex:
            raise StagingError("%s: its bytes changed while they were used: is something else writing where they lie?" % digest)
        return data

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

    def entry(self, step: Step, image_id: t.Optional[str], acted: bool) -> Result:
        """One entry of ``images``; ``image_id`` is None where the image is not there."""
        references = list(step.wanted.references)
        document = self._documents.get(image_id or "") if not acted else None
        if image_id and not document:
            document = self._engine.inspect(image_id)
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

    def half_done(self, step: Step) -> Result:
        """What to say of an image that failed after some of its references had been set."""
        before = self._done.get(step.wanted.label)
        after = dict.fromkeys(before or (), str(step.variant.config.digest))
        return {"changed": True, "diff": ({"references": before}, {"references": after})} if before else {}


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
    steps, missing = loader.prepare(wishes)
    wanted = needs(steps)
    if staging and missing:
        staging.prepare(_bytes_of(missing), check_mode)
    untouched = bool(missing)
    changed = dict(done)
    entries = {}
    for step in steps:
        label, image_id, acts = step.wanted.label, step.image_id, not check_mode and not missing
        if acts:
            with loader.alone(step.wanted):
                image_id, missing = loader.act(step)
                if staging and missing:
                    staging.prepare(_bytes_of(missing), check_mode)
            if label in loader.failed:
                loader.failed[label].update(loader.half_done(step))
                missing = []
                continue
            if image_id and step.action != "kept":
                changed[label] = loader.entry(step, image_id, acted=True)
        entries[label] = changed.get(label) or loader.entry(step, image_id, acted=False)
    entries.update(loader.failed)
    result: Result = dict(_balance(steps, wanted, loader.source.sent), entries=[entries[one.label] for one in wishes])
    if missing:
        result["ask"] = {
            "missing": missing,
            "root": staging.root if staging else None,
            "state": {
                "seen": loader.seen,
                "distrusted": sorted(loader.distrusted),
                "done": list(changed.values()),
                "held": loader.held(steps) if untouched else None,
            },
        }
    elif staging and not check_mode and not loader.failed:
        staging.clear(digest for step in steps for digest in _digests(step))
    return result


def _bytes_of(missing: t.Iterable[Result]) -> int:
    return sum((need["size"] or 0) - need["staged"] for need in missing)


def _digests(step: Step) -> t.List[Digest]:
    """Of everything that may have been staged for an image."""
    layers = [digest for layer in step.variant.layers for digest in (layer.descriptor.digest, layer.diff_id)]
    return [step.variant.manifest.digest, step.variant.config.digest] + layers


def _balance(steps: t.Iterable[Step], wanted: t.Iterable[Need], sent: t.Container[str]) -> Result:
    """Blobs of the wished images that the host has without anybody's sending them, in number and bytes."""
    needed = {need.of for need in wanted}
    blobs = {}
    for step in steps:
        layers = [(layer.descriptor, layer.diff_id) for layer in step.variant.layers]
        for blob, expanded in [(step.variant.manifest, ""), (step.variant.config, "")] + layers:
            if blob.digest not in needed and blob.digest not in sent and expanded not in sent:
                blobs[blob.digest] = blob.size
    return {"held_blobs": len(blobs), "held_bytes": sum(blobs.values())}
