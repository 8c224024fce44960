# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user writes to mean an image that a host has: a reference, or an image ID."""

from __future__ import annotations

import re
import typing as t

from . import reference as _reference
from .reference import Reference

_ID = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_SHORT_ID = re.compile(r"[0-9a-f]{12,63}")


class Named(t.NamedTuple):
    """``image_id`` is whole, or its first 12 to 63 digits; such digits may be a repository's name too, then both are set."""

    spelling: str
    reference: t.Optional[Reference]
    image_id: t.Optional[str]

    def __str__(self) -> str:
        return self.spelling


def parse(text: str) -> Named:
    """Raises InvalidReference if text is neither a reference nor an image ID."""
    match = _ID.fullmatch(text) if isinstance(text, str) else None
    if match:
        return Named(text, None, "sha256:" + match.group(1))
    return Named(text, _reference.parse(text), text if _SHORT_ID.fullmatch(text) else None)


def is_id(named: Named, image_id: str) -> bool:
    """Whether the ID that was written means this image."""
    return bool(named.image_id) and image_id.partition(":")[2].startswith(str(named.image_id).rpartition(":")[2])
