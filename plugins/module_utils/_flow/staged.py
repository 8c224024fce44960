# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs that the controller sends; image_load's other source of them is ``archived``."""

from __future__ import annotations

import typing as t

from .._errors import BlobMismatch
from .._plan.load import Elsewhere, Need, absent
from .staging import Staging

Result = t.Dict[str, t.Any]


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
