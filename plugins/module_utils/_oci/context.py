# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build contexts: what lies in a folder, as one digest, and the tar of it that goes to the engine.

What counts is what COPY can copy: names, kinds, permission bits, link targets, bytes. Times, owners and order do not.
Links are kept as links, wherever they lead, and nothing is read through one.
"""

from __future__ import annotations

import functools
import hashlib
import os
import posixpath
import stat
import typing as t

from .._errors import InvalidInput, shown
from .digest import Digest
from .hashes import Hashes
from .ignore import Ignore
from .reading import changed, hashed, pieces, unreadable
from .tar import END, member, padding

_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo", stat.S_IFCHR: "device", stat.S_IFBLK: "block"}
"""Sockets are missing: no tar has them, and Docker's own clients leave them out."""
_FLAGS = {"file": b"0", "link": b"2", "device": b"3", "block": b"4", "dir": b"5", "fifo": b"6"}
_PIECE = 1 << 16
"""Bytes that are sent at once, at least."""


class Entry(t.NamedTuple):
    """``mode`` has the permission bits alone; ``digest`` is the hex SHA-256 of a file; ``target`` a link's, or ``major:minor`` of a device."""

    path: str
    kind: str
    mode: int
    size: int = 0
    digest: str = ""
    target: str = ""


class Tree:
    """What lies in a context, sorted by path."""

    def __init__(self, entries: t.Iterable[Entry]) -> None:
        self.entries = tuple(sorted(entries, key=lambda entry: os.fsencode(entry.path)))

    @functools.cached_property
    def digest(self) -> Digest:
        found = hashlib.sha256()
        for entry in self.entries:
            path, target = os.fsencode(entry.path), os.fsencode(entry.target)  # these may hold anything, so that their length goes first
            found.update(b"%s %o %s %d:%s %d:%s\n" % (entry.kind.encode(), entry.mode, entry.digest.encode(), len(path), path, len(target), target))
        return Digest("sha256:" + found.hexdigest())


def measured(root: str, ignore: Ignore, hashes: Hashes) -> Tree:
    """What of a folder is not ignored; files that ``hashes`` does not know are read, and known afterwards.

    Raises InvalidInput if there is no such folder, ContextError for what cannot be read, ContextChanged for what changes meanwhile.
    """
    if not os.path.isdir(root):
        raise InvalidInput("%s is no folder: a build context is one, or a tar of one" % shown(root))
    entries, unknown = [], {}
    for path, found in _walk(root, ignore):
        kind = _KINDS[stat.S_IFMT(found.st_mode)]
        if kind == "file":
            digest = hashes.known(path, found)
            if digest:
                entries.append(Entry(path, kind, stat.S_IMODE(found.st_mode), found.st_size, digest))
            else:
                unknown[path] = found
        elif kind == "link":
            entries.append(Entry(path, kind, 0o777, target=_target(root, path)))
        else:
            device = "%d:%d" % (os.major(found.st_rdev), os.minor(found.st_rdev)) if kind in ("device", "block") else ""
            entries.append(Entry(path, kind, stat.S_IMODE(found.st_mode), target=device))
    for path, digest in hashed(root, unknown).items():
        found = unknown[path]
        hashes.learn(path, found, digest)
        entries.append(Entry(path, "file", stat.S_IMODE(found.st_mode), found.st_size, digest))
    return Tree(entries)


def packed(root: str, tree: Tree, extra: t.Mapping[str, bytes]) -> t.Iterator[bytes]:
    """The tar of a measured folder, the same for the same tree, with the files ``extra`` that do not lie in it.

    Raises ContextChanged or ContextError when it comes to a file that is no longer what was measured.
    """
    return _gathered(_tar(root, tree, extra))


def members(extra: t.Mapping[str, bytes]) -> t.Iterator[bytes]:
    """The beginning of a tar, with files that lie nowhere; it goes on with others.

    BuildKit knows a tar by its first 512 bytes: from a long name, or what else takes more, it would read a Dockerfile.
    """
    yield member(b"./", _FLAGS["dir"], 0, 0o755)
    for path in sorted(extra):
        yield member(os.fsencode(path), _FLAGS["file"], len(extra[path]), 0o644) + extra[path] + padding(len(extra[path]))


def _tar(root: str, tree: Tree, extra: t.Mapping[str, bytes]) -> t.Iterator[bytes]:
    yield from members(extra)
    for entry in tree.entries:
        if entry.path in extra:
            continue
        name, target, device = os.fsencode(entry.path), b"", (0, 0)
        if entry.kind == "link":
            target = os.fsencode(entry.target)
        elif entry.target:
            major, minor = entry.target.split(":")
            device = int(major), int(minor)
        elif entry.kind == "dir":
            name += b"/"
        yield member(name, _FLAGS[entry.kind], entry.size, entry.mode, target, device)
        if entry.kind == "file":
            yield from _proved(root, entry)
            yield padding(entry.size)
    yield END


def _proved(root: str, entry: Entry) -> t.Iterator[bytes]:
    found = hashlib.sha256()
    for data in pieces(root, entry.path, entry.size):
        found.update(data)
        yield data
    if found.hexdigest() != entry.digest:
        raise changed(root, entry.path)


def _gathered(parts: t.Iterable[bytes]) -> t.Iterator[bytes]:
    """The same bytes in fewer pieces: headers and small files would each cost a call to the system."""
    held: t.List[bytes] = []
    size = 0
    for part in parts:
        held.append(part)
        size += len(part)
        if size >= _PIECE:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


# The folder


def _walk(root: str, ignore: Ignore) -> t.Iterator[t.Tuple[str, os.stat_result]]:
    """What is kept; of folders that are ignored those too in which something is kept."""
    left = [""]
    owed: t.Dict[str, os.stat_result] = {}
    while left:
        folder = left.pop()
        below = folder + "/" if folder else ""
        for one in _listed(root, folder, folder in owed):
            path = below + one.name
            excluded = ignore.excludes(path)
            try:
                is_folder = one.is_dir(follow_symlinks=False)
                if excluded and (not is_folder or ignore.hides_all_below(path)):
                    continue
                found = one.stat(follow_symlinks=False)
            except OSError as error:
                raise unreadable(root, path, error) from None
            if is_folder:
                left.append(path)
            if excluded:
                owed[path] = found
            elif not stat.S_ISSOCK(found.st_mode):
                above = folder
                while above in owed:
                    yield above, owed.pop(above)
                    above = posixpath.dirname(above)
                yield path, found


def _listed(root: str, folder: str, ignored: bool) -> t.List[t.Any]:
    try:
        with os.scandir(os.path.join(root, folder)) as entries:
            return list(entries)
    except OSError as error:
        if ignored and isinstance(error, PermissionError):
            return []
        raise unreadable(root, folder, error) from None


def _target(root: str, path: str) -> str:
    try:
        return os.readlink(os.path.join(root, path))
    except OSError as error:
        raise unreadable(root, path, error) from None
