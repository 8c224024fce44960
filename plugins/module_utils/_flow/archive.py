# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archive, step by step: look at the source and at the old bundle, decide, fetch, and put the new bundle in its place."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import typing as t

from .._errors import ArchiveError, StowageError
from .._module import FileAttributes, Result, concluded, failed
from .._oci import bundle
from .._oci.archive import Archive
from .._oci.files import human, room
from .._oci.reference import Reference
from .._plan.archive import Sought, Write, by_name, decide

Plan = t.Any


class Fetched(t.NamedTuple):
    """What a source handed over: ``read`` is the number of bytes for it, ``reused`` of those that the old bundle had."""

    members: t.List[bundle.Member]
    blobs: bundle.Blobs
    read: int
    reused: int = 0


class Source(t.Protocol):
    """Where images come from."""

    def look(self, reference: Reference) -> Sought:
        """The image, in the platforms that are wanted; raises StowageError if it is not there so."""

    def fetch(self, sought: t.Sequence[Sought], target: str) -> t.ContextManager[Fetched]:
        """Bring the images into files beside ``target``, for as long as the context lasts."""


class Bundler:
    """One task: ``target`` shall be a bundle of exactly these images, in this form."""

    def __init__(self, source: Source, target: str, form: str, attributes: FileAttributes) -> None:
        self._source = source
        self._target = target
        self._form = form
        self._attributes = attributes
        self._old = _examined(target, form)

    def __call__(self, references: t.Sequence[Reference], parallel: int, check_mode: bool) -> Result:
        """Keep or write it; the result of the task. Raises Failed if an image is not to be had, and then writes nothing."""
        sought = self._look(references, parallel)
        plan = decide(self._form, sought, self._old)
        before, after = self._attributes.differences(self._target) if self._old else ({}, {})
        differ = bool(after)
        entries = [self._entry(image, plan) for image in sought]
        facts: Result = {"fetched_bytes": 0, "reused_bytes": 0, "size": None, "sha256": None}
        if isinstance(plan, Write):
            self._check_room(sought)
            before, after = self._shown(plan, before, after)
            if not check_mode:
                facts.update(self._write(sought, entries))
        else:
            if differ and not check_mode:
                self._attributes.settle(self._target)
            facts.update(zip(("size", "sha256"), bundle.measure(self._target)))
        result = concluded(entries, path=self._target, **facts)
        result["changed"] = isinstance(plan, Write) or differ
        result["diff"]["before"].update(before)
        result["diff"]["after"].update(after)
        return result
