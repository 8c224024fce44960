# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags as versions: their order, and ranges of them (Semantic Versioning 2.0.0, "Precedence", as far as tags keep to it)."""

from __future__ import annotations

import operator
import re
import typing as t

from .._errors import InvalidInput, shown

Key = t.Tuple[t.Any, ...]

_VERSION = re.compile(r"v?([0-9]+(?:\.[0-9]+)*)(?:(?:[-_+]|\.(?=[a-zA-Z]))(\w[\w.+-]*))?", re.ASCII)
_JOINED = re.compile(r"v?([0-9]+(?:\.[0-9]+)+)((?:a|b|rc|alpha|beta|pre|dev)[0-9]*(?:[-_.+][\w.+-]*)?)", re.ASCII)
_EARLY = ("a", "alpha", "b", "beta", "c", "canary", "dev", "ea", "m", "nightly", "pre", "preview", "rc", "snapshot")
"""How the names of prereleases begin. Any other ending, such as ``alpine``, names a variant of the release."""

_PRERELEASE, _VARIANT, _RELEASE = range(3)

_BOUND = r"(>=|<=|!=|>|<|=)?\s*([^\s,<>=!]+)"
_COMPARE = {">=": operator.ge, "<=": operator.le, "!=": operator.ne, ">": operator.gt, "<": operator.lt, "=": operator.eq}


class Version(t.NamedTuple):
    """``numbers`` are without zeros at their end; ``ending`` compares numbers in it as numbers."""

    numbers: t.Tuple[int, ...]
    kind: int
    ending: Key

    @property
    def rank(self) -> Key:
        """For a range a variant is what its release is."""
        early = self.kind == _PRERELEASE
        return (self.numbers, not early, self.ending if early else ())


def parse(tag: str) -> t.Optional[Version]:
    """None if the tag is no version, as ``latest``."""
    match = _VERSION.fullmatch(tag) or _JOINED.fullmatch(tag)
    if not match:
        return None
    numbers = [int(part) for part in match.group(1).split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    ending = (match.group(2) or "").lower()
    first = re.match("[a-z]*", ending)
    kind = _RELEASE if not ending else _PRERELEASE if first and first.group() in _EARLY else _VARIANT
    return Version(tuple(numbers), kind, _runs(ending))


def newest_first(tags: t.Iterable[str]) -> t.List[str]:
    """Versions from high to low, of equal ones the release, its variants, its prereleases; then what is no version, by name."""
    versions, others = [], []
    for tag in set(tags):
        version = parse(tag)
        if version:
            # Of 1.2 and 1.2.0 the one that says more comes first.
            versions.append((version, tag.count("."), tag))
        else:
            others.append(tag)
    return [tag for _version, _dots, tag in sorted(versions, reverse=True)] + sorted(others)


class Range:
    """Bounds with spaces or commas between them, all of which hold: ``>=1.2 <2``.

    A prerelease is in it only if a bound is a prerelease of the same version: ``<2`` is not for those who want 2.0.0-rc1.
    """

    def __init__(self, text: str) -> None:
        """Raises InvalidInput."""
        if not re.fullmatch(r"\s*%s(?:[\s,]+%s)*\s*" % (_BOUND, _BOUND), text):
            raise _refused(text, text)
        self._bounds: t.List[t.Tuple[t.Callable[[t.Any, t.Any], bool], Version]] = []
        for sign, word in re.findall(_BOUND, text):
            version = parse(word)
            if version is None or version.kind == _VARIANT:
                raise _refused(text, word)
            self._bounds.append((_COMPARE[sign or "="], version))

    def __contains__(self, tag: str) -> bool:
        version = parse(tag)
        if version is None:
            return False
        if version.kind == _PRERELEASE and (version.numbers, _PRERELEASE) not in [bound[:2] for _compare, bound in self._bounds]:
            return False
        return all(compare(version.rank, bound.rank) for compare, bound in self._bounds)


def _refused(text: str, word: str) -> InvalidInput:
    return InvalidInput(
        "tag_range %s: %s is not a version with one of >= > <= < = != before it: write for example >=1.2 <2" % (shown(text), shown(word))
    )


def _runs(text: str) -> Key:
    """``rc.10`` as ("rc", 10): words after numbers, as in Semantic Versioning."""
    return tuple((0, int(run), "") if run.isdigit() else (1, 0, run) for run in re.findall(r"[0-9]+|[^0-9._+-]+", text))
