# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words of a Dockerfile: its quotes, escapes and variables, as BuildKit reads them (frontend/dockerfile/shell/lex.go).

The modifiers are ``${x:-word} ${x:+word} ${x:?word}``, these without the colon, ``${x#pattern} ${x##pattern} ${x%pattern}
${x%%pattern}`` and ``${x/pattern/word} ${x//pattern/word}``. A variable that is not set is empty.
"""

from __future__ import annotations

import re
import typing as t

from .._errors import InvalidInput, shown

_NAME = re.compile(r"[0-9]+|[@*#?\-$!]|\w*")
_REFERENCE = re.compile(r"\$\{?([a-zA-Z_]\w*)")
_HEREDOC = re.compile(r"\d*<<(-?)\s*([^<]*)")

Piece = t.Tuple[str, bool]  # text, and whether white space in it is a part of a word


def expand(text: str, values: t.Mapping[str, str], escape: str = "\\") -> str:
    """Without quotes and escapes, variables replaced; raises InvalidInput for what no builder takes."""
    return _joined(_Lexer(text, values, escape).pieces())


def names(text: str) -> t.Set[str]:
    """The variables that a text names."""
    return set(_REFERENCE.findall(text))


def heredocs(line: str) -> t.List[t.Tuple[str, bool]]:
    """The last lines of the documents that follow a line, and whether tabs may stand before each."""
    found = []
    try:
        for word in _words(_Lexer(line, None, "\\", raw=True).pieces(raw=True)):
            match = _HEREDOC.fullmatch(word)
            end = _words(_Lexer(match.group(2), None, "\\").pieces()) if match else []
            if match and len(end) == 1:
                found.append((end[0], bool(match.group(1))))
    except InvalidInput:  # a quote that is not closed is the shell's matter
        return []
    return found


def _joined(pieces: t.List[Piece]) -> str:
    return "".join(text for text, _whole in pieces)


def _words(pieces: t.List[Piece]) -> t.List[str]:
    found = [""]
    for text, whole in pieces:
        if whole or not text.isspace():
            found[-1] += text
        else:
            found.append("")
    return [word for word in found if word]


class _Lexer:
    """``values`` None leaves variables as they are; ``raw`` leaves quotes."""

    def __init__(self, text: str, values: t.Optional[t.Mapping[str, str]], escape: str, raw: bool = False) -> None:
        self.text, self.values, self.escape, self.raw = text, values, escape, raw
        self.at = 0

    def bad(self, why: str) -> InvalidInput:
        return InvalidInput("%s in %s" % (why, shown(repr(self.text))))

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self) -> str:
        char = self.peek()
        self.at += len(char)
        return char

    def match(self, pattern: t.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found.group() if found else ""

    def pieces(self, stop: str = "", raw: bool = False) -> t.List[Piece]:
        """Up to ``stop``, or all; ``raw`` leaves escapes."""
        found: t.List[Piece] = []
        while self.peek():
            char = self.take()
            if char == stop:
                return found
            if char == "$":
                found.extend((part, False) for part in self.dollar())
            elif char in "'\"":
                found.append((self.quoted(char, raw), True))
            elif char == "<" and self.peek() == "<":
                found.append((char + self.match(re.compile(r"<\s*")), True))
            elif char == self.escape:
                found.append(((char if raw else "") + self.take(), True))
            else:
                found.append((char, False))
        if stop:
            raise self.bad("there is no %s" % stop)
        return found

    def quoted(self, quote: str, raw: bool) -> str:
        found = ""
        while self.peek() not in ("", quote):
            char = self.take()
            if quote == '"' and char == "$":
                found += self.dollar()
            elif quote == '"' and char == self.escape:
                escaped = self.peek() and self.peek() in '"$' + self.escape
                found += (char if raw or not escaped else "") + (self.take() if escaped else "")
            else:
                found += char
        if not self.take():
            raise self.bad("there is no second %s" % quote)
        return quote + found + quote if self.raw else found

    def dollar(self) -> str:
        start = self.at - 1
        if self.peek() != "{":
            name = self.match(_NAME)
            kept = self.values is None or not name
            return self.text[start : self.at] if kept else (self.values or {}).get(name, "")
        self.take()
        name, operator = self.match(_NAME), self.take()
        value = (self.values or {}).get(name)
        if operator == "}" and name:
            found = value or ""
        elif name and operator and operator in ":+-?#%/":
            found = self.modified(name, value, operator)
        else:
            raise self.bad("a substitution is not ${name}, nor a form of it that builders know,")
        return self.text[start : self.at] if self.values is None else found

    def modified(self, name: str, value: t.Optional[str], operator: str) -> str:
        strict = operator == ":"
        if strict:
            operator = self.take()
        if operator == "/":
            return self.replaced(value or "")
        word = _joined(self.pieces("}", raw=operator in ("#", "%")))
        unset = value is None or (strict and not value)
        if operator == "-":
            return word if unset else value or ""
        if operator == "+":
            return "" if unset else word
        if operator == "?":
            if unset and self.values is not None:
                raise InvalidInput("%s: %s" % (name, word or "is not allowed to be %s" % ("empty" if strict else "unset")))
            return value or ""
        if operator and operator in "#%":
            return _trimmed(value or "", word, operator)
        if self.values is None:
            return ""
        raise self.bad("${%s:%s is a substitution that builders do not know," % (name, operator))

    def replaced(self, value: str) -> str:
        every = self.peek() == "/" and bool(self.take())
        pattern = _joined(self.pieces("/", raw=True))
        word = _joined(self.pieces("}", raw=True))
        return re.sub(_regex(pattern), lambda match: word, value, count=0 if every else 1)


def _trimmed(value: str, pattern: str, operator: str) -> str:
    """Without what a pattern matches at the start (``#``) or the end (``%``): the shortest, or the longest if the operator is doubled."""
    longest = pattern.startswith(operator)
    regex = re.compile(_regex(pattern[longest:]))
    sizes = range(len(value) + 1)
    for size in reversed(sizes) if longest else sizes:
        cut = size if operator == "#" else len(value) - size
        matched, rest = (value[:cut], value[cut:]) if operator == "#" else (value[cut:], value[:cut])
        if regex.fullmatch(matched):
            return rest
    return value


def _regex(pattern: str) -> str:
    wild = {"*": ".*", "?": "."}
    return re.sub(r"\\.|.", lambda match: wild.get(match.group()) or re.escape(match.group()[-1]), pattern)
