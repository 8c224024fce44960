# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archive, step by step: look at the source and at the old bundle, decide, fetch, and put the new bundle in its place."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import os
import typing as t

from .._errors import ArchiveError, StowageError
from .._module import FileAttributes, Result, concluded, failed
from .._oci import bundle, place
from .._oci.extent import free, human, room
from .._oci.reference import Reference
from .._plan.archive import Keep, Sought, Write, decide, shown, wanted


class Fetched(t.NamedTuple):
    """What a source handed over: ``read`` is the number of bytes for it, ``reused`` that of what was here already.

    ``proved``: the blobs are what their digests say.
    """

    members: t.List[bundle.Member]
    blobs: bundle.Blobs
    read: int
    reused: int = 0
    proved: bool = False


class Source(t.Protocol):
    """Where images come from."""

    def look(self, reference: Reference) -> Sought:
        """The image, in the platforms that are wanted; raises StowageError if it is not there so."""

    def fetch(self, sought: t.Sequence[Sought], target: str) -> t.ContextManager[Fetched]:
        """Bring the images into files beside ``target``, for as long as the context lasts."""


def absent(target: str, check_mode: bool) -> Result:
    """No bundle is there; raises ArchiveError, and removes nothing, if what is there is none."""
    there = place.examine(target) is not None
    if there:
        with _writing(target):
            place.remove(target, check_mode)
    if not check_mode:
        place.forget(target)
    diff = {"before": {"state": "present" if there else "absent"}, "after": {"state": "absent"}}
    return {"changed": there, "images": [], "diff": diff, "path": target, "size": None, "sha256": None, "fetched_bytes": 0, "reused_bytes": 0}


class Bundler:
    """``target``, where ``old`` is, shall be a bundle, in this form, of exactly the images that it is called with.

    Layers are left out of it that are in the ``base``, as that tells of a digest.
    """

    def __init__(
        self,
        source: Source,
        target: str,
        form: str,
        old: t.Optional[place.Old],
        base: t.Callable[[str], bool],
        attributes: FileAttributes,
        check_mode: bool,
    ) -> None:
        self._source = source
        self._target = target
        self._form = form
        self._old = old
        self._base = base
        self._attributes = attributes
        self._check_mode = check_mode

    def __call__(self, images: t.Sequence[str], parallel: int) -> Result:
        """Keep it or write it; the result of the task. Raises Failed if an image is not to be had, and then writes nothing."""
        sought = self._look(wanted(images), parallel)
        plan = decide(self._form, sought, self._old, self._base)
        before, after = self._attributes.differences(self._target) if self._old else ({}, {})
        changed = isinstance(plan, Write) or bool(after)
        facts: Result = {"fetched_bytes": 0, "reused_bytes": 0, "size": None, "sha256": None}
        if isinstance(plan, Write):
            self._room(max(image.size for image in sought))
            if not self._check_mode:
                facts.update(self._write(sought))
        if changed and not self._check_mode:
            self._attributes.settle(self._target)
        if isinstance(plan, Keep) or self._form == bundle.OCI_LAYOUT and not self._check_mode:
            facts.update(zip(("size", "sha256"), place.measure(self._target)))
        result = concluded([self._entry(image, plan) for image in sought], path=self._target, **facts)
        if isinstance(plan, Write):
            self._show(result["diff"], plan)
        result["diff"]["before"].update(before)
        result["diff"]["after"].update(after)
        if after and isinstance(plan, Keep):
            # Mode, owner or group alone: an empty list would say that the images change.
            del result["diff"]["before"]["images"], result["diff"]["after"]["images"]
        return dict(result, changed=changed)

    def _look(self, references: t.Sequence[Reference], parallel: int) -> t.List[Sought]:
        def look(reference: Reference) -> t.Union[Sought, Result]:
            try:
                return self._source.look(reference)
            except StowageError as error:
                return failed(reference.spelling, error)

        with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, min(parallel, len(references)))) as pool:
            found = list(pool.map(look, references))
        sought = [one for one in found if isinstance(one, Sought)]
        if len(sought) < len(found):
            # One image that is not to be had leaves the bundle as it is, so nothing is done for the others.
            skipped = {"changed": False, "action": "skipped"}
            concluded([dict(skipped, reference=one.reference.spelling) if isinstance(one, Sought) else one for one in found])
        return sought

    def _entry(self, image: Sought, plan: t.Union[Keep, Write]) -> Result:
        reason = plan.reasons.get(image.name) if isinstance(plan, Write) else None
        was, becomes = shown(image, self._old)
        return {
            "reference": image.reference.spelling,
            "image_id": image.image_id,
            "digest": image.digest,
            "config_digest": image.config_digest,
            "platforms": list(becomes),
            "changed": reason is not None,
            "action": "written" if reason else "kept",
            "reason": reason or "same_content",
            "diff": tuple({"reference": image.reference.spelling, "platforms": side} for side in (was, becomes)),
        }

    def _show(self, diff: t.Dict[str, Result], plan: Write) -> None:
        """What of the bundle changes besides its images."""
        diff["before"]["images"] += [{"reference": name} for name in plan.removed]
        if not self._old:
            diff["before"]["state"], diff["after"]["state"] = "absent", "present"
        elif self._old.damage:
            diff["before"]["damage"] = self._old.damage
        elif self._old.form != self._form:
            diff["before"]["format"], diff["after"]["format"] = self._old.form or "of another writer", self._form

    # What is done

    def _write(self, sought: t.Sequence[Sought]) -> Result:
        with _writing(self._target, sum(image.size for image in sought)), self._source.fetch(sought, self._target) as fetched:
            files = bundle.files(fetched.members, self._form, self._base)
            size = bundle.size(files, self._form)
            facts = {"fetched_bytes": fetched.read, "reused_bytes": fetched.reused}
            if self._form == bundle.OCI_LAYOUT:
                bundle.write_folder(files, fetched.blobs, self._target, fetched.proved)
                return facts
            room(os.path.dirname(self._target), size, "the bundle of %d images" % len(sought))
            with place.beside(self._target) as new:
                sha256 = bundle.write_tar(files, fetched.blobs, new, fetched.proved)
                self._attributes.replace(new.name, self._target)
            return dict(facts, size=size, sha256=sha256)

    def _room(self, largest: int) -> None:
        """What is certain before anything is fetched; the largest image lies there twice, as it came and in the bundle."""
        folder = os.path.dirname(self._target)
        if not os.access(folder, os.W_OK):
            raise ArchiveError("%s: permission denied on its folder: use become, or name another path" % self._target)
        room(folder, largest * (1 if self._form == bundle.OCI_LAYOUT else 2), "fetching and bundling the images")


def examined(target: str, form: str) -> t.Optional[place.Old]:
    """What is there; raises ArchiveError where a bundle of this form cannot be."""
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise ArchiveError("%s: there is no folder %s: make it first, for example with ansible.builtin.file" % (target, folder))
    if os.path.isdir(target) and form != bundle.OCI_LAYOUT:
        raise ArchiveError("%s is a folder, and the format %s is a file: name a file in it, or use the format oci-layout" % (target, form))
    if os.path.isfile(target) and form == bundle.OCI_LAYOUT:
        raise ArchiveError("%s is a file, and the format oci-layout is a folder: remove it, or name another path" % target)
    return place.examine(target)


@contextlib.contextmanager
def _writing(target: str, largest: int = 0) -> t.Iterator[None]:
    """Errors of the disk, for the user; ``largest`` are the bytes of all images, where they share nothing."""
    try:
        yield
    except OSError as error:
        more = ""
        if error.errno == errno.ENOSPC:
            more = ": the images have up to %s and are there twice while their bundle is made, and %s are free: make room, or name another path" % (
                human(largest), human(free(os.path.dirname(target)))
            )
        raise ArchiveError("%s: cannot be written: %s%s" % (target, error.strerror or error, more)) from None
