# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tag: which references are to name another image, and what a user may have meant by a name that is not there."""

from __future__ import annotations

import difflib
import typing as t

from .._errors import InvalidReference
from .._oci import reference as _reference
from .._oci.reference import Reference

KEPT, TAGGED = "kept", "tagged"


def targets(texts: t.Iterable[str]) -> t.List[Reference]:
    """References to give to an image, each once; raises InvalidReference for one with a digest."""
    found: t.Dict[str, Reference] = {}
    for text in texts:
        reference = _reference.parse(text)
        if reference.digest:
            name = text.partition("@")[0]
            raise InvalidReference(
                "%s: a digest follows from what an image is and cannot be given to one: write %s" % (text, name if reference.tag else name + ":TAG")
            )
        found.setdefault(str(reference), reference)
    return list(found.values())


def action(named: t.Optional[str], source: str) -> str:
    """From the ID of the image that a tag names now, if any, and of the one that it shall name."""
    return KEPT if named == source else TAGGED


def similar(wanted: str, present: t.Iterable[str], limit: int = 5) -> t.List[str]:
    """References of the host that a user may have meant: first of the same repository, then of the same last name, then alike."""
    present = sorted(set(present))
    try:
        reference: t.Optional[Reference] = _reference.parse(wanted)
    except InvalidReference:
        reference = None
    found: t.List[str] = []
    if reference:
        last = reference.repository.rpartition("/")[2]
        parsed = [(text, _reference.parse(text)) for text in present]
        found += [text for text, other in parsed if other.name == reference.name]
        found += [text for text, other in parsed if other.repository.rpartition("/")[2] == last]
    short = {_short(text): text for text in present}
    found += [short[text] for text in difflib.get_close_matches(_short(str(reference or wanted)), list(short), limit, 0.75)]
    return list(dict.fromkeys(found))[:limit]


def _short(text: str) -> str:
    """Without what nearly all names have in common."""
    prefix = _reference.DOCKER_HUB + "/library/"
    return text[len(prefix):] if text.startswith(prefix) else text
