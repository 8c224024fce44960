# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a host finds the blobs that image_load puts together: ``staged`` and ``archived`` are of this kind."""

from __future__ import annotations

import typing as t

from .._plan.load import Need


class Source(t.Protocol):
    """Where the host finds blobs: what was staged, or an archive of its own."""

    @property
    def sent(self) -> t.Container[str]:
        """Digests of what came in this run."""

    def lacks(self, needs: t.Sequence[Need]) -> t.List[t.Dict[str, t.Any]]:
        """What must come from the controller first; everything else is verified when this returns.

        Raises ArchiveError if a blob is damaged where it comes from, or is nowhere.
        """

    def reader(self, digest: str) -> t.ContextManager[t.Any]:
        """A stream of a blob that ``lacks`` was asked about."""

    def size(self, digest: str) -> int:
        """Bytes of that blob."""
