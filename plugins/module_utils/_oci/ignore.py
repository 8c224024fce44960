# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a .dockerignore leaves out of a build context, as Docker's clients read it (github.com/moby/patternmatcher).

Where BuildKit and the classic client differ, this is BuildKit's way: a ``!`` pattern reaches into every excluded folder,
and a folder that something is kept of is kept itself.
"""

from __future__ import annotations

import os
import posixpath
import re
import typing as t

from .._errors import InvalidInput, shown

_BLANKS = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
"""What Go trims; Python would trim some control characters more."""

_GLOB = re.compile(r"[*\[\]?^\\]")
_SET_MEMBER = r"(?:[^\]\\-]|\\.)(?:-(?:[^\]\\-]|\\.))?"
_SYNTAX = re.compile(r"(?:[^\\\[]|\\.|\[(?:\^|(?!\^))(?:%s)+\])*" % _SET_MEMBER, re.S)
"""Go's filepath.Match: what it calls a syntax error, Docker refuses."""

_ESCAPES = "dDwWsSafnrtv"
_ASSERTIONS = {"b": r"\b", "B": r"\B", "A": r"\A", "z": r"\Z"}
_NAMED_SET = re.compile(r"\[:(\^?)(\w+):\]")
_NAMED_SETS = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7f", "blank": r"\t ", "cntrl": r"\x00-\x1f\x7f", "digit": "0-9", "graph": "!-~",
    "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r"\t-\r ", "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}
_UNDECODED = re.compile("[\udc80-\udcff]")


class _Pattern(t.NamedTuple):
    """``keeps`` is whether it began with ``!``; ``text`` is what followed."""

    text: str
    keeps: bool
    matches: t.Callable[[str], bool]


class Ignore:
    """Which paths of a context a .dockerignore leaves out. Paths are relative to the context, with ``/``, as os.fsdecode gives them."""

    def __init__(self, text: bytes, where: str) -> None:
        """Raises InvalidInput for a pattern that Docker refuses; ``where`` names the file."""
        self._patterns = tuple(_patterns(text, where))
        self._folders: t.Dict[str, t.Tuple[bool, ...]] = {}
        kept = [re.sub(r"/\*\*?\Z", "", pattern.text) for pattern in self._patterns if pattern.keeps]
        self._everywhere = any(_GLOB.search(one) for one in kept)
        self._kept = [one + "/" for one in kept]

    def excludes(self, path: str) -> bool:
        return bool(self._patterns) and self._judge(path)[0]

    def hides_all_below(self, path: str) -> bool:
        """Whether a folder is excluded and no ``!`` pattern can reach what lies in it: it need not be entered."""
        return self.excludes(path) and not self._everywhere and not any(one.startswith(path + "/") for one in self._kept)

    def _judge(self, path: str) -> t.Tuple[bool, t.Tuple[bool, ...]]:
        """Whether the path is excluded, and which patterns match it or, where that was looked at, a folder that it lies in."""
        above = self._above(path)
        excluded, found = False, []
        for pattern, matched in zip(self._patterns, above):
            # A pattern that could change nothing is not asked, and what lies in the folder does not learn from it: Docker's way.
            matched = matched or (pattern.keeps == excluded and pattern.matches(path))
            if matched:
                excluded = not pattern.keeps
            found.append(matched)
        return excluded, tuple(found)

    def _above(self, path: str) -> t.Tuple[bool, ...]:
        folder = posixpath.dirname(path)
        if not folder:
            return (False,) * len(self._patterns)
        if folder not in self._folders:
            self._folders[folder] = self._judge(folder)[1]
        return self._folders[folder]


def _patterns(text: bytes, where: str) -> t.Iterator[_Pattern]:
    if text.startswith(b"\xef\xbb\xbf"):
        text = text[3:]
    for number, raw in enumerate(text.split(b"\n"), 1):
        line = os.fsdecode(raw)
        pattern = line.strip(_BLANKS)
        if line.startswith("#") or not pattern:
            continue
        keeps = pattern.startswith("!")
        pattern = _clean(pattern[1:].strip(_BLANKS) if keeps else pattern)
        try:
            if keeps and pattern in ("", "/"):
                raise ValueError("nothing follows the !")
            if not _SYNTAX.fullmatch(pattern):
                raise ValueError("a bracket or a backslash that nothing ends")
            yield _Pattern(pattern, keeps, _matcher(pattern))
        except (ValueError, re.error) as error:
            raise InvalidInput("%s, line %d: the pattern %s is none that Docker reads (%s)" % (where, number, shown(repr(line)), error)) from None


def _clean(pattern: str) -> str:
    """Go's filepath.Clean, and without a leading slash."""
    if not pattern:
        return pattern
    pattern = re.sub("^//", "/", posixpath.normpath(pattern))
    return pattern[1:] if len(pattern) > 1 and pattern.startswith("/") else pattern


def _matcher(pattern: str) -> t.Callable[[str], bool]:
    """Docker compares where it can, and these comparisons differ from the regular expressions that it makes of other patterns."""
    expression, kind = _expression(pattern)
    if kind == "exact":
        return pattern.__eq__
    if kind == "prefix":
        start = pattern[:-2]
        return lambda path: path.startswith(start)
    if kind == "suffix":
        end = pattern[2:]
        return lambda path: path.endswith(end) or "/" + path == end
    compiled = re.compile(_python(_UNDECODED.sub("\ufffd", expression)), re.ASCII)
    return lambda path: bool(compiled.fullmatch(path if path.isascii() else _UNDECODED.sub("\ufffd", path)))


def _expression(pattern: str) -> t.Tuple[str, str]:
    """The regular expression that Docker makes of a pattern, and how it compares."""
    found, kind, at = "", "exact", 0
    while at < len(pattern):
        char, start = pattern[at], at
        at += 1
        if pattern.startswith("**", start):
            at += 2 if pattern.startswith("/", start + 2) else 1
            if at < len(pattern):
                found, kind = found + "(.*/)?", "expression"
            elif kind == "exact":
                kind = "prefix"
            else:
                found, kind = found + ".*", "expression"
            if not start:
                kind = "suffix"
        elif char in "*?":
            found, kind = found + ("[^/]*" if char == "*" else "[^/]"), "expression"
        elif char in ".+()|{}$":
            found += "\\" + char
        elif char == "\\":
            found, kind = found + pattern[start:start + 2], "expression"
            at += 1
        else:
            found += char
            if char in "[]":
                kind = "expression"
    return found, kind


def _python(expression: str) -> str:
    """Go's regular expression in Python's words; raises ValueError for escapes by letters that nobody means, such as ``\\x`` and ``\\p``."""
    found, inside, at = "", False, 0
    while at < len(expression):
        char, start = expression[at], at
        at += 1
        named = _NAMED_SET.match(expression, start) if inside else None
        if char == "\\":
            letter = expression[at]
            at += 1
            if letter.isalnum() and letter not in _ESCAPES and (inside or letter not in _ASSERTIONS) or not letter.isascii():
                raise ValueError("a backslash before %s" % letter)
            found += "\\" + letter if inside else _ASSERTIONS.get(letter, "\\" + letter)
        elif named:
            if named.group(1) or named.group(2) not in _NAMED_SETS:
                raise ValueError("no set of characters is called %s" % named.group())
            found += _NAMED_SETS[named.group(2)]
            at = named.end()
        elif inside and char in "[&|~":
            found += "\\" + char
        else:
            inside = char == "[" if not inside else char != "]"
            found += char
            if inside and char == "[" and expression[at:at + 1] == "^":
                found += "^"
                at += 1
    return found
