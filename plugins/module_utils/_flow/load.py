# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's half of image_load: ask the engine what it holds, plan, load what is here, verify, tag.

Thin is an optimisation, never a belief: an image is loaded untagged, and named only once inspect shows that it is the one.
Where it is not, everything is sent once.
"""

from __future__ import annotations

import contextlib
import typing as t

from .._engine import stores
from .._engine.engine import Engine
from .._errors import ArchiveError, EngineError, StowageError
from .._module import failed
from .._oci import platform as _platform
from .._oci.digest import Digest
from .._plan.load import Step, needs, plan
from .._plan.wish import Variant, Wanted, choose
from .load_acts import Acts, Doubt, moved
from .load_facts import Facts
from .load_report import balance, entry
from .source import Source
from .staging import Staging

Result = t.Dict[str, t.Any]


class Loader:
    """One run on one host.

    ``seen`` is what the references named when the controller last asked; a reference that names something else by now was
    moved by somebody else. ``distrusted`` are config digests of images that a thin load did not bring. ``held`` is for Facts.
    ``failed`` has the entries, by label, of images that failed; they do not stop the others.
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
        self._facts = Facts(engine, held)
        self._acts = Acts(engine, source)
        self.failed: t.Dict[str, Result] = {}
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
            self.seen.update((text, here.image_id if here else None) for text, here in self._facts.locals(step.wanted))
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
        facts = self._facts
        facts.look(images)
        for wanted, _variant in images:
            with self.alone(wanted):
                self._unmoved(wanted)
        images = [(wanted, variant) for wanted, variant in images if wanted.label not in self.failed]
        facts.survey(images)
        return plan(images, facts.named, facts.present, facts.holdings, lambda kind: stores.expands(self._engine, kind), self.distrusted)

    def _unmoved(self, wanted: Wanted) -> None:
        """Raises TagMoved if a reference names neither what it did when the controller last asked nor what it should."""
        for text, here in self._facts.locals(wanted):
            now = here.image_id if here else None
            if text in self.seen and now != self.seen[text] and not (here and here.same):
                raise moved(text, self.seen[text], now)

    def act(self, step: Step) -> t.Tuple[t.Optional[str], t.List[Result]]:
        """Do one step; the image's ID, or what is missing for a second, full load of it."""
        image_id = step.image_id
        if image_id is None:
            try:
                image_id = self._acts.load(step)
            except Doubt as doubt:
                if len(step.sent) == len(step.parts):
                    raise EngineError("%s: the engine at %s did not load it: %s" % (step.wanted.label, self._engine.url, doubt)) from None
                self.distrusted.add(step.variant.config.digest)
                full = step._replace(parts=tuple(part._replace(held=None) for part in step.parts))
                missing = self.source.lacks(needs([full]))
                return (None, missing) if missing else self.act(full)
        for text, before in step.moves:
            self._acts.move(image_id, text, before)
            self._done.setdefault(step.wanted.label, {})[text] = before
        return image_id, []

    def state(self, steps: t.Iterable[Step], untouched: bool) -> Result:
        """What the next run of the same task wants to know; ``untouched`` if this one has done nothing."""
        return {
            "seen": self.seen,
            "distrusted": sorted(self.distrusted),
            "held": self._facts.held(steps) if untouched else None,
        }

    def entry(self, step: Step, image_id: t.Optional[str], acted: bool) -> Result:
        """What to say of an image; ``image_id`` is None where it is not there."""
        document = self._facts.document(image_id) if image_id and not acted else None
        if image_id and not document:
            document = self._engine.inspect(image_id)
        return entry(self._engine, step, image_id, document)

    def half_done(self, step: Step) -> Result:
        """What to say of an image that failed after some of its references had been set."""
        before = self._done.get(step.wanted.label)
        after = dict.fromkeys(before or (), str(step.variant.config.digest))
        return {"changed": True, "diff": ({"references": before}, {"references": after})} if before else {}


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
    result: Result = dict(balance(steps, wanted, loader.source.sent), entries=[entries[one.label] for one in wishes])
    if missing:
        result["ask"] = {
            "missing": missing,
            "root": staging.root if staging else None,
            "state": dict(loader.state(steps, untouched), done=list(changed.values())),
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
