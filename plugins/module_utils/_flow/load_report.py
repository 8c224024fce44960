# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What image_load says of each image, and of the blobs that it did not need."""

from __future__ import annotations

import typing as t

from .._engine import local as _local
from .._engine.engine import Engine
from .._plan.load import Need, Step

Result = t.Dict[str, t.Any]


def entry(engine: Engine, step: Step, image_id: t.Optional[str], document: t.Optional[t.Mapping[str, t.Any]]) -> Result:
    """One entry of ``images``; ``image_id`` is None where the image is not there, ``document`` what the engine showed of it."""
    references = list(step.wanted.references)
    found = _local.of_inspect(document, engine.store) if document else None
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


def balance(steps: t.Iterable[Step], wanted: t.Iterable[Need], sent: t.Container[str]) -> Result:
    """Blobs of the wished images that the host has without anybody's sending them, in number and bytes."""
    needed = {need.of for need in wanted}
    blobs = {}
    for step in steps:
        layers = [(layer.descriptor, layer.diff_id) for layer in step.variant.layers]
        for blob, expanded in [(step.variant.manifest, ""), (step.variant.config, "")] + layers:
            if blob.digest not in needed and blob.digest not in sent and expanded not in sent:
                blobs[blob.digest] = blob.size
    return {"held_blobs": len(blobs), "held_bytes": sum(blobs.values())}
