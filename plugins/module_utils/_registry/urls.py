# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of servers: what may be said of one in a message, and whether two are of the same server; and numbers in headers."""

from __future__ import annotations

import ipaddress
import re
import typing as t
import urllib.parse

_PORTS = {"http": 80, "https": 443}


def scheme(url: str) -> str:
    return url.partition("://")[0] + "://"


def origin(url: str) -> str:
    """Scheme, host and port: what may be said of an URL in a message, and what a credential is for."""
    return scheme(url) + urllib.parse.urlsplit(url).netloc.rpartition("@")[2]


def same_server(one: str, other: str) -> bool:
    """Whether two URLs are of the same scheme, host and port, however they are written."""

    def parts(url: str) -> t.Tuple[str, t.Optional[str], t.Optional[int]]:
        split = urllib.parse.urlsplit(url)
        return split.scheme, split.hostname, split.port or _PORTS.get(split.scheme)

    return parts(one) == parts(other)


def loopback(url: str) -> bool:
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def number(text: str) -> t.Optional[int]:
    """What a header states in digits, or None."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None
