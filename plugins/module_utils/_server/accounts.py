# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of accounts, ``name:hash`` a line, as distribution reads it: bcrypt alone."""

from __future__ import annotations

import re
import typing as t

from .._errors import InvalidInput

# Distribution cuts blanks off a line, ends the name at the first colon, and takes # for a comment.
_NAME = re.compile(r"[!\"$-9;-~](?:[ -9;-~]*[!-9;-~])?")
_PASSWORD = re.compile(r"[ -~]+")
# To try a hash of a higher cost would take minutes.
_HASH = re.compile(r"\$2[aby]\$(?:0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}")
_BCRYPT_READS = 72


def renewed(users: t.Mapping[str, str], current: str, proves: t.Callable[[str, str], bool], hashed: t.Callable[[str], str]) -> str:
    """The text of the file. A line stays as it is while ``proves(password, hash)``; each has its place for good, and new ones follow by name."""
    refuse(users)
    kept: t.Dict[str, str] = {}
    for line in current.split("\n"):
        name, _colon, found = line.partition(":")
        if name in users and name not in kept:
            kept[name] = found if _HASH.fullmatch(found) and proves(users[name], found) else hashed(users[name])
    for name in sorted(set(users) - set(kept)):
        kept[name] = hashed(users[name])
    return "".join("%s:%s\n" % pair for pair in kept.items())


def refuse(users: t.Any) -> None:
    """Raises InvalidInput for an account that not every client could use. No message has a password in it."""
    if not isinstance(users, dict):
        raise InvalidInput("registry_users must be passwords by names")
    for name, password in users.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidInput(
                "registry_users: %r cannot be a name; it must be a text of letters, digits and signs of ASCII, without a colon, a # in front and"
                " blanks around it" % (name,)
            )
        wrong = _wrong(password)
        if wrong:
            raise InvalidInput("registry_users: the password of %s %s" % (name, wrong))


def _wrong(password: t.Any) -> str:
    if password is None or password == "":
        return "is empty"
    if not isinstance(password, str):
        return "is no text; put it in quotes"
    if not _PASSWORD.fullmatch(password):
        return "has a character that is not printable ASCII, which clients do not send alike"
    if len(password) > _BCRYPT_READS:
        return "is longer than %d characters, which is all that bcrypt reads" % _BCRYPT_READS
    return ""
