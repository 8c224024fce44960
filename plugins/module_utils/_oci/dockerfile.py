# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Dockerfile builds from: its stages, the images that they need, the build arguments and features that they use.

Read as BuildKit reads it (frontend/dockerfile/parser, instructions, dockerfile2llb). Whether it is right is for the builder to
say: what one builder takes and another does not is never refused here, only what leaves open from which images it builds.
"""

from __future__ import annotations

import difflib
import re
import typing as t

from .._errors import BadDockerfile, InvalidInput, shown
from .instructions import Instruction, Uses, directives, instructions, lines_of, used
from .words import expand, names

# Builders that know platforms set these without an ARG before the first FROM.
PLATFORM_ARGUMENTS = frozenset(
    side + part for side in ("BUILD", "TARGET") for part in ("PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT")
)
_DOCKERS = re.compile(r"(?:.*/)?dockerfile(?:-[a-z]+)?(?:[:@].*)?")  # a # syntax= that is Docker's language, mirrored or not
_NUMBER = re.compile("[0-9]{1,9}")


class Stage(t.NamedTuple):
    """``base``, ``platform`` and ``copies`` are as they are written."""

    base: str
    name: t.Optional[str]
    platform: t.Optional[str]
    line: int
    own: Uses
    onbuild: Uses

    @property
    def copies(self) -> t.Tuple[str, ...]:
        """What COPY --from and RUN --mount=from name."""
        return self.own.copies

    @property
    def args(self) -> t.FrozenSet[str]:
        return frozenset(name for name, _default in self.own.declared)

    @property
    def needs(self) -> t.FrozenSet[str]:
        return self.own.needs


class Base(t.NamedTuple):
    """An image that a build needs, and the platform that its FROM asks for."""

    reference: str
    platform: t.Optional[str]


class _Step(t.NamedTuple):
    """A stage that is built: the other stages and the images that it takes from."""

    stage: Stage
    stages: t.List[int]
    images: t.List[Base]
    uses: t.List[Uses]


class Dockerfile(t.NamedTuple):
    where: str
    stages: t.Tuple[Stage, ...]
    declared: t.Tuple[t.Tuple[str, t.Optional[str], int], ...]
    syntax: t.Optional[str]
    escape: str

    @property
    def globals(self) -> t.Dict[str, t.Optional[str]]:
        """The ARGs before the first FROM, and their defaults."""
        return {name: default for name, default, _line in self.declared}

    def bases(self, args: t.Mapping[str, str], target: t.Optional[str] = None, every: bool = False) -> t.List[Base]:
        """The images that ``target`` (the last stage) is built from; ``every``: and all stages before it, as the classic builder does.

        ``args`` are build arguments and what the builder sets of PLATFORM_ARGUMENTS. Raises BadDockerfile if they name no image.
        """
        steps = self._steps(args, target, every)
        return list(dict.fromkeys(image for step in steps for image in step.images if image.reference != "scratch"))

    def arguments(self, target: t.Optional[str] = None, args: t.Optional[t.Mapping[str, str]] = None) -> t.FrozenSet[str]:
        """The build arguments that can make a difference; ``args`` as for ``bases``, where they decide which stages are built."""
        return self._used(self._steps(args or {}, target))

    def needs(self, target: t.Optional[str] = None, args: t.Optional[t.Mapping[str, str]] = None) -> t.FrozenSet[str]:
        """Features beyond those that every builder has always had; ``frontend`` is a language other than Docker's."""
        steps = self._steps(args or {}, target)
        found = {need for step in steps for part in step.uses for need in part.needs}
        given = {name for name, default in self.globals.items() if default is not None}
        given.update(name for step in steps for part in step.uses for name, default in part.declared if default is not None)
        if (self._used(steps) & PLATFORM_ARGUMENTS) - given:
            found.add("platform_args")
        if _foreign(self.syntax):
            found.add("frontend")
        return frozenset(found)

    def reduced(self, text: bytes, target: t.Optional[str], args: t.Mapping[str, str]) -> bytes:
        """This Dockerfile's ``text`` without the stages that ``target`` does not need, but for one that calls a stage by its number."""
        steps = self._steps(args, target)
        if any(_NUMBER.fullmatch(name) for step in steps for name in (step.stage.base, *(copy for part in step.uses for copy in part.copies))):
            return text
        lines, needed = text.split(b"\n"), {step.stage.line for step in steps}
        starts = [stage.line - 1 for stage in self.stages] + [len(lines)]
        kept = lines[: starts[0]]
        for start, end in zip(starts, starts[1:]):
            kept += lines[start:end] if start + 1 in needed else []
        return text if len(kept) == len(lines) else b"\n".join(kept) + b"\n"

    def labelled(self, text: bytes, target: t.Optional[str], labels: t.Mapping[str, str]) -> bytes:
        """This Dockerfile's ``text`` up to the end of ``target``, which gives its image these labels, in their order."""
        following = self.stages[self._target(target) + 1 :]
        lines = text.split(b"\n")[: following[0].line - 1 if following else None]
        special = re.compile(r'["$%s]' % re.escape(self.escape))
        for pair in labels.items():
            words = [special.sub(lambda found: self.escape + found.group(), part) for part in pair]
            lines.append(('LABEL "%s"="%s"' % tuple(words)).encode("utf-8"))
        return b"\n".join(lines) + b"\n"

    def _used(self, steps: t.List[_Step]) -> t.FrozenSet[str]:
        found = {name for step in steps for part in step.uses for name, _default in part.declared}
        known = PLATFORM_ARGUMENTS.union(self.globals)
        for step in steps:
            found |= names("%s %s" % (step.stage.base, step.stage.platform)) & known
        for name, default, _line in reversed(self.declared):
            if name in found:
                found |= names(default or "") & known
        return frozenset(found)

    def _steps(self, args: t.Mapping[str, str], target: t.Optional[str], every: bool = False) -> t.List[_Step]:
        """The stages that are built, in the order of the file."""
        if not self.stages:
            return []
        last, values, found = self._target(target), self._values(args, target), {}
        todo = list(range(last + 1)) if every else [last]
        while todo:
            index = todo.pop()
            if index not in found:
                found[index] = self._step(index, values, args, every)
                todo.extend(found[index].stages)
        return [found[index] for index in sorted(found)]

    def _step(self, index: int, values: t.Mapping[str, str], args: t.Mapping[str, str], every: bool) -> _Step:
        stage = self.stages[index]
        reference = self._expanded(stage.base, values, stage.line)
        if not reference:
            unset = " and ".join(sorted(names(stage.base)))
            hint = ": declare %s with ARG before the first FROM, and give a default there or a build argument" % unset if unset else ""
            raise self._bad(stage.line, "FROM %s names no image%s" % (shown(stage.base), hint))
        platform = self._expanded(stage.platform or "", values, stage.line) or None
        parent = self._find(reference, index)
        step = _Step(stage, [], [], [stage.own] if parent is None else [stage.own, self.stages[parent].onbuild])
        if parent is None:
            step.images.append(Base(reference, platform))
        else:
            step.stages.append(parent)
        for part in step.uses:
            for source in part.copies:
                source = self._copied(source, part, values, args, stage.line) if "$" in source else source
                other = self._find(source, index if every else len(self.stages))
                if other is not None:
                    step.stages.append(other)
                elif source and not _NUMBER.fullmatch(source):  # a number that is no stage's is an error that the builder explains
                    step.images.append(Base(source, None))
        return step

    def _copied(self, source: str, part: Uses, values: t.Mapping[str, str], args: t.Mapping[str, str], line: int) -> str:
        """Podman replaces the variables of the stage here, Docker refuses them."""
        local: t.Dict[str, str] = {}
        for name, default in part.declared:
            if name in args or default is not None:
                local[name] = args[name] if name in args else self._expanded(default or "", local, line)
            elif name in values:
                local[name] = values[name]
        return self._expanded(source, local, line)

    def _find(self, name: str, before: int) -> t.Optional[int]:
        """The last of the stages before a position that has this name or number."""
        if _NUMBER.fullmatch(name) and int(name) < before:
            return int(name)
        return next((index for index in reversed(range(before)) if self.stages[index].name == name.lower()), None)

    def _target(self, target: t.Optional[str]) -> int:
        found = self._find(target, len(self.stages)) if target else len(self.stages) - 1
        if found is None:
            known = [stage.name for stage in self.stages if stage.name]
            like = difflib.get_close_matches((target or "").lower(), known, 1)
            hint = "; did you mean %s?" % like[0] if like else ""
            raise BadDockerfile("%s has no stage %s: it has %s%s" % (self.where, shown(repr(target)), ", ".join(known) or "none with a name", hint))
        return found

    def _values(self, args: t.Mapping[str, str], target: t.Optional[str]) -> t.Dict[str, str]:
        """What FROM lines see."""
        values = {name: value for name, value in args.items() if name in PLATFORM_ARGUMENTS}
        values["TARGETSTAGE"] = target or self.stages[-1].name or "default"
        for name, default, line in self.declared:
            if name in args and (default is None or name not in PLATFORM_ARGUMENTS):
                values[name] = args[name]
            elif default is not None:  # stronger than what the builder sets
                values[name] = self._expanded(default, values, line)
        return values

    def _expanded(self, text: str, values: t.Mapping[str, str], line: int) -> str:
        try:
            return expand(text, values, self.escape)
        except InvalidInput as error:
            raise self._bad(line, str(error)) from None

    def _bad(self, line: int, why: str) -> BadDockerfile:
        return BadDockerfile("%s, line %d: %s" % (self.where, line, why))


def parse(text: bytes, where: str) -> Dockerfile:
    """Raises BadDockerfile, with ``where`` it was, if it leaves open from which images it builds."""
    lines = lines_of(text)
    found = directives(lines)
    escape, line = found.get("escape", ("\\", 0))
    if escape not in ("\\", "`"):
        raise BadDockerfile("%s, line %d: the escape character is \\ or `, not %s" % (where, line, shown(repr(escape))))
    syntax = found["syntax"][0].split()[0] if "syntax" in found else None
    declared: t.List[t.Tuple[str, t.Optional[str], int]] = []
    stages: t.List[t.List[Instruction]] = []
    for one in instructions(lines, escape):
        if one.command == "from":
            stages.append([one])
        elif stages:
            stages[-1].append(one)
        else:
            declared.extend((name, default, one.line) for name, default in one.declarations(escape))
    if not stages and not _foreign(syntax):
        raise BadDockerfile("%s has no FROM: it must say from which image it builds, for example FROM debian:12, or FROM scratch" % where)
    return Dockerfile(where, tuple(_stage(stage[0], stage[1:], where, escape) for stage in stages), tuple(declared), syntax, escape)


def _foreign(syntax: t.Optional[str]) -> bool:
    return syntax is not None and not _DOCKERS.fullmatch(syntax)


def _stage(start: Instruction, body: t.List[Instruction], where: str, escape: str) -> Stage:
    words = start.words
    if not words:
        raise BadDockerfile("%s, line %d: FROM names no image; to start from none write FROM scratch" % (where, start.line))
    name = words[2].lower() if len(words) == 3 and words[1].lower() == "as" else None
    own = [one for one in body if one.command != "onbuild"]
    kept = [one.kept for one in body if one.command == "onbuild"]
    return Stage(words[0], name, dict(start.flags).get("platform"), start.line, used(own, escape), used(kept, escape))
