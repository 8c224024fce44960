# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks move: an image of ten layers of 40 MB that no compression makes smaller, the same in every run."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import urllib.parse
from typing import Any, NamedTuple

import engines
import requests

LAYERS = 10
LAYER_BYTES = 40_000_000
TYPES = "application/vnd.oci.image."
MANIFEST = TYPES + "manifest.v1+json"


class Image(NamedTuple):
    """An image whose blobs a registry has."""

    manifest: bytes


def push(registry: engines.Registry, repository: str) -> tuple[Image, Image]:
    """Have the image in the repository, and another one that differs in the last layer; tags are for `tag`."""
    layers = [put_layer(registry, repository, f"layer {number}") for number in range(LAYERS)]
    other = put_layer(registry, repository, "another last layer")
    return put_image(registry, repository, layers), put_image(registry, repository, [*layers[:-1], other])


def tag(registry: engines.Registry, name: str, image: Image) -> None:
    """Let `repository:tag` be the image, whose blobs the repository has."""
    headers = {"Content-Type": MANIFEST}
    requests.put(_manifest(registry, name), data=image.manifest, headers=headers, timeout=60).raise_for_status()


def mount(registry: engines.Registry, source: str, name: str, image: Image) -> None:
    """Have the image as `repository:tag` too, from the repository `source` of the same registry; no blob moves."""
    repository = name.partition(":")[0]
    manifest = json.loads(image.manifest)
    for blob in [manifest["config"], *manifest["layers"]]:
        asked = {"mount": blob["digest"], "from": source}
        answer = requests.post(f"{registry.url}/v2/{repository}/blobs/uploads/", params=asked, timeout=60)
        assert answer.status_code == 201, answer.text
    tag(registry, name, image)


def proved(registry: engines.Registry, name: str, image: Image) -> None:
    """Hold that `repository:tag` names the image."""
    answer = requests.head(_manifest(registry, name), headers={"Accept": MANIFEST}, timeout=60)
    found = answer.headers.get("Docker-Content-Digest")
    assert found == digest(image.manifest), f"{name}: HTTP {answer.status_code}, {found}"


def put(registry: engines.Registry, repository: str, blob: bytes, media_type: str) -> dict[str, Any]:
    """Have the blob in the repository; its descriptor."""
    url = f"{registry.url}/v2/{repository}/blobs/uploads/"
    upload = requests.post(url, timeout=60)
    where = urllib.parse.urljoin(url, upload.headers["Location"])
    requests.put(where, params={"digest": digest(blob)}, data=blob, timeout=60).raise_for_status()
    return {"mediaType": media_type, "digest": digest(blob), "size": len(blob)}


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def put_layer(registry: engines.Registry, repository: str, seed: str, size: int = LAYER_BYTES) -> tuple[str, dict[str, Any]]:
    """A layer in the repository: its diff ID and its descriptor."""
    data = hashlib.shake_128(seed.encode()).digest(size)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo(seed.replace(" ", "-"))
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    # Level 0 only wraps: the data has no redundancy that another one could find.
    blob = gzip.compress(packed.getvalue(), compresslevel=0, mtime=0)
    return digest(packed.getvalue()), put(registry, repository, blob, TYPES + "layer.v1.tar+gzip")


def put_image(registry: engines.Registry, repository: str, layers: list[tuple[str, dict[str, Any]]]) -> Image:
    config = {
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/app"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for diff_id, _descriptor in layers]},
    }
    described = put(registry, repository, json.dumps(config).encode(), TYPES + "config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": [descriptor for _diff_id, descriptor in layers]}
    return Image(json.dumps(manifest).encode())


def _manifest(registry: engines.Registry, name: str) -> str:
    repository, _colon, key = name.partition(":")
    return f"{registry.url}/v2/{repository}/manifests/{key}"
