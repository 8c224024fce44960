# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Challenges: what a registry's ``WWW-Authenticate`` header wants to see (RFC 9110, section 11.6.1; distribution-spec, auth)."""

from __future__ import annotations

import re
import typing as t

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PART = re.compile(
    r"""(?P<key>{token})[ \t]*=[ \t]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{token}))
      | (?P<scheme>{token})(?=[ \t,]|$)""".format(token=_TOKEN),
    re.VERBOSE,
)


class Challenge(t.NamedTuple):
    """``scheme`` and the keys of ``parameters`` in lower case; values as they were meant, without quotes."""

    scheme: str
    parameters: t.Dict[str, str]


def parse(header: str) -> t.Tuple[Challenge, ...]:
    """All challenges of a header in its order; several headers are joined by a comma. What is malformed is passed over."""
    challenges: t.List[Challenge] = []
    for part in _PART.finditer(header):
        if part.group("scheme"):
            challenges.append(Challenge(part.group("scheme").lower(), {}))
        elif challenges:
            quoted = part.group("quoted")
            value = part.group("plain") if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            challenges[-1].parameters.setdefault(part.group("key").lower(), value)
    return tuple(challenges)


def bearer_or_basic(challenges: t.Iterable[Challenge]) -> t.Optional[Challenge]:
    """The one to answer: Bearer with a token server if there is one, else Basic; None if it is neither."""
    known = {challenge.scheme: challenge for challenge in challenges if challenge.scheme != "bearer" or "realm" in challenge.parameters}
    return known.get("bearer") or known.get("basic")
