# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of Docker's graph drivers: layers by chain ID, images by config digest, digests only of what was pulled or pushed."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.stowage.oci.plugins.module_utils._oci import image as _image
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import Reference
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse as parse_reference

from ansible_collections.stowage.oci.tests.unit.images import Layer, Made, docker_archive, layout, sha256, tar

from .store import CREATED_SECONDS, NO_TIME, Document, Record, Store, Unreadable
from .store import content_bytes, familiar, made, parts, read_archive, unpacked, verified


class Classic(Store):
    """``old`` is Docker 20.10, otherwise 28."""

    name = "classic"
    keeps_parents = True

    def __init__(self, old: bool = False) -> None:
        super().__init__()
        self.old = old
        self.layers: t.Dict[str, bytes] = {}

    def load(self, body: bytes) -> t.List[Document]:
        files = read_archive(body)
        if "manifest.json" not in files:
            missing = "blobs/json" if any(name.startswith("blobs/") for name in files) else "repositories"
            raise Unreadable("open /var/lib/docker/tmp/docker-import-1/%s: no such file or directory" % missing)
        said = []
        for item in json.loads(files["manifest.json"].decode()):
            record = self._taken(item, files)
            for tag in item.get("RepoTags") or []:
                name = parse_reference(tag).tagged
                before = self.names.get(name)
                if before and before != record.id:
                    said.append("The image %s already exists, renaming the old one with ID %s to empty string\n" % (familiar(name), before))
                self.point(name, record)
                said.append("Loaded image: %s\n" % familiar(name))
            if not item.get("RepoTags"):
                said.append("Loaded image ID: %s\n" % record.id)
        return [{"stream": text} for text in said]

    def _taken(self, item: Document, files: t.Mapping[str, bytes]) -> Record:
        raw = files[item["Config"]]
        diff_ids = json.loads(raw.decode())["rootfs"]["diff_ids"] or []
        if len(diff_ids) != len(item["Layers"]):
            raise Unreadable("invalid manifest, layers length mismatch: expected %d, got %d" % (len(item["Layers"]), len(diff_ids)))
        fresh = {}
        for number, (chain, diff_id, name) in enumerate(zip(_image.chain_ids(diff_ids), diff_ids, item["Layers"])):
            if chain in self.layers:
                continue
            if name not in files:
                raise Unreadable("open /var/lib/docker/tmp/docker-import-1/%s: no such file or directory" % name)
            fresh[str(chain)] = verified(unpacked(files[name], not self.old), number, diff_id)
        self.layers.update(fresh)
        return self.add(raw)

    def add(self, raw_config: bytes) -> Record:
        return self.records.setdefault(sha256(raw_config), Record(sha256(raw_config), raw_config, b""))

    def held(self, record: Record) -> t.List[Layer]:
        """What it was built from, or can be built upon."""
        return [Layer(self.layers[chain], self.layers[chain], "") for chain in record.chain_ids]

    def built(self, raw_config: bytes, layers: t.Sequence[Layer], docker: bool) -> Record:
        record = self.add(raw_config)
        self.layers.update(zip(record.chain_ids, [layer.tar for layer in layers]))
        return record

    def pulled(self, reference: Reference, target: bytes, media_type: str, manifest: bytes, blobs: t.Mapping[str, bytes]) -> None:
        document = json.loads(manifest.decode())
        raw = blobs[document["config"]["digest"]]
        record = Record("", raw, b"")
        for number, (chain, layer) in enumerate(zip(record.chain_ids, document["layers"])):
            self.layers.setdefault(chain, verified(unpacked(blobs[layer["digest"]], not self.old), number, record.diff_ids[number]))
        record = self.add(raw)
        name = "%s@%s" % (reference.name, sha256(target))
        holder = self.names.setdefault(name, record.id)
        if not reference.digest:
            self.point(reference.tagged, record)
        elif holder != record.id:
            raise Unreadable("%s overwrite digest %s" % ("Cannot" if self.old else "cannot", sha256(target)))

    def pushed(self, record: Record, reference: Reference) -> t.Tuple[bytes, t.Dict[str, bytes]]:
        """Under a manifest of docker's own types."""
        image = self._made(record, "gzip", [], docker=True)
        self.point("%s@%s" % (reference.name, image.digest), record)
        return parts(image)

    def _made(self, record: Record, kind: str, names: t.Sequence[str], docker: bool = False) -> Made:
        return made(record.raw_config, [self.layers[chain] for chain in record.chain_ids], kind, names, docker)

    def untag(self, record: Record, name: str) -> t.List[str]:
        """With the last tag of a repository go its digests."""
        gone = super().untag(record, name)
        repository = parse_reference(name).name
        rest = [one for one in self.named(record) if parse_reference(one).name == repository]
        if "@" not in name and all("@" in one for one in rest):
            for one in rest:
                gone += super().untag(record, one)
        return gone

    def sweep(self) -> t.List[str]:
        keep = self.chains_in_use()
        gone = [chain for chain in self.layers if chain not in keep]
        for chain in gone:
            del self.layers[chain]
        return gone[::-1]

    # What it shows

    def _sizes(self, record: Record) -> t.List[int]:
        return [content_bytes(self.layers[chain]) for chain in record.chain_ids]

    def _names(self, record: Record) -> t.Tuple[t.List[str], t.List[str]]:
        names = sorted(map(familiar, self.named(record)))
        return [name for name in names if "@" not in name], [name for name in names if "@" in name]

    def inspect(self, record: Record) -> Document:
        tags, digests = self._names(record)
        config, size = record.config, sum(self._sizes(record))
        rootfs: Document = {"Type": "layers"}
        if record.diff_ids:
            rootfs["Layers"] = record.diff_ids
        document = {
            "Id": record.id,
            "RepoTags": tags,
            "RepoDigests": digests,
            "Parent": record.parent,
            "Created": config.get("created") or (NO_TIME if self.old else None),
            "Config": dict({"Cmd": None, "Entrypoint": None, "Env": None, "Labels": None, "User": ""}, **(config.get("config") or {})),
            "Architecture": config.get("architecture", ""),
            "Os": config.get("os", ""),
            "Size": size,
            "GraphDriver": {"Data": None, "Name": "overlay2"},
            "RootFS": rootfs,
            "Metadata": {"LastTagTime": NO_TIME},
        }
        if config.get("variant"):
            document["Variant"] = config["variant"]
        return dict(document, VirtualSize=size) if self.old else document

    def summaries(self, every: bool) -> t.List[Document]:
        """Without ``every``, not what a classic build left on the way."""
        return [self._summary(record) for record in self.records.values() if every or self.named(record) or not self.children(record)]

    def _summary(self, record: Record) -> Document:
        tags, digests = self._names(record)
        if self.old and not tags and not digests:
            shown: t.Tuple[t.Any, t.Any] = (["<none>:<none>"], ["<none>@<none>"])
        else:
            shown = (tags or None, digests or None) if self.old else (tags, digests)
        return {
            "Containers": -1,
            "Created": CREATED_SECONDS,
            "Id": record.id,
            "Labels": (record.config.get("config") or {}).get("Labels"),
            "ParentId": record.parent,
            "RepoTags": shown[0],
            "RepoDigests": shown[1],
            "SharedSize": -1,
            "Size": sum(self._sizes(record)),
        }

    def past(self, record: Record) -> t.List[Document]:
        return self.history(record, self._sizes(record), record.id, self._names(record)[0])

    def export(self, records: t.Sequence[Record]) -> bytes:
        """20.10 writes a docker archive, 28 a layout as well."""
        images = [self._made(record, "", [name for name in self.named(record) if "@" not in name]) for record in records]
        return tar(docker_archive(images) if self.old else layout(images, docker=True))
