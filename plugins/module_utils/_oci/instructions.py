# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the text of a Dockerfile to its instructions and what they use, as BuildKit reads them (frontend/dockerfile/parser, instructions)."""

from __future__ import annotations

import json
import re
import typing as t

from .words import heredocs

_WITH_HEREDOCS = ("add", "copy", "run")
_DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=\s*(.+?)\s*", re.IGNORECASE)
_SPACE = re.compile(r"[\t\v\f\r ]+")
_PART = re.compile(r"""\\(.)|"((?:\\.|[^"\\])*)"?|'((?:\\.|[^'\\])*)'?""")
_FLAG = re.compile(r"""\s*--([^\s=]+)(?:=((?:\\.|"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?|[^\s'"\\])*))?\\?""")
_GIT = re.compile(r"(?:git@|git://|ssh://)\S+|https?://\S+\.git(?:[#?]\S*)?")
_COPY = {"link": "copy_link", "chmod": "copy_chmod", "exclude": "exclude", "parents": "parents"}
_FEATURES = {
    "run": {"mount": "mount", "network": "network", "security": "security", "device": "device"},
    "copy": _COPY,
    "add": dict(_COPY, **{"checksum": "add_checksum", "keep-git-dir": "add_git", "unpack": "add_unpack"}),
}


class Instruction(t.NamedTuple):
    """``command`` in lower case; ``rest`` is what follows its flags; ``line`` counts from 1."""

    command: str
    flags: t.Tuple[t.Tuple[str, str], ...]
    rest: str
    line: int
    heredoc: bool = False

    @property
    def words(self) -> t.List[str]:
        return _SPACE.split(self.rest) if self.rest else []

    @property
    def kept(self) -> Instruction:
        """What an ONBUILD keeps for the children."""
        return _split(self.rest, self.line)._replace(heredoc=self.heredoc)

    def declarations(self, escape: str) -> t.Iterator[t.Tuple[str, t.Optional[str]]]:
        """The names that an ARG declares, and their defaults as they are written."""
        word = r"""(?:%(escape)s.|'[^']*'?|"(?:%(escape)s.|[^"%(escape)s])*"?|[^\s'"%(escape)s])+""" % {"escape": re.escape(escape)}
        for text in re.findall(word, self.rest) if self.command == "arg" else ():
            name, given, default = text.partition("=")
            yield name, default if given else None


class Uses(t.NamedTuple):
    """What the instructions of a stage, or those that its ONBUILD keeps for its children, use."""

    copies: t.Tuple[str, ...]
    declared: t.Tuple[t.Tuple[str, t.Optional[str]], ...]
    needs: t.FrozenSet[str]


def lines_of(text: bytes) -> t.List[str]:
    return [line.rstrip("\r") for line in text.decode("utf-8-sig", "replace").split("\n")]


def directives(lines: t.List[str]) -> t.Dict[str, t.Tuple[str, int]]:
    """``syntax``, ``escape`` and ``check`` where they stand before all else, and their lines."""
    found: t.Dict[str, t.Tuple[str, int]] = {}
    for number, line in enumerate(lines, 1):
        match = _DIRECTIVE.fullmatch(line.lstrip())
        if match:
            found.setdefault(match.group(1).lower(), (match.group(2), number))
        elif number > 1 or not line.startswith("#!"):
            break
    return found


def instructions(lines: t.List[str], escape: str) -> t.Iterator[Instruction]:
    continued = re.compile(r"(?<!%s)%s[ \t]*\Z" % (re.escape(escape), re.escape(escape)))
    at = 0
    while at < len(lines):
        start, text, more = at, "", True
        while more and at < len(lines):
            part = lines[at]
            at += 1
            if not part.strip() or part.lstrip().startswith("#"):
                more = at > start + 1  # an instruction goes on after these
            else:
                match = continued.search(part)
                text, more = text + part[: match.start() if match else None], bool(match)
        if text.strip():
            found = _split(text, start + 1)
            after = _after_heredocs(found, text, lines, at)
            yield found._replace(heredoc=after > at)
            at = after


def _split(text: str, line: int) -> Instruction:
    command, rest = (_SPACE.split(text.strip(), 1) + [""])[:2]
    flags = []
    match = _FLAG.match(rest)
    while match:
        flags.append((match.group(1), _PART.sub(_unquoted, match.group(2) or "")))
        rest = rest[match.end() :]
        match = _FLAG.match(rest)
    return Instruction(command.lower(), tuple(flags), rest.strip(), line)


def _unquoted(part: t.Match[str]) -> str:
    return re.sub(r"\\(.)", r"\1", part.group(1) or part.group(2) or part.group(3) or "")


def _after_heredocs(found: Instruction, text: str, lines: t.List[str], at: int) -> int:
    """Where the next instruction begins. A document without an end is none: old builders know no documents and read on."""
    inner = found.kept if found.command == "onbuild" else found
    after = at
    for end, tabs in heredocs(text) if "<<" in text and inner.command in _WITH_HEREDOCS and not _is_json(inner.rest) else ():
        ends = (number for number in range(after, len(lines)) if (lines[number].lstrip("\t") if tabs else lines[number]) == end)
        after = next(ends, -1) + 1
        if not after:
            return at
    return after


def _is_json(text: str) -> bool:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, list) and all(isinstance(word, str) for word in found)


def used(body: t.List[Instruction], escape: str) -> Uses:
    copies: t.List[str] = []
    needs: t.Set[str] = set()
    for one in body:
        features = _FEATURES.get(one.command, {})
        for flag, value in one.flags:
            if flag in features and value.lower() != "false":
                needs.add(features[flag])
            if flag == "from" and one.command == "copy":
                copies.append(value)
            elif flag == "mount" and one.command == "run":
                mount = dict(_pair(field) for field in value.split(","))
                copies.extend(filter(None, [mount.get("from")]))
                needs.update({"secret", "ssh"} & {mount.get("type", "").lower()})
        if one.heredoc:
            needs.add("heredoc")
        if one.command in ("healthcheck", "shell"):
            needs.add("docker_format")
        if one.command == "add" and any(_GIT.fullmatch(word) for word in one.words):
            needs.add("add_git")
    return Uses(tuple(copies), tuple(pair for one in body for pair in one.declarations(escape)), frozenset(needs))


def _pair(field: str) -> t.Tuple[str, str]:
    key, _equals, value = field.strip('"').partition("=")
    return key.lower(), value
