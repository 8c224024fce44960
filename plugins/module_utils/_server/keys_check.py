# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what a user wrote are keys and kinds of values that a version of distribution knows. Messages hold no value, for it may be a secret."""

from __future__ import annotations

import difflib
import os.path
import re
import typing as t

from .._errors import InvalidInput
from . import keys

_TREES = {"2.8": keys.OF_28, "3": keys.OF_3}
_TIME = re.compile(r"-?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+")
_CLOSE = 0.6


def tree(version: str) -> keys.Tree:
    """All keys of a version, "2.8" or "3"."""
    return _TREES[version]


class Check:
    """Of what stands in one variable of the role. ``place`` is where in the configuration that belongs, as ("storage", "s3")."""

    def __init__(self, variable: str, version: str, place: t.Tuple[str, ...] = ()) -> None:
        self._variable = variable
        self._version = version
        self._place = place

    def __call__(self, value: t.Any) -> None:
        """Raises InvalidInput at the first thing that distribution would not know."""
        self._value(value, _at(tree(self._version), self._place), self._place)

    def _value(self, value: t.Any, known: t.Any, path: t.Tuple[str, ...]) -> None:
        if isinstance(known, dict):
            self._section(value, known, path)
        elif isinstance(known, list):
            self._must(isinstance(value, (list, tuple)), path, "a list")
            for number, one in enumerate(value):
                self._section(one, known[0], path[:-1] + ("%s[%d]" % (path[-1], number),))
        elif isinstance(known, tuple):
            self._must(str(value) in known, path, "one of %s" % ", ".join(known))
        else:
            holds, wanted = _KINDS[known]
            self._must(holds(value), path, wanted)

    def _section(self, value: t.Any, known: keys.Tree, path: t.Tuple[str, ...]) -> None:
        self._must(isinstance(value, dict), path, "a dict")
        for key, one in value.items():
            here = path + (str(key),)
            if key not in known:
                raise InvalidInput("%s: %s" % (self._variable, self._unknown(here, known)))
            self._value(one, known[key], here)

    def _must(self, holds: bool, path: t.Tuple[str, ...], wanted: str) -> None:
        if not holds:
            raise InvalidInput("%s: %s must be %s" % (self._variable, self._shown(path), wanted))

    def _shown(self, path: t.Tuple[str, ...]) -> str:
        """The path as the user wrote it, which is without the place of the variable, but for the number of who is in a list there."""
        place = len(self._place)
        return ".".join(path[place - (path[:place] != self._place):]) or "it"

    def _unknown(self, path: t.Tuple[str, ...], level: keys.Tree) -> str:
        other = next(version for version in _TREES if version != self._version)
        bare = tuple(re.sub(r"\[\d+\]$", "", part) for part in path)
        if _at(tree(other), bare) is not None:
            return "%s is a key of distribution %s alone, and this is %s" % (self._shown(path), other, self._version)
        near = _nearest(path[-1], level)
        elsewhere = [one for one in _paths(_at(tree(self._version), self._place), self._place) if one[-1] == path[-1]]
        meant = path[:-1] + (near,) if near else elsewhere[0] if len(elsewhere) == 1 else None
        advice = "; did you mean %s?" % self._shown(meant) if meant else ""
        return "%s is no key of distribution %s%s" % (self._shown(path), self._version, advice)


def _at(known: t.Any, path: t.Iterable[str]) -> t.Any:
    """What a tree has at a path, None where it ends before."""
    for part in path:
        known = known[0] if isinstance(known, list) else known
        known = known.get(part) if isinstance(known, dict) else None
    return known


def _paths(known: t.Any, path: t.Tuple[str, ...]) -> t.Iterator[t.Tuple[str, ...]]:
    for key, deeper in known.items() if isinstance(known, dict) else ():
        yield path + (key,)
        yield from _paths(deeper, path + (key,))


def _nearest(key: str, level: t.Iterable[str]) -> t.Optional[str]:
    """Who mistypes a word mostly has its beginning right."""
    ratios = {one: difflib.SequenceMatcher(None, key.lower(), one).ratio() + 0.1 * len(os.path.commonprefix([key.lower(), one])) for one in level}
    best = max(ratios, key=lambda one: ratios[one], default=None)
    return best if best and ratios[best] >= _CLOSE else None


def _is_texts(value: t.Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)


def _is_time(value: t.Any) -> bool:
    # A number would be nanoseconds.
    return bool(_TIME.fullmatch(value)) if isinstance(value, str) else value == 0 and not isinstance(value, bool)


_KINDS: t.Dict[str, t.Tuple[t.Callable[[t.Any], bool], str]] = {
    keys.TEXT: (lambda value: isinstance(value, str), "a text; put a number in quotes"),
    keys.TEXTS: (_is_texts, "a list of texts"),
    keys.FLAG: (lambda value: isinstance(value, bool), "true or false, without quotes"),
    keys.NUMBER: (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number, without quotes"),
    keys.TIME: (_is_time, "a time with its unit, as in 10s or 168h"),
    keys.HEADERS: (lambda value: isinstance(value, dict) and all(_is_texts(one) for one in value.values()), "lists of texts by the names of headers"),
    keys.OPEN: (lambda value: isinstance(value, dict), "a dict"),
}
