# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives on the controller, opened once a run however many hosts and forks ask for them.

What is learned of an archive is kept in Ansible's own temporary folder of this run, keyed by the file's size, time and
inode, and goes with that folder.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import typing as t

from ansible import constants as C

from ..module_utils._errors import ArchiveError
from ..module_utils._oci.archive import Archive
from ..module_utils._oci.files import Extent, expand, locked


class Catalogue:
    """An archive and the folder in which blobs of it may be expanded; safe to open from several forks at once."""

    def __init__(self, path: str) -> None:
        """Raises ArchiveError, as Archive does."""
        try:
            stat = os.stat(os.path.join(path, "index.json") if os.path.isdir(path) else path)
        except OSError as error:
            raise ArchiveError("%s: cannot be read: %s" % (path, error.strerror)) from None
        key = "%s %d %d %d" % (os.path.realpath(path), stat.st_size, stat.st_mtime_ns, stat.st_ino)
        self._folder = os.path.join(C.DEFAULT_LOCAL_TMP, "stowage.oci", hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest())
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        kept = os.path.join(self._folder, "archive")
        with locked(kept + ".lock"):
            if not os.path.exists(kept):
                archive = Archive(path, os.path.join(self._folder, "blobs"))
                with open(kept + ".part", "wb") as out:
                    pickle.dump(archive, out)
                os.rename(kept + ".part", kept)
        with open(kept, "rb") as stream:
            self.archive: Archive = pickle.load(stream)

    def extents(self, digests: t.Iterable[str]) -> t.Dict[str, Extent]:
        """Where blobs lie on the controller's disk, by digest; documents that the archive only implies are written there."""
        wanted = list(digests)
        found = self.archive.extents(digest for digest in wanted if self.archive.document(digest) is None)
        for digest in wanted:
            document = self.archive.document(digest)
            if document is not None:
                path = os.path.join(self._folder, digest.replace(":", "-"))
                with locked(path + ".lock"):
                    if not os.path.exists(path):
                        with open(path + ".part", "wb") as out:
                            out.write(document)
                        os.rename(path + ".part", path)
                found[digest] = Extent(path, 0, len(document))
        return found

    def expanded(self, extent: Extent, digest: str, what: str) -> Extent:
        """A compressed blob, expanded once a run; ``digest`` is that of the result."""
        path = os.path.join(self._folder, digest.replace(":", "-"))
        with locked(path + ".lock"):
            return expand(extent, path, what)
