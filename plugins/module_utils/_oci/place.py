# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a bundle shall lie: what is there already, and files beside it for what is not ready."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import itertools
import os
import re
import shutil
import tempfile
import typing as t

from .._errors import ArchiveError
from . import compression
from .archive import Archive
from .bundle import DOCKER_ARCHIVE, OCI_ARCHIVE, OCI_LAYOUT, below
from .digest import Digest
from .extent import Extent
from .tar import Tar


@contextlib.contextmanager
def beside(target: str) -> t.Iterator[t.BinaryIO]:
    """A file in the folder of ``target``, for us alone (0600), that is gone afterwards unless it was renamed.

    What a run that was killed left there is removed first.
    """
    prefix = _prefix(target)
    for left in glob.glob(glob.escape(prefix) + "*"):
        with contextlib.suppress(OSError), open(left, "rb") as file:
            # Who still works on it holds the lock.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(left)
    with tempfile.NamedTemporaryFile(prefix=os.path.basename(prefix), dir=os.path.dirname(target), delete=False) as made:
        fcntl.flock(made, fcntl.LOCK_EX)
        try:
            yield t.cast(t.BinaryIO, made)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(made.name)


@contextlib.contextmanager
def parts(target: str) -> t.Iterator[str]:
    """A folder beside ``target``, for us alone. What is in it when something fails stays: the next run goes on with it."""
    folder = _parts(target)
    with _owned(folder):
        try:
            yield folder
        except BaseException:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
            raise
        forget(target)


@contextlib.contextmanager
def _owned(folder: str) -> t.Iterator[None]:
    """Make a folder and hold its lock, which goes with it."""
    while True:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.path.isdir(folder) and os.path.samestat(os.fstat(handle), os.stat(folder)):
                yield
                return
        finally:
            os.close(handle)


def forget(target: str) -> None:
    """Remove what an earlier run left for the next one."""
    shutil.rmtree(_parts(target), ignore_errors=True)


def _parts(target: str) -> str:
    return _prefix(target) + "parts"


def _prefix(target: str) -> str:
    return os.path.join(os.path.dirname(target), ".stowage-%s-" % Digest.of(os.fsencode(target)).hex[:12])


class Old(t.NamedTuple):
    """What lies where a bundle shall be: its ``form`` if it is as we write it, else an empty string.

    ``archive`` is None for what is no longer an archive, and then ``damage`` says why.
    """

    form: str
    archive: t.Optional[Archive]
    damage: str


_WRITTEN = re.compile(r"(oci-layout|index\.json|manifest\.json|repositories|blobs/.*|(sha256:)?[0-9a-f]{64}([./].*)?)")
"""The first member of an image archive, whoever wrote it."""

_PARTS = {"oci-layout", "index.json", "manifest.json", "blobs", "ingest", "index.json.lock"}
"""What tools put into the folder of a layout."""


def examine(target: str) -> t.Optional[Old]:
    """None if there is nothing. Raises ArchiveError for what is no image archive, whole or damaged: nobody may overwrite that."""
    if not os.path.lexists(target):
        return None
    if os.path.isdir(target):
        empty = not os.listdir(target)
        form = OCI_LAYOUT if os.path.isfile(os.path.join(target, "oci-layout")) else ""
        begun = bool(form)
    elif os.path.isfile(target):
        empty = not os.path.getsize(target)
        form, begun = _written(target)
    else:
        raise ArchiveError("%s is neither a file nor a folder: name another path" % target)
    if empty:
        return Old(form, None, "%s: is empty" % target)
    try:
        archive = Archive(target, "")
    except ArchiveError as error:
        if begun:
            return Old(form, None, str(error))
        raise _foreign(target, error.fact.replace(target, "", 1).lstrip(": ")) from None
    if os.path.isdir(target) and not form:
        raise _foreign(target, "a folder without an oci-layout file")
    return Old(form, archive, "")


def _foreign(target: str, why: str) -> ArchiveError:
    return ArchiveError("%s is no bundle, and is left as it is (%s): remove it yourself, or name another path" % (target, why))


def _written(target: str) -> t.Tuple[str, bool]:
    """The form of a tar, if it is as we write it; and whether it begins as some image archive does."""
    names: t.List[str] = []
    try:
        with open(target, "rb") as raw:
            kind = compression.sniff(raw.read(compression.HEAD))
            raw.seek(0)
            with contextlib.closing(compression.Expanding(raw, kind, target) if kind else raw) as stream:
                names.extend(member.name for member in itertools.islice(Tar(stream, target), 3))
    except (ArchiveError, OSError):
        kind = "damaged"
    if not names or not _WRITTEN.fullmatch(names[0]):
        return "", False
    form = OCI_ARCHIVE if names == ["oci-layout", "index.json", "manifest.json"] else DOCKER_ARCHIVE if names[0] == "manifest.json" else ""
    return "" if kind else form, True


def measure(target: str) -> t.Tuple[int, str]:
    """Size in bytes, and a sha256 in hex: of the file; of a folder that of its ``index.json``, which names all else by digest."""
    folder = os.path.isdir(target)
    main = os.path.join(target, "index.json") if folder else target
    parts = [os.path.join(target, "oci-layout"), main] + below(os.path.join(target, "blobs")) if folder else [main]
    sizes = [os.path.getsize(part) for part in parts]
    return sum(sizes), Extent(main, 0, os.path.getsize(main)).hash().partition(":")[2]


def remove(target: str, pretend: bool) -> None:
    """Remove a bundle, or a link to one. Raises ArchiveError, and removes nothing, if it is a folder that holds more."""
    if os.path.islink(target) or not os.path.isdir(target):
        if not pretend:
            os.unlink(target)
        return
    more = sorted(set(os.listdir(target)) - _PARTS)
    if more:
        raise ArchiveError("%s holds more than a bundle (%s), and is left as it is: remove it yourself" % (target, ", ".join(more[:5])))
    if not pretend:
        shutil.rmtree(target)
