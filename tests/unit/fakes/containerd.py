# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's containerd store: blobs as they came, images by the digest of what their name points to, unpacked snapshots."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import Reference
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse as parse_reference

from ansible_collections.stowage.oci.tests.unit.images import Layer, dump, path, sha256, tar

from .store import CREATED_SECONDS, NO_TIME, ZSTD, Document, Record, Store, Unreadable
from .store import assembled, familiar, made, read_archive, unpacked, untar

BLOCK = 4096


class Containerd(Store):
    """A record whose names are all gone stays, dangling, until it is deleted."""

    name = "containerd"

    def __init__(self) -> None:
        super().__init__()
        self.content: t.Dict[str, bytes] = {}
        self.snapshots: t.Dict[str, bytes] = {}

    def by_digest(self, reference: Reference) -> t.Optional[Record]:
        record = self.records.get(str(reference.digest))
        names = self.named(record) if record else []
        return record if any(parse_reference(name).name == reference.name for name in names) else None

    # Filling

    def load(self, body: bytes) -> t.List[Document]:
        files = read_archive(body)
        entries = self._entries(files)
        said = []
        for entry in entries:
            name = (entry.get("annotations") or {}).get("io.containerd.image.name")
            record = self.add(entry, name)
            shown = familiar(name) if name else record.id
            said.append("Loaded image: %s\n" % shown if name else "Loaded image ID: %s\n" % shown)
            missing = self.unpack(record)
            if missing:
                said.append(
                    'Error unpacking image %s: apply layer error for "%s": failed to extract layer %s: NotFound: failed to get reader '
                    "from content store: content digest %s: not found\n" % (shown, name or "moby-dangling@" + record.id, missing, missing)
                )
        return [{"stream": text} for text in said]

    def _entries(self, files: t.Mapping[str, bytes]) -> t.List[Document]:
        if "index.json" in files:
            for name, data in files.items():
                if name.startswith("blobs/"):
                    self.content[sha256(data)] = data
            return json.loads(files["index.json"].decode())["manifests"]
        if "manifest.json" in files:
            return [entry for item in json.loads(files["manifest.json"].decode()) for entry in self._made_up(item, files)]
        raise Unreadable("unrecognized image format")

    def _made_up(self, item: Document, files: t.Mapping[str, bytes]) -> t.Iterator[Document]:
        """A docker archive has no manifest, so the engine makes one."""
        for name in item["Layers"]:
            if name not in files:
                raise Unreadable('failed to resolve layers: layer "%s" not found' % name)
        image = made(files[item["Config"]], [files[name] for name in item["Layers"]], "", docker=True)
        self.content.update(image.blobs)
        for tag in item.get("RepoTags") or [None]:
            name = parse_reference(tag).tagged if tag else None
            yield dict(image.descriptor(), annotations={"io.containerd.image.name": name}) if name else image.descriptor()

    def add(self, descriptor: Document, name: t.Optional[str]) -> Record:
        target = descriptor["digest"]
        record = self.records.setdefault(target, Record(target, b"", b"", descriptor["mediaType"]))
        record.annotations.update(descriptor.get("annotations") or {})
        self._read(record)
        if name:
            self.point(name, record)
        return record

    def _read(self, record: Record) -> None:
        """Find the manifest for this machine and its config among the blobs."""
        raw = self.content.get(record.id, b"")
        for entry in self._children(record):
            if (entry.get("platform") or {}).get("architecture") == "amd64":
                raw = self.content.get(entry["digest"], b"")
        record.manifest = raw
        config = json.loads(raw.decode()).get("config") if raw else None
        record.raw_config = self.content.get(config["digest"], b"") if config else b""

    def _children(self, record: Record) -> t.List[Document]:
        """The descriptors in an index."""
        raw = self.content.get(record.id, b"")
        return (json.loads(raw.decode()) if raw else {}).get("manifests") or []

    def _child(self, record: Record, digest: str) -> Record:
        """An image of an index, as if that were all."""
        child = Record(digest, b"", b"", record.media_type)
        self._read(child)
        return child

    def unpack(self, record: Record) -> t.Optional[str]:
        """Make the snapshots that are missing; the digest of the blob that it takes and that is not there."""
        for chain, layer in zip(record.chain_ids, self._layers(record)):
            if chain in self.snapshots:
                continue
            if layer["digest"] not in self.content:
                return str(layer["digest"])
            self.snapshots[chain] = unpacked(self.content[layer["digest"]])
        return None

    def _layers(self, record: Record) -> t.List[Document]:
        return json.loads(record.manifest.decode())["layers"] if record.manifest else []

    def held(self, record: Record) -> t.List[Layer]:
        """What it was built from, or can be built upon."""
        found = []
        for chain, layer in zip(record.chain_ids, self._layers(record)):
            blob = self.content.get(layer["digest"]) or self.snapshots[chain]
            found.append(Layer(unpacked(blob), blob, _kind(blob)))
        return found

    def built(self, raw_config: bytes, layers: t.Sequence[Layer], docker: bool) -> Record:
        """BuildKit makes Docker's types, and notes the config."""
        image = assembled(raw_config, layers, docker=docker)
        self.content.update(image.blobs)
        noted = {"annotations": {"config.digest": image.config_digest}} if docker else {}
        record = self.add(dict(image.descriptor(), **noted), None)
        self.unpack(record)
        return record

    def fitting(self, record: Record, architecture: str) -> t.Optional[Record]:
        """Its image for that, if it has one."""
        for entry in self._children(record):
            if (entry.get("platform") or {}).get("architecture") == architecture:
                return self._child(record, entry["digest"])
        return super().fitting(record, architecture)

    def pulled(self, reference: Reference, target: bytes, media_type: str, manifest: bytes, blobs: t.Mapping[str, bytes]) -> None:
        document = json.loads(manifest.decode())
        wanted = [document["config"]["digest"]] + [layer["digest"] for layer in document["layers"]]
        self.content.update({sha256(target): target, sha256(manifest): manifest})
        self.content.update((digest, blobs[digest]) for digest in wanted)
        name = "%s@%s" % (reference.name, reference.digest) if reference.digest else reference.tagged
        record = self.add({"mediaType": media_type, "digest": sha256(target)}, name)
        self.unpack(record)

    def pushed(self, record: Record, reference: Reference) -> t.Tuple[bytes, t.Dict[str, bytes]]:
        document = json.loads(record.manifest.decode())
        return record.manifest, {entry["digest"]: self.content[entry["digest"]] for entry in [document["config"]] + document["layers"]}

    def pushed_whole(self, record: Record, reference: Reference) -> t.Tuple[bytes, t.Dict[str, bytes]]:
        """Where no platform is asked for: an index, if all that it names is there; else the one image of it that is."""
        children = [self._child(record, entry["digest"]) for entry in self._children(record)]
        here = [child for child in children if self.complete(child)]
        if not children or len(here) < len(children):
            return self.pushed(here[0] if children else record, reference)
        blobs = {child.id: self.content[child.id] for child in children}
        for child in children:
            blobs.update(self.pushed(child, reference)[1])
        return self.content[record.id], blobs

    def remove(self, text: str, force: bool) -> t.List[t.Dict[str, str]]:
        """A digest of a repository takes all of its tags, and with the last name alone go neither the image of a container nor a
        parent, whatever is said; the rest is Docker's rule.
        """
        names = self.spellings(text)
        if names and "@" in names[0] and names[0] not in self.names:
            record = self.known(text)
            repository = parse_reference(names[0]).name
            gone = [name for name in self.named(record) if parse_reference(name).name == repository]
            untagged = [{"Untagged": familiar(name)} for one in gone for name in self.untag(record, one)]
            return untagged + ([] if self.named(record) else self.deleted(record))
        record = self.known(text)
        users, children = self.users(record), self.children(record)
        if names and self.named(record) == names and (children or users) and (force or not users):
            self.untag(record, names[0])
            return [{"Untagged": familiar(names[0])}] + ([] if users else [{"Deleted": record.id}])
        return super().remove(text, force)

    prunes_parents = False

    def sweep(self) -> t.List[str]:
        """Collect garbage; nothing is said of it."""
        keep: t.Set[str] = set()
        for record in self.records.values():
            keep.update(self._blobs(record))
        self.content = {digest: data for digest, data in self.content.items() if digest in keep}
        chains = self.chains_in_use()
        self.snapshots = {chain: data for chain, data in self.snapshots.items() if chain in chains}
        return []

    def _blobs(self, record: Record) -> t.Set[str]:
        config = {json.loads(record.manifest.decode())["config"]["digest"]} if record.manifest else set()
        named = {record.id, sha256(record.manifest)} | config | {layer["digest"] for layer in self._layers(record)}
        below = [self._blobs(self._child(record, entry["digest"])) for entry in self._children(record)]
        return named.union(*below) & set(self.content)

    # What it shows

    def complete(self, record: Record) -> bool:
        """Whether all blobs are there; an image can run without."""
        return bool(record.raw_config) and all(layer["digest"] in self.content for layer in self._layers(record))

    def _names(self, record: Record) -> t.Tuple[t.List[str], t.List[str]]:
        names = self.named(record)
        repositories = sorted({parse_reference(name).name for name in names})
        return sorted(map(familiar, names)), ["%s@%s" % (familiar(repository), record.id) for repository in repositories]

    def _sizes(self, record: Record) -> t.List[int]:
        return [_usage(self.snapshots[chain]) if chain in self.snapshots else 0 for chain in record.chain_ids]

    def _content_size(self, record: Record) -> int:
        return sum(len(self.content[digest]) for digest in self._blobs(record))

    def _descriptor(self, record: Record) -> Document:
        descriptor: Document = {"mediaType": record.media_type, "digest": record.id, "size": len(self.content.get(record.id, b""))}
        return dict(descriptor, annotations=dict(record.annotations)) if record.annotations else descriptor

    def inspect(self, record: Record, architecture: str = "") -> Document:
        """``architecture`` wants that image of an index."""
        for entry in self._children(record):
            if architecture and entry["platform"]["architecture"] == architecture:
                child = self.inspect(self._child(record, entry["digest"]))
                shown = {key: child[key] for key in ("Id", "Created", "Architecture", "Os", "Config", "RootFS") if key in child}
                return dict(self.inspect(record), **shown)
        tags, digests = self._names(record)
        document: Document = {
            "Id": record.id,
            "RepoTags": tags,
            "RepoDigests": digests,
            "Parent": record.parent,
            "Architecture": "",
            "Os": "",
            "Size": self._content_size(record),
            "GraphDriver": {"Data": None, "Name": "overlayfs"},
            "RootFS": {},
            "Metadata": {"LastTagTime": NO_TIME},
            "Descriptor": self._descriptor(record),
            "Config": {"Cmd": None, "Entrypoint": None, "Env": None, "Labels": None, "User": ""},
        }
        if self.complete(record):
            config = record.config
            document.update(Architecture=config.get("architecture", ""), Os=config.get("os", ""))
            if config.get("created"):
                document["Created"] = config["created"]
            document["Config"].update(config.get("config") or {})
            document["RootFS"] = {"Type": "layers", "Layers": record.diff_ids} if record.diff_ids else {"Type": "layers"}
            if config.get("variant"):
                document["Variant"] = config["variant"]
        return document

    def manifests(self, record: Record) -> t.List[Document]:
        """What ``?manifests=1`` adds to inspect."""
        shown = []
        for entry in self._children(record) or [self._descriptor(record)]:
            child = self._child(record, entry["digest"])
            document = {"ID": child.id, "Descriptor": entry, "Available": self.complete(child), "Size": {"Content": self._content_size(child)}}
            if (entry.get("platform") or {}).get("os") == "unknown":
                shown.append(dict(document, Kind="attestation", AttestationData={}))
            else:
                platform = {key: child.config[key] for key in ("architecture", "os", "variant") if key in child.config} or entry.get("platform")
                shown.append(dict(document, Kind="image", ImageData={"Platform": platform}))
        return shown

    def summaries(self, every: bool) -> t.List[Document]:
        return [self._summary(record) for record in self.records.values() if every or self.named(record) or not self.children(record)]

    def _summary(self, record: Record) -> Document:
        tags, digests = self._names(record)
        whole = self.complete(record)
        return {
            "Containers": 0 if whole else -1,
            "Created": CREATED_SECONDS if whole else 0,
            "Id": record.id,
            "Labels": (record.config.get("config") or {}).get("Labels") if whole else None,
            "ParentId": record.parent,
            "Descriptor": self._descriptor(record),
            "RepoTags": tags,
            "RepoDigests": digests if whole else [record.id],
            "SharedSize": -1,
            "Size": self._content_size(record) + sum(self._sizes(record)),
        }

    def past(self, record: Record) -> t.Optional[t.List[Document]]:
        return self.history(record, self._sizes(record), record.id, self._names(record)[0]) or None

    def export(self, records: t.Sequence[Record]) -> bytes:
        """The blobs as they are, and docker's manifest.json for older readers."""
        entries: t.List[Document] = []
        items = []
        for record in records:
            named = [dict(self._descriptor(record), annotations={"io.containerd.image.name": name}) for name in self.named(record)]
            entries += named or [self._descriptor(record)]
            config = path(json.loads(record.manifest.decode())["config"]["digest"])
            layers = [path(layer["digest"]) for layer in self._layers(record)]
            items.append({"Config": config, "RepoTags": self._names(record)[0] or None, "Layers": layers})
        files = {path(digest): self.content[digest] for digest in sorted(set().union(*map(self._blobs, records)))}
        files["index.json"] = dump({"schemaVersion": 2, "manifests": entries})
        files["manifest.json"] = dump(items)
        files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
        return tar(files)


def _kind(blob: bytes) -> str:
    """How it is compressed."""
    return "zstd" if blob[:4] == ZSTD else "gzip" if blob[:2] == b"\x1f\x8b" else ""


def _usage(layer: bytes) -> int:
    """Disk blocks of a snapshot: its files, and its folders."""
    files = untar(layer)
    folders = {"/".join(name.split("/")[:depth]) for name in files for depth in range(name.count("/") + 1)} | {""}
    return BLOCK * (len(folders) + sum(-(-len(data) // BLOCK) for data in files.values()))
