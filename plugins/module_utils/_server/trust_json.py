# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The JSON files of engines and users, merged: daemon.json of dockerd, config.json of docker login, auth.json of podman login.

What is not ours stays as it is, in its order and with its indent; a text that would say the same stays to the letter.
"""

from __future__ import annotations

import base64
import json
import re
import typing as t

from .._errors import InvalidInput, shown

Document = t.Dict[str, t.Any]
Items = t.Dict[str, t.List[str]]

MIRRORS, INSECURE = "registry-mirrors", "insecure-registries"


def read(text: str, path: str) -> Document:
    """An empty file is an empty object. Raises InvalidInput for all else that is no JSON object."""
    try:
        document = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise InvalidInput("%s is not valid JSON (%s): nothing was changed; repair it, then run again" % (path, error)) from None
    if not isinstance(document, dict):
        raise InvalidInput("%s is JSON, but no object (line 1, column 1): nothing was changed; repair it, then run again" % path)
    return document


def written(document: Document, text: str, indent: str = "  ") -> str:
    """The document in the manner of the text that it comes from: that text if it says the same; ``indent`` is a new file's."""
    if text.strip():
        if json.loads(text) == document:
            return text
        found = re.search(r"\n([ \t]+)\S", text)
        indent = found.group(1) if found else indent if "\n" in text.strip() else ""
    lines = json.dumps(document, ensure_ascii=False, indent=indent) if indent else json.dumps(document, ensure_ascii=False)
    return lines + ("" if text.strip() and not text.endswith("\n") else "\n")


class Merged(t.NamedTuple):
    """``ours``: the items that were not there before us; ``keys``: the keys that we made."""

    document: Document
    ours: Items
    keys: t.List[str]


def merge(document: Document, path: str, wished: Items, ours: Items, keys: t.Sequence[str]) -> Merged:
    """Have the wished items in the lists of daemon.json, and take out those of ours that are wished no more.

    Mirrors go first, for the first one is asked first; what is there stays where it is.
    """
    result, added, made = dict(document), {}, list(keys)
    for key in (MIRRORS, INSECURE):
        current = document.get(key) or []
        if not isinstance(current, list) or not all(isinstance(item, str) for item in current):
            raise InvalidInput("%s: %s is no list of texts there: nothing was changed; repair it, then run again" % (path, key))
        want, old = wished.get(key, []), ours.get(key, [])
        gone = {_bare(item) for item in old} - {_bare(item) for item in want}
        there = {_bare(item) for item in current}
        kept = [item for item in current if _bare(item) not in gone]
        new = [item for item in want if _bare(item) not in there]
        items = new + kept if key == MIRRORS else kept + new
        if any(item in old or item in new for item in want):
            added[key] = [item for item in want if item in old or item in new]
        if items or (key in document and key not in made):
            if items != current:
                result[key] = items
            if key not in document and key not in made:
                made.append(key)
        else:
            result.pop(key, None)
            made = [one for one in made if one != key]
    return Merged(result, added, made)


def _bare(item: str) -> str:
    return item.rstrip("/")


def owner_of(document: Document, path: str, key: str) -> t.Optional[str]:
    """Who is logged in: None if nobody is, "" if that cannot be told. Raises InvalidInput if a helper keeps the credentials."""
    helper = _object(document, path, "credHelpers").get(key) or document.get("credsStore")
    if helper:
        raise InvalidInput(
            "%s: a helper (docker-credential-%s) keeps the credentials for %s, and a password in plain text shall not stand beside it: "
            "log in with the engine's own login, or take the helper out there" % (path, shown(helper), key)
        )
    entry = _object(document, path, "auths").get(key)
    if not entry:
        return None
    try:
        return base64.b64decode(entry["auth"], validate=True).decode("utf-8").partition(":")[0]
    except (AttributeError, KeyError, TypeError, ValueError):
        return str(entry.get("username") or "") if isinstance(entry, dict) else ""


def with_login(text: str, path: str, key: str, login: t.Optional[t.Tuple[str, str]]) -> str:
    """The file with this login (user name, password), or without one for this key."""
    document = read(text, path)
    auths = dict(_object(document, path, "auths"))
    if login:
        value = base64.b64encode(("%s:%s" % login).encode("utf-8")).decode("ascii")
        auths[key] = {"auth": value}
    else:
        auths.pop(key, None)
    document["auths"] = auths
    if not auths:
        del document["auths"]
    return written(document, text, "\t")


def empty_without(text: str, path: str, keys: t.Iterable[str]) -> bool:
    """Whether an auth file says nothing once these logins are out."""
    document = read(text, path)
    return not set(_object(document, path, "auths")) - set(keys) and not set(document) - {"auths"}


def _object(document: Document, path: str, key: str) -> Document:
    value = document.get(key) or {}
    if not isinstance(value, dict):
        raise InvalidInput("%s: %s is no JSON object there: nothing was changed; repair it, then run again" % (path, key))
    return value
