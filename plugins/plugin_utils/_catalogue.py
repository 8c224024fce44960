# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives on the controller, opened once a run however many hosts and forks ask for them.

What is learned of an archive is kept in Ansible's own temporary folder of this run, keyed by the file's size, times and
inode, and goes with that folder.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import typing as t

from ansible import constants as C

from ..module_utils._errors import ArchiveError, naming
from ..module_utils._oci.archive import Archive
from ..module_utils._oci.extent import Extent, locked
from ..module_utils._oci.files import expand


class Catalogue:
    """An archive and the folder in which blobs of it may be expanded; safe to open from several forks at once."""

    def __init__(self, path: str, bases: t.Sequence[str] = (), option: str = "src") -> None:
        """``bases`` are the paths of archives that have what this one leaves out. Raises ArchiveError, as Archive does, with the option."""
        with naming(option):
            self.archive = self._archive(path)
        self.archive.bases = tuple(Catalogue(base, option="base").archive for base in bases)

    def _archive(self, path: str) -> Archive:
        """Opened or remembered. A folder is opened anew: that costs little, and files in it may come and go."""
        try:
            stat = os.stat(path)
        except OSError as error:
            raise ArchiveError("%s: cannot be read: %s" % (path, error.strerror)) from None
        key = "%s %d %d %d %d" % (os.path.realpath(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        self._folder = os.path.join(C.DEFAULT_LOCAL_TMP, "stowage.oci", hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest())
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        with locked(self._path("archive.lock")):
            found = None if os.path.isdir(path) else _read(self._path("archive"))
            if found is None:
                found = self._opened(path)
                _write(self._path("archive"), found)
        if isinstance(found, ArchiveError):
            raise found
        return t.cast(Archive, found)

    def _opened(self, path: str) -> t.Union[Archive, ArchiveError]:
        """A bad file is kept in mind too: no other host shall read it only to say the same."""
        try:
            return Archive(path, os.path.join(self._folder, "blobs"))
        except ArchiveError as error:
            return error

    def extents(self, digests: t.Sequence[str], likely: t.Iterable[str]) -> t.Dict[str, Extent]:
        """Where blobs lie on the controller's disk, by digest; documents that the archive only implies are written there.

        ``likely`` are layers that other hosts may lack. A compressed archive is read to expand what the first host lacks, and
        once more, for all of them, if another lacks something else: not once for each host.
        """
        wanted = [digest for digest in digests if self.archive.document(digest) is None]
        with locked(self._path("expanded.lock")):
            before = _read(self._path("expanded")) or set()
            if before and not before.issuperset(wanted):
                wanted.extend(digest for digest in likely if self.archive.holds(digest))
            found = self.archive.extents(wanted)
            _write(self._path("expanded"), before.union(wanted))
        for digest in digests:
            document = self.archive.document(digest)
            if document is not None:
                found[digest] = self._written(digest, document)
        return found

    def expanded(self, extent: Extent, digest: str, what: str) -> Extent:
        """A compressed blob, expanded once a run; ``digest`` is that of the result."""
        path = self._path(digest)
        with locked(path + ".lock"):
            return expand(extent, path, what)

    def _written(self, digest: str, document: bytes) -> Extent:
        path = self._path(digest)
        with locked(path + ".lock"):
            if not os.path.exists(path):
                with open(path + ".part", "wb") as out:
                    out.write(document)
                os.rename(path + ".part", path)
        return Extent(path, 0, len(document))

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name.replace(":", "-"))


def _read(path: str) -> t.Any:
    """What ``_write`` wrote there, or None."""
    try:
        with open(path, "rb") as stream:
            return pickle.load(stream)
    except FileNotFoundError:
        return None


def _write(path: str, value: t.Any) -> None:
    with open(path + ".part", "wb") as out:
        pickle.dump(value, out)
    os.rename(path + ".part", path)
