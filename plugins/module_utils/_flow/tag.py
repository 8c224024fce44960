# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tag, step by step: find the image, look at what the tag names, tag, and look again."""

from __future__ import annotations

import typing as t

from .._engine import local as _local
from .._engine.engine import Engine
from .._engine.local import LocalImage
from .._errors import EngineError, TagMoved
from .._oci import named as _named
from .._oci.reference import Reference
from .._plan.tag import KEPT, action, similar

Result = t.Dict[str, t.Any]


class Tagger:
    """One task on one host; raises InvalidReference or EngineError if ``source`` is malformed or not there."""

    def __init__(self, engine: Engine, source: str, check_mode: bool) -> None:
        self._engine = engine
        self._check_mode = check_mode
        self._image = self._find(source)

    def _find(self, source: str) -> LocalImage:
        image = _local.local(self._engine, _named.parse(source))
        if image is None:
            there = similar(source, _local.tags(self._engine))
            raise EngineError(
                "%s: the engine at %s has no such image%s"
                % (source, self._engine.url, ": it has %s" % ", ".join(there) if there else "")
            )
        if not image.complete:
            raise EngineError("%s: the engine at %s has only a part of it: load or pull it again" % (source, self._engine.url))
        return image

    def __call__(self, reference: Reference) -> Result:
        """Keep or set one tag; the answer is an entry for ``_module.side_by_side``."""
        before = _local.local(self._engine, reference)
        entry: Result = {
            "reference": reference.spelling,
            "image_id": self._image.image_id,
            "digest": _local.digest_as(self._image, self._engine.store, reference),
            "config_digest": self._image.config_digest,
            "changed": False,
            "action": action(before.image_id if before else None, self._image.image_id),
        }
        if entry["action"] == KEPT:
            return entry
        if not self._check_mode:
            self._tag(reference)
        was = {"reference": reference.spelling, "digest": before and before.digest, "image_id": before and before.image_id}
        return dict(entry, changed=True, diff=(was, {key: entry[key] for key in was}))

    def _tag(self, reference: Reference) -> None:
        self._engine.tag(self._image.image_id, reference)
        now = _local.local(self._engine, reference)
        if now is None or now.image_id != self._image.image_id:
            raise TagMoved(
                "%s was given to an image and names %s now: somebody else moved it meanwhile, run again"
                % (reference.spelling, "another one" if now else "none")
            )
