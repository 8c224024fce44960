# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles: a set of images in one file or folder, each blob once, the same images always as the same bytes.

Three forms: ``oci-archive``, the tar of an OCI image layout that also carries docker's ``manifest.json``, so that a plain
``docker load`` or ``podman load`` reads it; ``oci-layout``, that layout as a folder; ``docker-archive``, what docker save
wrote before it knew layouts.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import itertools
import os
import re
import shutil
import struct
import tarfile
import tempfile
import typing as t

from .._errors import ArchiveError, BlobMismatch
from . import compression
from . import manifest as _manifest
from .archive import NAME_CONTAINERD, NAME_OCI, Archive
from .digest import CHUNK, Digest, Verified, drain
from .files import Extent
from .image import Image
from .manifest import OCI_INDEX, Descriptor, Index
from .platform import Platform
from .thin import END, LAYOUT, padding, path

OCI_ARCHIVE, OCI_LAYOUT, DOCKER_ARCHIVE = FORMS = ("oci-archive", "oci-layout", "docker-archive")

_COMMON = Platform("linux", "amd64")
_USTAR_LIMIT = 8 << 30
"""A file of this many bytes and more has its size in a pax record."""


class Member(t.NamedTuple):
    """An image of a bundle under its ``name`` (canonical, with a tag), in each platform that the bundle shall have.

    ``index`` is the one that its source has of it; it is kept, to the byte, if it lists just these ``variants``.
    """

    name: str
    variants: t.Tuple[Image, ...]
    index: t.Optional[Index] = None

    @property
    def target(self) -> t.Tuple[Descriptor, bytes]:
        """What the name stands for: a manifest if there is one platform, else an index."""
        if self.index and {child.digest for child in self.index.manifests} == {image.manifest.digest for image in self.variants}:
            index = self.index
        elif len(self.variants) == 1:
            return _descriptor(self.variants[0]), self.variants[0].manifest.raw
        else:
            children = sorted(map(_descriptor, self.variants), key=lambda child: (str(child.platform), child.digest))
            index = _index([_json(child) for child in children])
        return Descriptor(index.media_type, index.digest, len(index.raw)), index.raw


class File(t.NamedTuple):
    """A file of a bundle: a document in ``data``, or a layer of this ``digest``; ``what`` is how messages call it."""

    name: str
    digest: t.Optional[Digest]
    size: int
    data: t.Optional[bytes]
    what: str


Blobs = t.Mapping[str, Extent]


def files(members: t.Iterable[Member], form: str) -> t.List[File]:
    """What a bundle of these images consists of, in its order: documents, then layers in the order of their first use.

    A docker-archive takes one platform of each image.
    """
    members = sorted(members, key=lambda member: member.name)
    return _docker_archive(members) if form == DOCKER_ARCHIVE else _layout(members, form == OCI_ARCHIVE)


def _layout(members: t.Sequence[Member], with_docker: bool) -> t.List[File]:
    entries, found = [], {}
    for member in members:
        target, raw = member.target
        annotations = {NAME_CONTAINERD: member.name, NAME_OCI: member.name}
        entries.append(dict(_json(target), annotations=annotations))
        found[path(target.digest)] = raw
        for image in member.variants:
            found[path(image.manifest.digest)] = image.manifest.raw
            found[path(image.config.digest)] = image.raw_config
    documents = {"oci-layout": LAYOUT, "index.json": _index(entries).raw}
    if with_docker:
        documents["manifest.json"] = _docker_manifest(members, path, path)
    documents.update(found)
    return _documents(documents) + _layers(members, path)


def _docker_archive(members: t.Sequence[Member]) -> t.List[File]:
    members = [member._replace(variants=(_one(member),)) for member in members]
    documents = {"manifest.json": _docker_manifest(members, _docker_config, _docker_layer)}
    documents.update((_docker_config(image.config.digest), image.raw_config) for member in members for image in member.variants)
    return _documents(documents) + _layers(members, _docker_layer)


def _one(member: Member) -> Image:
    """The platform for who knows no more than one: linux/amd64, else the first."""
    return next((image for image in member.variants if image.config.platform == _COMMON), member.variants[0])


def _docker_config(digest: Digest) -> str:
    return digest.hex + ".json"


def _docker_layer(digest: Digest) -> str:
    return digest.hex + ".tar"


def _docker_manifest(members: t.Sequence[Member], config: t.Callable[[Digest], str], layer: t.Callable[[Digest], str]) -> bytes:
    items: t.Dict[str, t.Dict[str, t.Any]] = {}
    for member in members:
        image = _one(member)
        layers = [layer(one.descriptor.digest) for one in image.layers]
        item = items.setdefault(image.manifest.digest, {"Config": config(image.config.digest), "RepoTags": [], "Layers": layers})
        item["RepoTags"].append(member.name)
    return b"[%s]" % b",".join(map(_manifest.dump, items.values()))


def _documents(documents: t.Mapping[str, bytes]) -> t.List[File]:
    return [File(name, None, len(data), data, name) for name, data in documents.items()]


def _layers(members: t.Iterable[Member], name: t.Callable[[Digest], str]) -> t.List[File]:
    found: t.Dict[str, File] = {}
    for member in members:
        for image in member.variants:
            for number, layer in enumerate(image.layers, 1):
                blob = layer.descriptor
                found.setdefault(blob.digest, File(name(blob.digest), blob.digest, blob.size, None, "layer %d of %s" % (number, member.name)))
    return list(found.values())


def _descriptor(image: Image) -> Descriptor:
    platform = image.config.platform if image.config.platform.architecture else None
    return Descriptor(image.manifest.media_type, image.manifest.digest, len(image.manifest.raw), platform)


def _json(descriptor: Descriptor) -> t.Dict[str, t.Any]:
    document = descriptor.json()
    if descriptor.platform:
        document["platform"] = {key: value for key, value in descriptor.platform._asdict().items() if value}
    return document


def _index(entries: t.List[t.Dict[str, t.Any]]) -> Index:
    raw = _manifest.dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    return t.cast(Index, _manifest.parse(raw, "index"))


# Writing


def size(files: t.Iterable[File], form: str) -> int:
    """Bytes of the bundle."""
    if form == OCI_LAYOUT:
        return sum(file.size for file in files)
    return sum(len(header(file.name, file.size)) + file.size + len(padding(file.size)) for file in files) + len(END)


def write_tar(files: t.Iterable[File], blobs: Blobs, out: t.BinaryIO) -> str:
    """Write the files as a tar, each layer checked by digest on the way; the sha256 of the tar, in hex."""
    digest = hashlib.sha256()
    for data in itertools.chain(*(_tarred(file, blobs) for file in files), [END]):
        digest.update(data)
        out.write(data)
    out.flush()
    return digest.hexdigest()


def write_folder(files: t.Iterable[File], blobs: Blobs, folder: str) -> None:
    """Make ``folder`` this layout: what is there and right stays, ``index.json`` comes last, and then goes what it does not name."""
    os.makedirs(os.path.join(folder, "blobs"), exist_ok=True)
    files = sorted(files, key=lambda file: file.name == "index.json")
    part = os.path.join(folder, "blobs", "part-%d" % os.getpid())
    for file in files:
        target = os.path.join(folder, file.name)
        if _intact(file, target):
            continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(part, "wb") as out:
            for data in _content(file, blobs):
                out.write(data)
        os.rename(part, target)
    wanted = {os.path.join(folder, file.name) for file in files}
    for found in _below(os.path.join(folder, "blobs")):
        if found not in wanted:
            os.unlink(found)


def _intact(file: File, target: str) -> bool:
    """Whether ``target`` has these bytes already."""
    if not os.path.isfile(target) or os.path.getsize(target) != file.size:
        return False
    with open(target, "rb") as stream:
        if file.data is not None:
            return stream.read() == file.data
        try:
            drain(Verified(stream, t.cast(Digest, file.digest), file.size, file.what))
        except BlobMismatch:
            return False
        return True


def _below(folder: str) -> t.List[str]:
    return [os.path.join(where, name) for where, _folders, names in os.walk(folder) for name in names]


def _tarred(file: File, blobs: Blobs) -> t.Iterator[bytes]:
    yield header(file.name, file.size)
    yield from _content(file, blobs)
    yield padding(file.size)


def _content(file: File, blobs: Blobs) -> t.Iterator[bytes]:
    if file.data is not None:
        yield file.data
        return
    with blobs[t.cast(Digest, file.digest)].open() as stream:
        checked = Verified(stream, t.cast(Digest, file.digest), file.size, file.what)
        yield from iter(lambda: checked.read(CHUNK), b"")


def header(name: str, size: int) -> bytes:
    """The tar header of a plain file of ``size`` bytes, the same on every Python; tarfile's is not."""
    if size < _USTAR_LIMIT:
        return _block(name, size, b"0")
    # A pax record states its own length: "27 size=8589934592".
    record = b" size=%d\n" % size
    data = b"%d%s" % (len(record) + 2, record)
    return _block("PaxHeader", len(data), b"x") + data + padding(len(data)) + _block(name, 0, b"0")


def _block(name: str, size: int, kind: bytes) -> bytes:
    """POSIX.1-1988 (ustar): mode 0644, owner 0, time 0, no names of users."""
    head = struct.pack("100s8s8s8s12s12s", name.encode("ascii"), b"0000644", b"0000000", b"0000000", b"%011o" % size, b"%011o" % 0)
    tail = struct.pack("1s100s8s32s32s8s8s167s", kind, b"", b"ustar\x0000", b"", b"", b"", b"", b"")
    return head + b"%06o\0 " % (sum(head) + sum(tail) + 8 * ord(" ")) + tail


@contextlib.contextmanager
def beside(target: str) -> t.Iterator[t.BinaryIO]:
    """A file in the folder of ``target``, for us alone (0600), that is gone afterwards unless it was renamed.

    What a run that was killed left there is removed first.
    """
    prefix = os.path.join(os.path.dirname(target), ".stowage-%s-" % Digest.of(os.fsencode(target)).hex[:12])
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


# What is there already


class Old(t.NamedTuple):
    """What lies where a bundle shall be: its ``form`` if it is as we write it, else an empty string.

    ``archive`` is None for what is no longer an archive, and then ``damage`` says why.
    """

    form: str
    archive: t.Optional[Archive]
    damage: str


_WRITTEN = re.compile(r"(\./)?(oci-layout|index\.json|manifest\.json|repositories|blobs(/.*)?|(sha256:)?[0-9a-f]{64}([./].*)?)")
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
        raise _foreign(target, str(error)) from None
    if os.path.isdir(target) and not form:
        raise _foreign(target, "a folder without an oci-layout file")
    return Old(form, archive, "")


def _foreign(target: str, why: str) -> ArchiveError:
    return ArchiveError("%s is no bundle, and is left as it is (%s): remove it, or name another path" % (target, why))


def _written(target: str) -> t.Tuple[str, bool]:
    """The form of a tar, if it is as we write it; and whether it begins as some image archive does."""
    names: t.List[str] = []
    try:
        with open(target, "rb") as raw:
            kind = compression.sniff(raw.read(compression.HEAD))
            raw.seek(0)
            with contextlib.closing(compression.expanding(raw, kind, target) if kind else raw) as stream:
                with tarfile.open(fileobj=stream, mode="r|") as tar:
                    names.extend(member.name for member in itertools.islice(tar, 3))
    except (ArchiveError, tarfile.TarError, *compression.DAMAGED):
        kind = "damaged"
    if not names or not _WRITTEN.fullmatch(names[0]):
        return "", False
    form = OCI_ARCHIVE if names == ["oci-layout", "index.json", "manifest.json"] else DOCKER_ARCHIVE if names[0] == "manifest.json" else ""
    return "" if kind else form, True


def measure(target: str) -> t.Tuple[int, str]:
    """Size in bytes, and a sha256 in hex: of the file; of a folder that of its ``index.json``, which names all else by digest."""
    folder = os.path.isdir(target)
    main = os.path.join(target, "index.json") if folder else target
    parts = [os.path.join(target, "oci-layout"), main] + _below(os.path.join(target, "blobs")) if folder else [main]
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
