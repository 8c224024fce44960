# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a build context, read as what they were when the folder was listed, or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import typing as t

from .._errors import ContextChanged, ContextError, shown
from .digest import CHUNK
from .hashes import facts

_THREADS = 4
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EAGAIN, errno.EINVAL, errno.ESTALE)
"""What one meets where the file or link that was listed has gone, or something else has taken its place."""


def hashed(root: str, files: t.Mapping[str, os.stat_result]) -> t.Dict[str, str]:
    """Hex digests by path. Threads share the work: hashing and reading let others run."""
    if not files:
        return {}
    import concurrent.futures  # what others have no need of

    left, digests = iter(list(files.items())), {}

    def work() -> None:
        try:
            for path, found in left:
                digests[path] = _hash(root, path, found)
        except BaseException:
            list(left)  # that no other thread goes on
            raise

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        for done in [pool.submit(work) for number in range(min(_THREADS, len(files)))]:
            done.result()
    return digests


def _hash(root: str, path: str, found: os.stat_result) -> str:
    digest = hashlib.sha256()
    for data in pieces(root, path, found.st_size, found):
        digest.update(data)
    return digest.hexdigest()


def pieces(root: str, path: str, size: int, found: t.Optional[os.stat_result] = None) -> t.Iterator[bytes]:
    """The bytes of a file that has ``size`` of them, and that nobody touches or has touched since ``found``."""
    left = size
    try:
        # Not through a link that took the file's place, and without waiting for whoever writes to a pipe that did.
        handle = os.open(os.path.join(root, path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            while left >= 0:
                data = os.read(handle, min(CHUNK, left + 1))
                left -= len(data)
                if not data or left < 0:
                    break
                yield data
            after = os.fstat(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise unreadable(root, path, error) from None
    if left or not stat.S_ISREG(after.st_mode) or (found and facts(after) != facts(found)):
        raise changed(root, path)


def unreadable(root: str, path: str, error: OSError) -> ContextError:
    """Why something of the folder ``root`` cannot be read, for the user."""
    if error.errno in _GONE:
        return changed(root, path)
    return ContextError(
        "%s: cannot be read (%s): let this user read it, or leave it out with a line in .dockerignore" % (_shown(root, path), error.strerror)
    )


def changed(root: str, path: str) -> ContextChanged:
    return ContextChanged(
        "%s: changed while the build context was read: build again once nobody writes to it, or leave it out with a line in .dockerignore"
        % _shown(root, path)
    )


def _shown(root: str, path: str) -> str:
    return shown(os.path.join(root, path), 400)
