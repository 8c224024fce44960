# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a registry means that answers 429: when to come again, and what is left of how many requests.

The headers are Docker Hub's ("Docker Hub usage and limits" and "Docker Hub API, rate limiting") besides RFC 9110's.
"""

from __future__ import annotations

import re
import time
import typing as t

from .._errors import RegistryError
from .auth import reason
from .transport import Answer
from .urls import number

_MANY = 1000000000
"""A stated time from here on is a moment, in seconds since 1970; below, it is a span."""

_LEFT = re.compile(r"([0-9]{1,9})(?:\s*;\s*w=([0-9]{1,9}))?")


class Limited(RegistryError):
    """Asking again at once, or asking for something else, is of no use."""


def limited(what: str, server: str, answer: Answer) -> Limited:
    """The sentence for an answer of 429."""
    seconds = _seconds(answer)
    when = "later" if seconds is None else "in %d seconds" % seconds
    return Limited(
        "%s: %s takes no more requests for now (%s%s): try again %s; logging in often raises the limit"
        % (what, server, reason(answer), _left(answer), when)
    )


def _seconds(answer: Answer) -> t.Optional[float]:
    if answer.retry_after is not None:
        return answer.retry_after
    for name in ("X-Retry-After", "X-RateLimit-Reset"):
        stated = number(answer.headers.get(name, ""))
        if stated is not None:
            return max(0.0, stated - time.time()) if stated >= _MANY else float(stated)
    return None


def _left(answer: Answer) -> str:
    """``ratelimit-limit: 100;w=21600`` are 100 requests in six hours."""
    limit, left = (_LEFT.match(answer.headers.get("ratelimit-" + name, "")) for name in ("limit", "remaining"))
    if not left:
        return ""
    text = ", %s%s requests left" % (left.group(1), " of %s" % limit.group(1) if limit else "")
    window = left.group(2) or (limit.group(2) if limit else None)
    return text + (" in %d minutes" % (int(window) // 60) if window else "")
