# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dockerfiles, as far as tests write them: no heredocs, no escape directive, no ONBUILD."""

from __future__ import annotations

import json
import re
import typing as t

WORDS = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER", "RUN", "SHELL", "STOPSIGNAL",
    "USER", "VOLUME", "WORKDIR",
)

_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::([-+])([^}]*))?\}|(\w+))")


class Wrong(Exception):
    """A Dockerfile that cannot be read; ``line`` is None if that is so because of all of it."""

    def __init__(self, message: str, line: t.Optional[int] = None) -> None:
        super().__init__(message)
        self.line = line


class Step(t.NamedTuple):
    """An instruction: ``text`` on one line, ``rest`` without its word and flags; ``wrong`` is why it cannot be one."""

    word: str
    rest: str
    text: str
    flags: t.Mapping[str, str] = {}
    line: int = 0
    wrong: str = ""

    @property
    def items(self) -> t.List[str]:
        """The words of it, or the strings of its JSON."""
        return list(json.loads(self.rest)) if self.is_list else self.rest.split()

    @property
    def is_list(self) -> bool:
        try:
            return isinstance(json.loads(self.rest), list)
        except ValueError:
            return False


class Stage(t.NamedTuple):
    """``first`` is its FROM."""

    name: str
    first: Step
    steps: t.List[Step]

    @property
    def base(self) -> str:
        return self.first.items[0]


class Recipe(t.NamedTuple):
    """``before`` are the ARGs before the first FROM."""

    before: t.List[Step]
    stages: t.List[Stage]

    def index(self, name: str) -> t.Optional[int]:
        """Which stage this names."""
        if name.isdigit() and int(name) < len(self.stages):
            return int(name)
        return next((number for number, stage in enumerate(self.stages) if stage.name and stage.name == name.lower()), None)

    def check(self) -> None:
        """Raises Wrong for the first instruction that is."""
        for step in [step for stage in self.stages for step in stage.steps]:
            if step.wrong:
                raise Wrong(step.wrong, step.line)


def parse(text: str) -> Recipe:
    """Raises Wrong, but not for a step of a stage."""
    before: t.List[Step] = []
    stages: t.List[Stage] = []
    for line, joined in _lines(text):
        step = _step(line, joined)
        if step.word == "FROM":
            items = step.items
            stages.append(Stage(items[2].lower() if len(items) > 2 else "", step, []))
        elif stages:
            stages[-1].steps.append(step)
        elif step.wrong:
            raise Wrong(step.wrong, line)
        elif step.word == "ARG":
            before.append(step)
        else:
            raise Wrong("no build stage in current context")
    if not stages:
        raise Wrong("the Dockerfile cannot be empty")
    return Recipe(before, stages)


def _lines(text: str) -> t.Iterator[t.Tuple[int, str]]:
    """Each instruction, and the number of the line that it begins on."""
    parts: t.List[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        first = first if parts else number
        goes_on = line.rstrip().endswith("\\")
        parts.append(line.rstrip()[:-1] if goes_on else line)
        if not goes_on:
            yield first, "".join(parts).strip()
            parts = []


def _step(line: int, text: str) -> Step:
    first, _blank, rest = text.partition(" ")
    word, rest = first.upper(), rest.strip()
    flags = {}
    while rest.startswith("--"):
        flag, _blank, rest = rest.partition(" ")
        name, _equals, value = flag[2:].partition("=")
        flags[name] = value
    step = Step(word, rest.strip(), text, flags, line)
    if word not in WORDS:
        return step._replace(wrong="unknown instruction: %s" % word)
    if word == "COPY" and len(step.items) < 2:
        return step._replace(wrong="COPY requires at least two arguments, but only one was provided. Destination could not be determined")
    return step


def expand(text: str, values: t.Mapping[str, str]) -> str:
    """With variables in their place."""

    def value(match: t.Match[str]) -> str:
        braced, sign, other, plain = match.groups()
        found = values.get(braced or plain, "")
        if sign == "-":
            return found or other
        return (other if found else "") if sign == "+" else found

    return _VARIABLE.sub(value, text)
