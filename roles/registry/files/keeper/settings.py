# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeper.json and a configuration of the server say, and the one error of this program."""

from __future__ import annotations

import json
import os
import pwd
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

Config = Dict[str, Any]


class Failure(Exception):
    """It could not be done. The text says what was wrong, where, and what to do."""


class Settings(NamedTuple):
    """keeper.json. ``program`` gets `serve CONFIG` or `garbage-collect CONFIG`; it runs as ``user``, or brings its own (a container)."""

    program: Sequence[str]
    user: Optional[str]
    unit: str
    config: str
    run: str
    untagged: bool
    retain: Sequence[Dict[str, Any]]


def load(path: str) -> Settings:
    found = read(path)
    try:
        return Settings(*[found[name] for name in Settings._fields])
    except KeyError as error:
        raise Failure("%s lacks the key %s: run the role again, which writes it." % (path, error))


def read(path: str) -> Config:
    """A file of one JSON object."""
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read().decode())
    except (OSError, ValueError) as error:
        raise Failure("%s cannot be read: %s" % (path, error))
    if not isinstance(found, dict):
        raise Failure("%s is no JSON object." % path)
    return found


def write(path: str, config: Config, like: str, user: Optional[str]) -> None:
    """A configuration for the user and root alone; where the program brings its user, for whoever may read the file ``like``."""
    who, its = account(user), os.stat(like)
    owner, group, mode = (0, who[1], 0o640) if who else (its.st_uid, its.st_gid, its.st_mode & 0o640 | 0o400)
    descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchown(descriptor, owner, group)
        os.fchmod(descriptor, mode)
        json.dump(config, file)
    os.replace(path + ".new", path)


def account(user: Optional[str]) -> Optional[Tuple[int, int, List[int]]]:
    """User, group and further groups."""
    if user is None:
        return None
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise Failure("There is no user %s on this host." % user)
    return found.pw_uid, found.pw_gid, os.getgrouplist(user, found.pw_gid)
