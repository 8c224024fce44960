# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layers of an image on a host, as far as its store tells of them.

No store tells which entry of an image's history made which layer, and an instruction that only changes the config stands in
the history beside those that made layers. Entries and layers are matched where that leaves no choice, else not at all.
"""

from __future__ import annotations

import itertools
import re
import typing as t

from .._errors import EngineError
from .._oci import image as _image
from .._oci.digest import Digest
from .._oci.holdings import described
from .engine import PODMAN, Engine

History = t.Sequence[t.Mapping[str, t.Any]]

# Dockerfile instructions that make no layer, as the classic builder (#(nop)) and BuildKit note them.
_METADATA = re.compile(
    r"(?:/bin/sh -c #\(nop\)\s+)?(?:ARG|CMD|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|SHELL|STOPSIGNAL|USER|VOLUME)\b"
)


class LocalLayer(t.NamedTuple):
    """``digest`` is that of the blob as stored, of images that we loaded into the containerd store; ``size`` in bytes of the
    layer unpacked: its files (classic), its tar (Podman) or its blocks on disk (containerd). Null is what is not known.
    """

    diff_id: Digest
    chain_id: Digest
    digest: t.Optional[Digest]
    size: t.Optional[int]
    command: t.Optional[str]


def history(engine: Engine, image_id: str) -> t.Optional[History]:
    """The history of an image, newest first; None if it is gone. Raises EngineError.

    Podman 4 breaks down (HTTP 500) over an entry without a time: that is no history.
    """
    try:
        return engine.history(image_id)
    except EngineError:
        if not engine.inspect(image_id):
            return None
        if engine.store == PODMAN:
            return []
        raise


def layers(document: t.Mapping[str, t.Any], past: History) -> t.Tuple[LocalLayer, ...]:
    """Lowest first, from an engine's inspect and history; none for a half-loaded image."""
    diff_ids = [Digest(diff_id) for diff_id in (document.get("RootFS") or {}).get("Layers") or []]
    blobs = described((document.get("Descriptor") or {}).get("annotations"))
    entries = matched(past, len(diff_ids)) or itertools.repeat(None)
    return tuple(
        LocalLayer(
            diff_id,
            chain_id,
            blobs[diff_id].digest if diff_id in blobs else None,
            int(entry.get("Size") or 0) if entry else None,
            (entry.get("CreatedBy") or "").strip() or None if entry else None,
        )
        for diff_id, chain_id, entry in zip(diff_ids, _image.chain_ids(diff_ids), entries)
    )


def matched(past: History, number: int) -> t.Optional[t.List[t.Mapping[str, t.Any]]]:
    """The ``number`` entries that made layers, oldest first; None if it is not certain which they are.

    ``past`` is the engine's history, newest first. An entry with a size made a layer; one without may have, if its instruction can.
    """
    entries = list(reversed(past))
    sized = [entry for entry in entries if entry.get("Size")]
    able = [entry for entry in entries if entry.get("Size") or not _METADATA.match(entry.get("CreatedBy") or "")]
    return next((found for found in (sized, able, entries) if len(found) == number), None)
