# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fake stores have in common: names, containers, and the rules of Docker's DELETE.

What each answers was measured on Docker 20.10 and 28.5 (both stores) and Podman 4.3; tests/contract/test_fakes_hold.py
holds the fakes to it.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import tarfile
import typing as t

from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidReference
from ansible_collections.stowage.oci.plugins.module_utils._oci import image as _image
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import Reference
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse as parse_reference

from ansible_collections.stowage.oci.tests.unit.images import Layer, Made, compress, dump, sha256

Document = t.Dict[str, t.Any]
OCI_TYPES = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json")
DOCKER_TYPES = ("application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.container.image.v1+json")
NO_TIME = "0001-01-01T00:00:00Z"
ZSTD = b"\x28\xb5\x2f\xfd"
CREATED_SECONDS = 1704164645


class Refused(Exception):
    """An answer of 400 or more."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Unreadable(Exception):
    """An archive that cannot be taken; the engine's own words."""


class Record:
    """An image that a store has. ``parent`` is an image ID that a classic build noted."""

    def __init__(self, image_id: str, raw_config: bytes, manifest: bytes, media_type: str = "") -> None:
        self.id = image_id
        self.raw_config = raw_config
        self.manifest = manifest
        self.media_type = media_type
        self.parent = ""
        self.annotations: t.Dict[str, str] = {}
        self.digests: t.List[str] = []
        self.past_names: t.List[str] = []

    @property
    def config(self) -> Document:
        return json.loads(self.raw_config.decode()) if self.raw_config else {}

    @property
    def diff_ids(self) -> t.List[str]:
        return list((self.config.get("rootfs") or {}).get("diff_ids") or [])

    @property
    def chain_ids(self) -> t.List[str]:
        return [str(chain) for chain in _image.chain_ids(self.diff_ids)]


class Store:
    """Images by ID, and names (``name:tag`` or ``name@digest``, canonical) that point to them, oldest first."""

    def __init__(self) -> None:
        self.records: t.Dict[str, Record] = {}
        self.names: t.Dict[str, str] = {}
        self.containers: t.List[Document] = []

    # Looking

    def find(self, text: str) -> t.Optional[Record]:
        """By ID, by name, or by the beginning of an ID."""
        for name in self.spellings(text):
            if name in self.names:
                return self.records[self.names[name]]
        try:
            reference = parse_reference(text)
        except InvalidReference:
            reference = None
        if reference and reference.digest:
            return self.by_digest(reference)
        return next((record for image_id, record in self.records.items() if _is_id(text, image_id)), None)

    def spellings(self, text: str) -> t.List[str]:
        """The names that a text may mean; a digest outdoes a tag."""
        try:
            reference = parse_reference(text)
        except InvalidReference:
            return []
        return ["%s@%s" % (reference.name, reference.digest) if reference.digest else reference.tagged]

    def fitting(self, record: Record, architecture: str) -> t.Optional[Record]:
        """The image of a record for an architecture, if it is for that."""
        return record if record.config.get("architecture") == architecture else None

    def by_digest(self, reference: Reference) -> t.Optional[Record]:
        return None

    def known(self, text: str) -> Record:
        record = self.find(text)
        if not record:
            raise Refused(404, self.no_such_image(text))
        return record

    def no_such_image(self, text: str) -> str:
        return "No such image: %s" % (text if re.fullmatch("sha256:[0-9a-f]{64}", text) else familiar(self.spellings(text)[0]))

    def named(self, record: Record) -> t.List[str]:
        return [name for name, image_id in self.names.items() if image_id == record.id]

    def children(self, record: Record) -> t.List[Record]:
        return [other for other in self.records.values() if other.parent == record.id]

    def users(self, record: Record) -> t.List[Document]:
        return [container for container in self.containers if container["ImageID"] == record.id]

    def chains_in_use(self) -> t.Set[str]:
        """Of all images, and of containers whose image was taken away by force."""
        chains = {chain for record in self.records.values() for chain in record.chain_ids}
        return chains.union(*(container["chains"] for container in self.containers))

    def history(self, record: Record, sizes: t.Sequence[int], first: str, tags: t.Optional[t.List[str]]) -> t.List[Document]:
        """Newest first; only the newest has an ID and tags."""
        rest = list(sizes)
        entries = []
        for entry in record.config.get("history") or []:
            size = 0 if entry.get("empty_layer") or not rest else rest.pop(0)
            entries.append(
                {
                    "Comment": entry.get("comment", ""),
                    "Created": CREATED_SECONDS,
                    "CreatedBy": entry.get("created_by", ""),
                    "Id": "<missing>",
                    "Size": size,
                    "Tags": None,
                }
            )
        entries.reverse()
        if entries:
            entries[0].update(Id=first, Tags=tags)
        return entries

    # Changing

    def tag(self, text: str, name: str) -> None:
        self.point(name, self.known(text))

    def point(self, name: str, record: Record) -> None:
        """Let a name mean this image from now on."""
        self.names[name] = record.id

    def drop(self, record: Record) -> None:
        self.records.pop(record.id)
        self.names = {name: image_id for name, image_id in self.names.items() if image_id != record.id}

    def sweep(self) -> t.List[str]:
        """Drop what no image needs; the IDs of layers that went, where the engine tells them."""
        return []

    def remove(self, text: str, force: bool) -> t.List[t.Dict[str, str]]:
        """Docker's rules (daemon/images/image_delete.go); Podman has its own."""
        record = self.known(text)
        if _is_id(text, record.id) and not any(name in self.names for name in self.spellings(text)):
            names = self.named(record)
            self.refuse_if_in_use(record, text, force, by_name=False)
            if not force and not _single(names):
                short = record.id[7:19]
                raise Refused(409, "conflict: unable to delete %s (must be forced) - image is referenced in multiple repositories" % short)
            return [{"Untagged": familiar(name)} for name in names] + self.deleted(record)
        name = self.spellings(text)[0]
        if _single(self.named(record)) and not force:
            self.refuse_if_in_use(record, text, force, by_name=True)
        untagged = self.untag(record, name)
        gone = [{"Untagged": familiar(one)} for one in untagged]
        running = any(container["State"] == "running" for container in self.users(record))
        if self.named(record) or self.keeps_parents and self.children(record) or running:
            return gone
        return gone + self.deleted(record)

    keeps_parents = False
    """Whether an image from which another was built cannot be deleted."""

    prunes_parents = True
    """Whether untagged parents go with the last image that was built from them."""

    def untag(self, record: Record, name: str) -> t.List[str]:
        self.names.pop(name)
        return [name]

    def deleted(self, record: Record) -> t.List[t.Dict[str, str]]:
        """Delete it, and (where the store does that) its untagged parents that nobody else was built from."""
        self.drop(record)
        went = [record.id] + self.sweep()
        parent = self.records.get(record.parent) if self.prunes_parents else None
        more = self.deleted(parent) if parent and not self.named(parent) and not self.children(parent) and not self.users(parent) else []
        return [{"Deleted": image_id} for image_id in went] + more

    def refuse_if_in_use(self, record: Record, text: str, force: bool, by_name: bool) -> None:
        short = record.id[7:19]
        if self.keeps_parents and self.children(record) and not by_name:
            raise Refused(409, "conflict: unable to delete %s (cannot be forced) - image has dependent child images" % short)
        for container in self.users(record):
            user, running = container["Id"][:12], container["State"] == "running"
            if by_name:
                why = 'remove repository reference "%s" (must force) - container %s is using its referenced image %s' % (text, user, short)
                raise Refused(409, "conflict: unable to " + why)
            if running or not force:
                how = ("cannot be forced", "running") if running else ("must be forced", "stopped")
                raise Refused(409, "conflict: unable to delete %s (%s) - image is being used by %s container %s" % (short, how[0], how[1], user))


def familiar(name: str) -> str:
    """As Docker shows a name."""
    for prefix in ("docker.io/library/", "docker.io/"):
        if name.startswith(prefix):
            return name[len(prefix):]
    return name


def untar(data: bytes) -> t.Dict[str, bytes]:
    """The plain files of a tar, whatever is compressed around it."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: t.cast(t.IO[bytes], archive.extractfile(member)).read() for member in archive if member.isfile()}


def made(raw_config: bytes, tars: t.Iterable[bytes], kind: str = "gzip", names: t.Sequence[str] = (), docker: bool = False) -> Made:
    """An image of these parts, its layers compressed or (with an empty kind) not, under a manifest of the engine's own making."""
    return assembled(raw_config, [Layer(data, compress(data, kind), kind) for data in tars], names, docker)


def assembled(raw_config: bytes, layers: t.Sequence[Layer], names: t.Sequence[str] = (), docker: bool = False) -> Made:
    types = DOCKER_TYPES if docker else OCI_TYPES
    manifest = {
        "schemaVersion": 2,
        "mediaType": types[0],
        "config": {"mediaType": types[1], "digest": sha256(raw_config), "size": len(raw_config)},
        "layers": [layer.descriptor(docker) for layer in layers],
    }
    return Made(tuple(names), tuple(layers), raw_config, dump(manifest), {}, {})


def parts(image: Made) -> t.Tuple[bytes, t.Dict[str, bytes]]:
    """The manifest, and the blobs that it names."""
    return image.manifest, {digest: data for digest, data in image.blobs.items() if digest != image.digest}


def read_archive(body: bytes) -> t.Dict[str, bytes]:
    try:
        return {name[2:] if name.startswith("./") else name: data for name, data in untar(body).items()} if body else {}
    except (tarfile.TarError, EOFError, OSError) as error:
        raise Unreadable("unexpected EOF" if "end of" in str(error) else "archive/tar: invalid tar header") from None


def unpacked(blob: bytes, zstd: bool = True) -> bytes:
    """A layer's tar; ``zstd`` is whether this engine reads that."""
    if len(blob) < tarfile.BLOCKSIZE and blob[:2] != b"\x1f\x8b" and not (zstd and blob[:4] == ZSTD):
        raise Unreadable("unexpected EOF")
    try:
        if blob[:4] == ZSTD and zstd:
            return subprocess.run(["zstd", "-q", "-d", "-c"], input=blob, stdout=subprocess.PIPE, check=True).stdout
        layer = gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob
        untar(layer)
        return layer
    except (tarfile.TarError, subprocess.CalledProcessError, OSError, EOFError):
        raise Unreadable("archive/tar: invalid tar header") from None


def content_bytes(layer: bytes) -> int:
    """Bytes of the files in a layer's tar."""
    return sum(map(len, untar(layer).values()))


def verified(layer: bytes, number: int, diff_id: str) -> bytes:
    found = sha256(layer)
    if found != diff_id:
        raise Unreadable('invalid diffID for layer %d: expected "%s", got "%s"' % (number, diff_id, found))
    return layer


def _is_id(text: str, image_id: str) -> bool:
    return text == image_id or bool(re.fullmatch("[0-9a-f]{4,64}", text)) and image_id[7:].startswith(text)


def _single(names: t.Sequence[str]) -> bool:
    """At most one tag, and one repository."""
    repositories = {parse_reference(name).name for name in names}
    return len(names) <= 1 or len([name for name in names if "@" not in name]) <= 1 and len(repositories) == 1
