# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs of an archive that is on the host already; image_load's other source of them is ``staged``."""

from __future__ import annotations

import io
import os
import typing as t

from .._oci.archive import Archive
from .._oci.digest import Verified, drain
from .._oci.extent import Extent
from .._oci.files import expand
from .._plan.load import Need, absent

Result = t.Dict[str, t.Any]


class Archived:
    """Blobs of an archive on this host; ``scratch`` takes what has to be expanded."""

    sent: t.Container[str] = ()

    def __init__(self, archive: Archive, scratch: str) -> None:
        self._archive = archive
        self._scratch = scratch
        self._extents: t.Dict[str, Extent] = {}

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
