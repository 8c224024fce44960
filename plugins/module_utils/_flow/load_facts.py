# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What image_load learns of a host before it plans: what the wanted references name, which images are here, what is held."""

from __future__ import annotations

import typing as t

from .._engine import stores
from .._engine.engine import CONTAINERD, Engine
from .._oci.holdings import Holdings
from .._oci.reference import parse as parse_reference
from .._plan.load import Local, Step, same
from .._plan.wish import Variant, Wanted

Images = t.Sequence[t.Tuple[Wanted, Variant]]


class Facts:
    """``named`` is what references name now, ``present`` are by config digest images that are here, ``holdings`` is what is held.

    That is asked only if an image must be loaded, for to look at all images takes long; ``held`` is what an earlier run of the
    same task found, if nothing has been done since.
    """

    def __init__(self, engine: Engine, held: t.Optional[t.Mapping[str, t.Any]]) -> None:
        self._engine = engine
        self._documents: t.Dict[str, t.Dict[str, t.Any]] = {}
        self.named: t.Dict[str, t.Optional[Local]] = {}
        self.present: t.Dict[str, str] = {}
        self.holdings: t.Optional[Holdings] = None if held is None else stores.KINDS[engine.store].parse(held)

    def look(self, images: Images) -> None:
        """Learn what the references name now."""
        names = {text: parse_reference(text).tagged for wanted, _variant in images for text in wanted.references}
        documents = self._inspect(names.values())
        for wanted, variant in images:
            for text in wanted.references:
                document = documents.get(names[text])
                self.named[text] = Local(document["Id"], self._same(document, variant)) if document else None

    def locals(self, wanted: Wanted) -> t.List[t.Tuple[str, t.Optional[Local]]]:
        return [(text, self.named[text]) for text in wanted.references]

    def survey(self, images: Images) -> None:
        """Learn which of these images are here, and if one is not, what is held; ``look`` has been asked about them."""
        self.present = self._present(images)
        if not self._unknown(images, self.present) or self.holdings is not None:
            return
        survey, others = stores.listed(self._engine)
        self.present.update(self._elsewhere(images, survey))
        if self._unknown(images, self.present):
            survey += stores.inspects(self._engine, others).values()
            self.present.update(self._elsewhere(images, survey))
            unknown = self._unknown(images, self.present)
            self.holdings = stores.holdings(self._engine, survey, (diff_id for variant in unknown for diff_id in variant.diff_ids))

    def document(self, image_id: str) -> t.Optional[t.Dict[str, t.Any]]:
        """What the engine showed of an image, if it was asked."""
        return self._documents.get(image_id)

    def held(self, steps: t.Iterable[Step]) -> t.Optional[t.Dict[str, t.Any]]:
        """What ``held`` of the next run shall be."""
        return self.holdings.json([step.variant.layers for step in steps if step.action == "loaded"]) if self.holdings else None

    def _present(self, images: Images) -> t.Dict[str, str]:
        """By config digest, images that are here: under a wanted name, or under the ID that they would have."""
        present: t.Dict[str, str] = {
            variant.config.digest: here.image_id
            for wanted, variant in images
            for _text, here in self.locals(wanted)
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

    def _elsewhere(self, images: Images, survey: stores.Inspects) -> t.Dict[str, str]:
        """By config digest, images that are here under another name, in the store whose ID does not say which image it is."""
        return {
            variant.config.digest: document["Id"]
            for variant in self._unknown(images, self.present)
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
