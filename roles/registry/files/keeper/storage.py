# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filesystem storage, where it is at hand."""

from __future__ import annotations

import os
import re
from typing import Any, Dict, Iterator, List, Optional, Tuple

from settings import Failure

TREE = "docker"  # all that distribution keeps below the root
BLOB = re.compile(r"docker/registry/v2/blobs/([a-z0-9]+)/[0-9a-f]{2}/([0-9a-f]+)/data")
TAG = re.compile(r"docker/registry/v2/repositories/(.+)/_manifests/tags/[^/]+/current/link")
REPOSITORY = re.compile(r"docker/registry/v2/repositories/(.+)/_manifests/revisions/[^/]+/[0-9a-f]+/link")
UPLOADS = "_uploads"  # what is not yet pushed


def blob(root: str, digest: str) -> str:
    algorithm, _colon, encoded = digest.partition(":")
    return os.path.join(root, "docker/registry/v2/blobs", algorithm, encoded[:2], encoded, "data")


def size(root: Optional[str], digest: str) -> Optional[int]:
    """The bytes of a blob, if its file can be seen."""
    try:
        return os.stat(blob(root, digest)).st_size if root else None
    except OSError:
        return None


def digest(name: str) -> Optional[str]:
    """The digest of what a file must hold."""
    found = BLOB.fullmatch(name)
    return "%s:%s" % found.groups() if found else None


def files(root: str) -> Iterator[Tuple[str, os.stat_result]]:
    """The files of the storage in order, by name below the root. Folders without files say nothing."""
    todo: List[str] = [TREE] if os.path.lexists(os.path.join(root, TREE)) else []
    while todo:
        name = todo.pop()
        path = os.path.join(root, name)
        found = os.lstat(path)
        if os.path.isdir(path) and not os.path.islink(path):
            todo.extend(sorted((name + "/" + each for each in os.listdir(path) if each != UPLOADS), reverse=True))
        elif os.path.isfile(path) and not os.path.islink(path):
            yield name, found
        else:
            raise Failure("%s is neither a file nor a folder: the registry did not make it." % path)


class Count:
    """What passes by."""

    def __init__(self) -> None:
        self.bytes = self.blobs = self.tags = self.files = 0
        self.repositories: set = set()

    def add(self, name: str, size: int) -> None:
        self.files += 1
        self.bytes += size
        self.blobs += bool(BLOB.fullmatch(name))
        self.tags += bool(TAG.fullmatch(name))
        found = REPOSITORY.fullmatch(name)
        if found:
            self.repositories.add(found.group(1))

    def result(self, size: int) -> Dict[str, Any]:
        """Of a backup of this size."""
        return {"changed": True, "bytes": size, "repositories": len(self.repositories), "tags": self.tags, "blobs": self.blobs}
