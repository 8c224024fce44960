# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real images, made in memory, and the shapes in which the world writes them to disk.

    base = layer({"etc/os-release": b"ID=test"})
    app = image([base, layer({"app/run": b"1"}, "gzip")], names=["app:1"], config={"Cmd": ["/app/run"]})
    write_docker_archive(tmp_path / "app.tar", [app])
    write_layout(tmp_path / "bundle", [app, index([app, other], names=["multi:1"])])

Knows nothing of the collection's own code, so that it can judge it. The same arguments make the same bytes.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import subprocess
import tarfile
import typing as t
from pathlib import Path

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."

COMPRESSIONS = ("gzip", "bzip2", "xz", "zstd")


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def dump(document: t.Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def compress(data: bytes, kind: str) -> bytes:
    """``kind`` is one of COMPRESSIONS; an empty one leaves data as it is."""
    if kind == "gzip":
        return _gzip(data)
    if kind == "bzip2":
        return bz2.compress(data)
    if kind == "xz":
        return lzma.compress(data)
    if kind == "zstd":
        return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


def _gzip(data: bytes) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed:
        packed.write(data)
    return out.getvalue()


def tar(files: t.Mapping[str, t.Union[bytes, str, None, tarfile.TarInfo]], form: t.Optional[int] = None) -> bytes:
    """A tar of these members: bytes are a file, text is a symbolic link to it, None a folder, a TarInfo is itself.

    In the ustar form, or GNU's for long names, if ``form`` is not given.
    """
    if form is None:
        form = tarfile.GNU_FORMAT if any(len(name) > 100 for name in files) else tarfile.USTAR_FORMAT
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, tarfile.TarInfo):
                member = content
            elif content is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


class Layer(t.NamedTuple):
    """``tar`` as unpacked, ``blob`` as stored; ``kind`` of compression lies between them."""

    tar: bytes
    blob: bytes
    kind: str

    @property
    def diff_id(self) -> str:
        return sha256(self.tar)

    @property
    def digest(self) -> str:
        return sha256(self.blob)

    def descriptor(self, docker: bool = False) -> t.Dict[str, t.Any]:
        if docker:
            media_type = DOCKER + "image.rootfs.diff.tar" + (".%s" % self.kind if self.kind else "")
        else:
            media_type = OCI + "layer.v1.tar" + ("+%s" % self.kind if self.kind else "")
        return {"mediaType": media_type, "digest": self.digest, "size": len(self.blob)}


def layer(files: t.Mapping[str, t.Union[bytes, str, None]], kind: str = "") -> Layer:
    data = tar(files)
    return Layer(data, compress(data, kind), kind)


class Made(t.NamedTuple):
    """An image, or anything else that has a manifest: see ``artifact``. ``platform`` is what an index says of it."""

    names: t.Tuple[str, ...]
    layers: t.Tuple[Layer, ...]
    config: bytes
    manifest: bytes
    platform: t.Mapping[str, str]
    annotations: t.Mapping[str, str]

    @property
    def config_digest(self) -> str:
        return sha256(self.config)

    @property
    def digest(self) -> str:
        return sha256(self.manifest)

    @property
    def diff_ids(self) -> t.List[str]:
        return [one.diff_id for one in self.layers]

    @property
    def blobs(self) -> t.Dict[str, bytes]:
        """Everything that a layout keeps of it, by digest."""
        return dict({one.digest: one.blob for one in self.layers}, **{self.config_digest: self.config, self.digest: self.manifest})

    def descriptor(self) -> t.Dict[str, t.Any]:
        media_type = json.loads(self.manifest)["mediaType"]
        return {"mediaType": media_type, "digest": self.digest, "size": len(self.manifest)}


def image(
    layers: t.Sequence[Layer],
    names: t.Sequence[str] = (),
    platform: str = "linux/amd64",
    docker: bool = False,
    config: t.Optional[t.Mapping[str, t.Any]] = None,
    created: t.Optional[str] = "2024-05-01T10:00:00Z",
    **more: t.Any
) -> Made:
    """``docker`` is for Docker's media types; ``config`` what a container runs with; ``more`` goes to the config's top level."""
    facts = dict(zip(("os", "architecture", "variant"), platform.split("/")))
    document = dict(facts, config=dict(config or {}), rootfs={"type": "layers", "diff_ids": [one.diff_id for one in layers]}, **more)
    if created is not None:
        document["created"] = created
    raw = dump(document)
    types = ("distribution.manifest.v2+json", "container.image.v1+json") if docker else ("manifest.v1+json", "config.v1+json")
    manifest_type, config_type = [(DOCKER if docker else OCI) + kind for kind in types]
    manifest = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": {"mediaType": config_type, "digest": sha256(raw), "size": len(raw)},
        "layers": [one.descriptor(docker) for one in layers],
    }
    return Made(tuple(names), tuple(layers), raw, dump(manifest), facts, {})


def artifact(names: t.Sequence[str] = (), config_type: str = "application/vnd.cncf.helm.config.v1+json", **more: t.Any) -> Made:
    """Something else than an image that registries and layouts hold, such as a Helm chart; ``more`` goes to its manifest."""
    config = b"{}"
    content = Layer(b"chart", b"chart", "")
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI + "manifest.v1+json",
        "config": {"mediaType": config_type, "digest": sha256(config), "size": len(config)},
        "layers": [{"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "digest": content.digest, "size": len(content.blob)}],
    }
    return Made(tuple(names), (content,), config, dump(dict(manifest, **more)), {}, {})


def attestation(of: Made) -> Made:
    """What BuildKit puts beside an image in its index: provenance, in the shape of an image for no platform."""
    statement = layer({"provenance.json": b"{}"})
    made = image([statement], platform="unknown/unknown", created=None)
    return made._replace(annotations={"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": of.digest})


class MadeIndex(t.NamedTuple):
    """``lacking`` children are named and not there."""

    names: t.Tuple[str, ...]
    children: t.Tuple[t.Any, ...]
    lacking: t.Tuple[Made, ...]
    raw: bytes

    @property
    def digest(self) -> str:
        return sha256(self.raw)

    @property
    def blobs(self) -> t.Dict[str, bytes]:
        return dict({digest: data for child in self.children for digest, data in child.blobs.items()}, **{self.digest: self.raw})

    def descriptor(self) -> t.Dict[str, t.Any]:
        return {"mediaType": json.loads(self.raw)["mediaType"], "digest": self.digest, "size": len(self.raw)}


def index(children: t.Sequence[t.Any], names: t.Sequence[str] = (), lacking: t.Sequence[Made] = (), docker: bool = False) -> MadeIndex:
    """An index of images, attestations and further indexes; ``docker`` makes it a manifest list."""
    entries = [_entry(child, {}) for child in list(children) + list(lacking)]
    media_type = DOCKER + "distribution.manifest.list.v2+json" if docker else OCI + "index.v1+json"
    raw = dump({"schemaVersion": 2, "mediaType": media_type, "manifests": entries})
    return MadeIndex(tuple(names), tuple(children), tuple(lacking), raw)


def layout(
    items: t.Sequence[t.Union[Made, MadeIndex]],
    annotate: str = "both",
    docker: bool = False,
    flat: bool = False,
    without: t.Container[str] = (),
) -> t.Dict[str, bytes]:
    """The files of an OCI image layout, by name.

    ``annotate`` says how index.json tells names: ``containerd`` (whole name), ``oci`` (ref.name holds the whole name),
    ``both`` (ref.name holds the tag alone), or an empty string. ``docker`` adds manifest.json, as docker save does
    since 25. ``flat`` lists the children of an index in index.json. ``without`` are digests of blobs to leave out.
    """
    entries: t.List[t.Dict[str, t.Any]] = []
    blobs: t.Dict[str, bytes] = {}
    for item in items:
        parts = item.children if flat and isinstance(item, MadeIndex) else (item,)
        for name in item.names or (None,):
            entries.extend(_entry(part, _annotations(name, annotate)) for part in parts)
        for part in parts:
            blobs.update(part.blobs)
    files = {path(digest): data for digest, data in sorted(blobs.items()) if digest not in without}
    files["index.json"] = dump({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": entries})
    if docker:
        files["manifest.json"] = dump(
            [
                {"Config": path(one.config_digest), "RepoTags": list(one.names) or None, "Layers": [path(two.digest) for two in one.layers]}
                for one in items
                if isinstance(one, Made)
            ]
        )
    files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    return files


def write_layout(where: t.Union[str, Path], items: t.Sequence[t.Union[Made, MadeIndex]], **how: t.Any) -> Path:
    """A layout as a folder, or as a tar if ``where`` ends in .tar; see ``layout`` for ``how``."""
    return write(where, layout(items, **how))


def docker_archive(images: t.Sequence[Made], writer: str = "docker") -> t.Dict[str, t.Union[bytes, str, None]]:
    """The files of a docker archive, as ``docker`` 20.10 (a folder for each layer, links to those that were written before),
    ``podman`` and skopeo (a file for each, links for readers of the older form) or ``crane`` (compressed layers) write it.
    """
    files: t.Dict[str, t.Union[bytes, str, None]] = {}
    items: t.List[t.Dict[str, t.Any]] = []
    repositories: t.Dict[str, t.Dict[str, str]] = {}
    written: t.Dict[str, str] = {}
    for one in images:
        names, chain = [], ""
        for two in one.layers:
            chain = sha256((chain + two.diff_id).encode()).partition(":")[2]
            if writer == "docker":
                names.append(chain + "/layer.tar")
                files.setdefault(chain + "/", None)
                files.setdefault(chain + "/VERSION", b"1.0")
                files.setdefault(chain + "/json", dump({"id": chain, "os": "linux"}))
                files.setdefault(names[-1], "../" + written[two.diff_id] if two.diff_id in written else two.tar)
                written.setdefault(two.diff_id, names[-1])
            elif writer == "podman":
                names.append(two.diff_id.partition(":")[2] + ".tar")
                files.setdefault(names[-1], two.tar)
                files.setdefault(chain + "/layer.tar", "../" + names[-1])
            else:
                names.append(two.digest.partition(":")[2] + ".tar.gz")
                files.setdefault(names[-1], two.blob)
        config = one.config_digest if writer == "crane" else one.config_digest.partition(":")[2] + ".json"
        files[config] = one.config
        items.append({"Config": config, "RepoTags": list(one.names) or None, "Layers": names})
        for name in one.names:
            repository, _colon, tag = name.rpartition(":")
            repositories.setdefault(repository, {})[tag] = chain
    files["manifest.json"] = dump(items)
    if writer == "docker":
        files["repositories"] = dump(repositories)
    return files


def write_docker_archive(where: t.Union[str, Path], images: t.Sequence[Made], writer: str = "docker") -> Path:
    """See ``docker_archive``; a tar, or a folder if ``where`` does not end in .tar."""
    return write(where, docker_archive(images, writer))


def write(where: t.Union[str, Path], files: t.Mapping[str, t.Union[bytes, str, None]]) -> Path:
    """These members as a tar if ``where`` ends in .tar, else as a folder."""
    where = Path(where)
    if where.suffix == ".tar":
        where.write_bytes(tar(files))
        return where
    for name, content in files.items():
        target = where / name
        (target if content is None else target.parent).mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            target.symlink_to(content)
        elif content is not None:
            target.write_bytes(content)
    return where


def pack(archive: Path, kind: str) -> Path:
    """Compress a tar beside itself."""
    packed = Path("%s.%s" % (archive, kind))
    packed.write_bytes(compress(archive.read_bytes(), kind))
    return packed


def path(digest: str) -> str:
    """Where a layout keeps a blob."""
    return "blobs/" + digest.replace(":", "/")


def _entry(child: t.Union[Made, MadeIndex], annotations: t.Mapping[str, str]) -> t.Dict[str, t.Any]:
    entry = child.descriptor()
    if isinstance(child, Made):
        annotations = dict(child.annotations, **annotations)
        if child.platform:
            entry["platform"] = dict(child.platform)
    if annotations:
        entry["annotations"] = dict(annotations)
    return entry


def _annotations(name: t.Optional[str], how: str) -> t.Dict[str, str]:
    if name is None or not how:
        return {}
    found = {}
    if how in ("both", "containerd"):
        found["io.containerd.image.name"] = name
    if how in ("both", "oci"):
        found["org.opencontainers.image.ref.name"] = name if how == "oci" else name.rpartition(":")[2]
    return found
