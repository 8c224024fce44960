# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose among the platforms that an index offers (image-spec, image-index.md)."""

from __future__ import annotations

import typing as t

from .._errors import StowageError
from .platform import Platform


def advice(named: bool) -> str:
    """What to do about a platform that is not there, before those that are; ``named`` as in ``choose``."""
    return "name one of these with platform%s" % (", or leave it away" if named else "")


def choose(wanted: Platform, offered: t.Iterable[Platform], where: str, error: t.Type[StowageError], named: bool = False) -> int:
    """The position of the offered platform that serves the wanted one best; raises ``error`` that says what there is.

    ``named``: the user asked for it, and could have left it to us.
    """
    offered = list(offered)
    ranked = sorted((rank, position) for position, rank in enumerate(map(wanted.rank, offered)) if rank is not None)
    if ranked:
        return ranked[0][1]
    if not offered:
        raise error("%s is not there for %s: it states no platform, so name the manifest that you want by its digest" % (where, wanted))
    raise error("%s is not there for %s: %s: %s" % (where, wanted, advice(named), ", ".join(dict.fromkeys(map(str, offered)))))
