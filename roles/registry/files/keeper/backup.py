# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of filesystem storage as one tar, each blob proved by its digest on the way; and the way back."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from contextlib import ExitStack, contextmanager
from typing import IO, Any, Dict, Iterator, Optional, Set, Tuple, cast

import inventory
import maintenance
import private
import storage
import variants
from api import Api
from private import Program
from settings import Config, Failure, Settings, read
from storage import Count
from unit import Unit

END = "stowage-backup.json"  # the last member: an archive without it was cut off
PIECE = 1 << 20


class Hashing:
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes], algorithm: str) -> None:
        self._file, self._hash = file, hashlib.new(algorithm)

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._hash.update(piece)
        return piece

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def root_of(config: Config) -> str:
    root = variants.root(config)
    if root is None:
        raise Failure("A backup is a copy of filesystem storage; this registry keeps its images in %s. Use what the object store has for that: "
                      "versions of objects, or a copy of the bucket." % variants.driver(config)[0])
    return root


def backup(settings: Settings, unit: Unit, program: Program, target: str, prove: bool, dry_run: bool) -> Dict[str, Any]:
    config = read(settings.config)
    root = root_of(config)
    target = os.path.abspath(target)
    if not target.endswith((".tar", ".tar.gz")):
        raise Failure("%s: a backup is named NAME.tar or NAME.tar.gz." % target)
    if not os.path.isdir(os.path.dirname(target)):
        raise Failure("%s: there is no folder %s." % (target, os.path.dirname(target)))
    if dry_run:
        count = Count()
        for name, found in storage.files(root):
            count.add(name, found.st_size)
        return count.result(count.bytes)
    with private.lock(settings), ExitStack() as stack:
        maintenance.recover(settings, unit)
        with maintenance.read_only(settings, unit):
            temporary = _written(root, target, stack)
        count = _proved(temporary)
        if prove:
            _serves(settings, program, config, temporary, os.path.dirname(target))
        size = os.stat(temporary).st_size
        os.replace(temporary, target)
        _sync(os.path.dirname(target))
    return count.result(size)


def _written(root: str, target: str, stack: ExitStack) -> str:
    """Write it beside the target; the file goes at the end of the stack unless it was renamed."""
    descriptor, temporary = tempfile.mkstemp(prefix=".%s." % os.path.basename(target), dir=os.path.dirname(target))
    stack.callback(lambda: os.path.exists(temporary) and os.unlink(temporary))
    count = Count()
    with os.fdopen(descriptor, "wb") as file:
        with _packed(file, target) as packed, tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for name, found in storage.files(root):
                _add(archive, root, name, found)
                count.add(name, found.st_size)
            end = json.dumps({"files": count.files, "bytes": count.bytes}).encode()
            archive.addfile(_member(END, len(end), 0), io.BytesIO(end))
        file.flush()
        os.fsync(file.fileno())
    return temporary


@contextmanager
def _packed(file: Any, target: str) -> Iterator[Any]:
    if target.endswith(".gz"):
        with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            yield packed
    else:
        yield file


def _member(name: str, size: int, mtime: float) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, int(mtime), 0o640
    return member


def _add(archive: tarfile.TarFile, root: str, name: str, found: os.stat_result) -> None:
    member = _member(name, found.st_size, found.st_mtime)
    digest = storage.digest(name)
    with open(os.path.join(root, name), "rb") as file:
        if digest is None:
            archive.addfile(member, file)
            return
        reader = Hashing(file, digest.partition(":")[0])
        archive.addfile(member, cast(IO[bytes], reader))
        _right(digest, reader, os.path.join(root, name))


def _right(digest: str, reader: Hashing, where: str) -> None:
    if reader.hexdigest() != digest.partition(":")[2]:
        raise Failure("The blob %s is damaged: the bytes of %s have another digest. Push an image that has it again, after the file was removed; "
                      "no backup was made or restored." % (digest, where))


def members(path: str) -> Iterator[Any]:
    """Each file of a backup with a reader of its bytes; blobs are proved."""
    count = Count()
    end: Optional[Dict[str, int]] = None
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                _decent(member, path)
                file: Any = archive.extractfile(member)
                if member.name == END:
                    end = json.loads(file.read().decode())
                    continue
                digest = storage.digest(member.name)
                reader = Hashing(file, digest.partition(":")[0] if digest else "sha256")
                yield member.name, member.size, reader
                while reader.read(PIECE):
                    pass
                if digest:
                    _right(digest, reader, "%s in %s" % (member.name, path))
                count.add(member.name, member.size)
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise Failure("%s is no backup, or a damaged one: %s" % (path, error))
    if end != {"files": count.files, "bytes": count.bytes}:
        raise Failure("%s is no backup of a registry, or was cut off: it ends with %d files of %d bytes." % (path, count.files, count.bytes))


def _decent(member: tarfile.TarInfo, path: str) -> None:
    parts = member.name.split("/")
    known = member.name == END or parts[0] == storage.TREE
    if not known or ".." in parts or "" in parts or not member.isreg():
        raise Failure("%s holds %r, which no backup does: nothing of it was put in place." % (path, member.name))


def _proved(path: str) -> Count:
    """Read a backup to its end."""
    count = Count()
    for name, size, _reader in members(path):
        count.add(name, size)
    return count


def unpack(path: str, folder: str) -> None:
    for name, _size, reader in members(path):
        target = os.path.join(folder, name)
        os.makedirs(os.path.dirname(target), 0o750, exist_ok=True)
        with open(target, "xb") as file:
            os.fchmod(file.fileno(), 0o640)
            shutil.copyfileobj(reader, file, PIECE)


def own_tree(folder: str, ids: Tuple[int, int]) -> None:
    for path, folders, files in os.walk(folder):
        os.chown(path, *ids)
        for name in folders + files:
            os.chown(os.path.join(path, name), *ids)


def _serves(settings: Settings, program: Program, config: Config, path: str, beside: str) -> None:
    """Unpack it, and read all that its tags name from a server on it."""
    folder = tempfile.mkdtemp(prefix=".prove-", dir=beside)
    try:
        unpack(path, folder)
        if not os.path.isdir(os.path.join(folder, storage.TREE)):
            return  # nothing was ever pushed
        ids = program.ids() if program.user is None else None
        if ids:
            own_tree(folder, ids)
        own = program.mounting(folder)._replace(user=None)
        with private.folder(settings, own) as where:
            def made(socket: str) -> Config:
                return variants.private(config, socket, True, folder)

            with private.serving(own, where, made, settings.config, "A private server on the unpacked backup") as served:
                with Api(served.address) as api:
                    for name in list(api.repositories()):
                        _complete(api, folder, name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _complete(api: Api, folder: str, name: str) -> None:
    seen: Set[str] = set()
    for tag in api.tags(name):
        todo = [api.resolve(name, tag) or ""]
        while todo:
            digest = todo.pop()
            if digest in seen:
                continue
            seen.add(digest)
            raw = api.manifest(name, digest) if digest else None
            if raw is None:
                revision = "docker/registry/v2/repositories/%s/_manifests/revisions/%s/link" % (name, digest.replace(":", "/"))
                if digest and not os.path.exists(os.path.join(folder, revision)):
                    continue  # an index may name images of platforms that were never pushed
                raise Failure("The backup does not serve %s:%s, nor would the registry: its manifest %s is lacking." % (name, tag, digest))
            one = inventory.parse(raw)
            todo.extend(one.children)
            for blob in one.blobs:
                if blob not in one.children and not api.has_blob(name, blob):
                    raise Failure("The backup does not serve %s:%s, nor would the registry: its blob %s is lacking." % (name, tag, blob))


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
