# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose among the platforms that an index offers (image-spec, image-index.md)."""

from __future__ import annotations

import typing as t

from .._errors import StowageError
from .platform import Platform


def choose(wanted: Platform, offered: t.Iterable[Platform], where: str, error: t.Type[StowageError]) -> int:
    """The position of the offered platform that serves the wanted one best; raises ``error`` that says what there is."""
    offered = list(offered)
    ranked = sorted((rank, position) for position, rank in enumerate(map(wanted.rank, offered)) if rank is not None)
    if ranked:
        return ranked[0][1]
    there = ", ".join(map(str, offered)) or "no platform"
    raise error("%s is there for %s, not for %s: name what you want with platform" % (where, there, wanted))
