# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Podman's store: layers by diff ID, images by config digest, every digest under every name."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidReference
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import Reference
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse as parse_reference

from ansible_collections.stowage.oci.tests.unit.images import Layer, Made, docker_archive, sha256, tar

from .store import CREATED_SECONDS, NO_TIME, Document, Record, Refused, Store, Unreadable, assembled, made, parts, read_archive, unpacked

FORMATS = """payload does not match any of the supported image formats:
 * oci: initializing source oci:/var/tmp/api_load.tar1:: open /var/tmp/api_load.tar1/index.json: not a directory
 * oci-archive: %s
 * docker-archive: %s
 * dir: open /var/tmp/api_load.tar1/manifest.json: not a directory"""


class Podman(Store):
    """``compressed`` tells of a blob that was read which layer it is."""

    name = "podman"

    def __init__(self) -> None:
        super().__init__()
        self.layers: t.Dict[str, bytes] = {}
        self.compressed: t.Dict[str, str] = {}

    def spellings(self, text: str) -> t.List[str]:
        names = super().spellings(text)
        try:
            short = names and parse_reference(text).registry == "docker.io" and not text.startswith("docker.io/")
        except InvalidReference:
            return names
        return names + super().spellings("localhost/" + text) if short else names

    def by_digest(self, reference: Reference) -> t.Optional[Record]:
        """Whatever repository it came from."""
        return next((record for record in self.records.values() if str(reference.digest) in record.digests), None)

    def no_such_image(self, text: str) -> str:
        name = "docker.io/library/" + text if text.startswith("sha256:") else text
        return "failed to find image %s: %s: image not known" % (text, name)

    def point(self, name: str, record: Record) -> None:
        super().point(name, record)
        if name not in record.past_names:
            record.past_names.insert(0, name)

    # Filling

    def load(self, body: bytes) -> t.List[Document]:
        try:
            files = read_archive(body)
        except Unreadable as error:
            raise Refused(500, FORMATS % ("creating temp directory: %s" % error, "loading tar component manifest.json: %s" % error)) from None
        reasons = []
        for reader in (self._layout, self._docker):
            try:
                names, record = reader(files)
            except Unreadable as error:
                reasons.append(str(error))
                continue
            for name in names:
                self.point(name, record)
            return [{"stream": "Loaded image: %s" % (",".join(names) or record.id)}]
        raise Refused(500, FORMATS % tuple(reasons))

    def _layout(self, files: t.Mapping[str, bytes]) -> t.Tuple[t.List[str], Record]:
        if "index.json" not in files:
            raise Unreadable("loading index: open /var/tmp/oci1/index.json: no such file or directory")
        entries = json.loads(files["index.json"].decode())["manifests"]
        if len(entries) != 1:
            raise Unreadable("loading index: more than one image in oci, choose an image")
        annotations = entries[0].get("annotations") or {}
        name = annotations.get("io.containerd.image.name") or annotations.get("org.opencontainers.image.ref.name")
        blobs = {name[6:].replace("/", ":"): data for name, data in files.items() if name.startswith("blobs/")}
        target = _needed(blobs, entries[0]["digest"])
        document = json.loads(target.decode())
        for entry in document.get("manifests") or []:
            if (entry.get("platform") or {}).get("architecture") == "amd64":
                document = json.loads(_needed(blobs, entry["digest"]).decode())
                return _localised([name]), self._stored(blobs, document, [target, blobs[entry["digest"]]])
        return _localised([name]), self._stored(blobs, document, [target])

    def _docker(self, files: t.Mapping[str, bytes]) -> t.Tuple[t.List[str], Record]:
        if "manifest.json" not in files:
            raise Unreadable("loading tar component manifest.json: file does not exist")
        item = json.loads(files["manifest.json"].decode())[0]
        if any(name not in files for name in item["Layers"]):
            raise Unreadable("determining manifest MIME type for docker-archive: Some layer tarfiles are missing in the tarball")
        image = made(files[item["Config"]], [unpacked(files[name]) for name in item["Layers"]], "", docker=True)
        for found, expected in zip(image.diff_ids, json.loads(image.config.decode())["rootfs"]["diff_ids"]):
            _same(found, expected)
        return _localised(item.get("RepoTags") or []), self._stored(image.blobs, json.loads(image.manifest.decode()), [image.manifest])

    def _stored(self, blobs: t.Mapping[str, bytes], manifest: Document, raw_manifests: t.Sequence[bytes]) -> Record:
        raw = _needed(blobs, manifest["config"]["digest"])
        diff_ids = json.loads(raw.decode())["rootfs"]["diff_ids"] or []
        fresh, read = {}, {}
        for layer, diff_id in zip(manifest["layers"], diff_ids):
            digest = layer["digest"]
            if digest in self.layers or digest in self.compressed:
                continue
            fresh[diff_id] = unpacked(_needed(blobs, digest))
            read[digest] = diff_id
        self.layers.update(fresh)
        self.compressed.update(read)
        record = self.records.setdefault(sha256(raw), Record(sha256(raw), raw, raw_manifests[-1]))
        record.digests = list(dict.fromkeys(record.digests + [sha256(manifest) for manifest in raw_manifests]))
        return record

    def held(self, record: Record) -> t.List[Layer]:
        """What it was built from, or can be built upon."""
        return [Layer(self.layers[diff_id], self.layers[diff_id], "") for diff_id in record.diff_ids]

    def built(self, raw_config: bytes, layers: t.Sequence[Layer], docker: bool) -> Record:
        image = assembled(raw_config, layers, docker=True)
        return self._stored(image.blobs, json.loads(image.manifest.decode()), [image.manifest])

    def pulled(self, reference: Reference, target: bytes, media_type: str, manifest: bytes, blobs: t.Mapping[str, bytes]) -> None:
        record = self._stored(blobs, json.loads(manifest.decode()), [target, manifest])
        self.point("%s@%s" % (reference.name, reference.digest) if reference.digest else reference.tagged, record)

    def pushed(self, record: Record, reference: Reference) -> t.Tuple[bytes, t.Dict[str, bytes]]:
        return parts(self._made(record, "gzip", []))

    def _made(self, record: Record, kind: str, names: t.Sequence[str]) -> Made:
        return made(record.raw_config, [self.layers[diff_id] for diff_id in record.diff_ids], kind, names)

    def sweep(self) -> t.List[str]:
        keep = {diff_id for record in self.records.values() for diff_id in record.diff_ids}
        self.layers = {diff_id: data for diff_id, data in self.layers.items() if diff_id in keep}
        self.compressed = {digest: diff_id for digest, diff_id in self.compressed.items() if diff_id in keep}
        return []

    def remove(self, text: str, force: bool) -> t.List[t.Dict[str, str]]:
        """A name that is not the last is taken off; force takes the containers too."""
        record = self.known(text)
        names = self.named(record)
        name = next((one for one in self.spellings(text) if one in self.names), None)
        if not name and "@" in text and names:
            raise Refused(500, "%s: tag not known" % text)
        if name and len(names) > 1:
            return [{"Untagged": one} for one in self.untag(record, name)]
        if not name and len(names) > 1 and not force:
            raise Refused(
                500,
                'unable to delete image "%s" by ID with more than one tag ([%s]): please force removal' % (record.id[7:], " ".join(names)),
            )
        users = self.users(record)
        if users and not force:
            raise Refused(
                409,
                "image %s is in use: image used by %s: image is in use by a container: consider listing external containers and "
                "force-removing image" % (text, users[0]["Id"]),
            )
        for container in users:
            self.containers.remove(container)
        gone = [{"Deleted": one["Deleted"].replace("sha256:", "")} for one in self.deleted(record)]
        return gone + [{"Untagged": one} for one in names]

    # What it shows

    def _digests(self, record: Record) -> t.List[str]:
        repositories = sorted({parse_reference(name).name for name in self.named(record)})
        return ["%s@%s" % (repository, digest) for repository in repositories for digest in sorted(record.digests)]

    def _sizes(self, record: Record) -> t.List[int]:
        return [len(self.layers[diff_id]) for diff_id in record.diff_ids]

    def _size(self, record: Record) -> int:
        return sum(self._sizes(record)) + len(record.raw_config) + len(record.manifest)

    def inspect(self, record: Record) -> Document:
        config, size = record.config, self._size(record)
        return {
            "Id": record.id,
            "RepoTags": [name for name in self.named(record)[::-1] if "@" not in name],
            "RepoDigests": self._digests(record),
            "Parent": record.parent[7:],
            "Created": config.get("created") or "2026-01-01T00:00:00Z",
            "Config": dict({"Cmd": None, "Entrypoint": None, "Env": None, "User": ""}, **(config.get("config") or {})),
            "Architecture": config.get("architecture", ""),
            "Os": config.get("os", ""),
            "Size": size,
            "VirtualSize": size,
            "GraphDriver": {"Data": {}, "Name": "overlay"},
            "RootFS": {"Type": "layers", "Layers": record.diff_ids} if record.diff_ids else {"Type": "layers"},
            "Metadata": {"LastTagTime": NO_TIME},
        }

    def summaries(self, every: bool) -> t.List[Document]:
        return [self.summary(record) for record in self.records.values() if every or self.named(record) or not self.children(record)]

    def summary(self, record: Record) -> Document:
        names = self.named(record)[::-1]
        return {
            "Id": record.id,
            "ParentId": record.parent[7:],
            "RepoTags": names or None,
            "RepoDigests": self._digests(record),
            "Created": CREATED_SECONDS,
            "Size": self._size(record),
            "SharedSize": 0,
            "Labels": (record.config.get("config") or {}).get("Labels") or {},
            "Containers": len(self.users(record)),
            "Digest": record.digests[0],
            "History": list(record.past_names),
        }

    def past(self, record: Record) -> t.List[Document]:
        if not all(entry.get("created") for entry in record.config.get("history") or []):
            raise Refused(500, "runtime error: invalid memory address or nil pointer dereference")
        return self.history(record, self._sizes(record), record.id[7:], None)

    def export(self, records: t.Sequence[Record]) -> bytes:
        return tar(docker_archive([self._made(record, "", self.named(record)) for record in records], "podman"))


def _needed(blobs: t.Mapping[str, bytes], digest: str) -> bytes:
    if digest not in blobs:
        raise Unreadable("reading blob %s: open /var/tmp/oci1/blobs/%s: no such file or directory" % (digest, digest.replace(":", "/")))
    _same(sha256(blobs[digest]), digest)
    return blobs[digest]


def _same(found: str, expected: str) -> None:
    if found != expected:
        raise Unreadable("writing blob: happened during read: Digest did not match, expected %s, got %s" % (expected, found))


def _localised(names: t.Sequence[t.Optional[str]]) -> t.List[str]:
    """A name without a registry is of ``localhost``."""
    found = []
    for name in names:
        if name:
            has_registry = parse_reference(name).registry != "docker.io" or name.startswith("docker.io/")
            found.append(parse_reference(name if has_registry else "localhost/" + name).tagged)
    return found
