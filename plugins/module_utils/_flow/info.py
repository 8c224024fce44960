# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Info, step by step: inspect every image side by side, ask for the history of those that are wanted, put it together."""

from __future__ import annotations

import typing as t

from .._engine import layers as _layers
from .._engine import local as _local
from .._engine.engine import CONTAINERD, PODMAN, Engine
from .._engine.local import LocalImage
from .._module import side_by_side
from .._oci import image as _image
from .._oci import named as _named
from .._oci.named import Named
from .._plan.info import ABSENT, FOUND, Storage, file_system, shared_with, weaknesses

Result = t.Dict[str, t.Any]

_MANAGED = "/run/containerd/containerd.sock"
"""Where the containerd of the system listens; a dockerd that starts its own has it elsewhere."""


_NO_TIME = ("", "0001-01-01T00:00:00Z")


class _Wanted(t.NamedTuple):
    spelling: str
    image: t.Optional[LocalImage]


class Info:
    """One task on one host. All images are looked at, whichever are wanted, because any may share a layer."""

    def __init__(self, engine: Engine, parallel: int) -> None:
        self._engine = engine
        self._parallel = parallel
        summaries = {str(summary["Id"]): summary for summary in engine.images(every=True)}
        self._documents = _local.documents(engine, summaries, parallel)
        self._sizes = {image_id: summary.get("Size") for image_id, summary in summaries.items()}
        self._images = {
            image_id: _local.of_inspect(dict(document, Digest=summaries[image_id].get("Digest")), engine.store)
            for image_id, document in self._documents.items()
        }
        chains = {image_id: _image.chain_ids(image.diff_ids) for image_id, image in self._images.items()}
        self._shared = shared_with(chains, {image_id: sorted(image.repo_tags) for image_id, image in self._images.items()})
        parents = {"sha256:" + str(summary.get("ParentId") or "").rpartition(":")[2] for summary in summaries.values()}
        self._between = {image_id for image_id, image in self._images.items() if image_id in parents and not image.repo_tags + image.repo_digests}

    def __call__(self, names: t.Optional[t.Sequence[str]]) -> Result:
        """The task's result for these images, or for all but the intermediate ones of the classic builder."""
        if names is None:
            images = [image for image_id, image in self._images.items() if image_id not in self._between]
            found = [(min(image.repo_tags or (image.image_id,)), t.cast(t.Optional[LocalImage], image)) for image in images]
            found.sort(key=lambda one: one[0])
        else:
            found = [(name, self._find(_named.parse(name))) for name in names]
        result = side_by_side(self._entry, [_Wanted(*one) for one in found], self._parallel, lambda one: one.spelling)
        missing = [entry["reference"] for entry in result["images"] if entry["action"] == ABSENT]
        result["images"] = [entry for entry in result["images"] if entry["action"] != ABSENT]
        return dict(result, missing=missing if names is not None else [], **self._host())

    def _find(self, name: Named) -> t.Optional[LocalImage]:
        image = _local.local(self._engine, name)
        return image if image and image.image_id in self._documents else None

    def _entry(self, wanted: _Wanted) -> Result:
        past = _layers.history(self._engine, wanted.image.image_id) if wanted.image else None
        if wanted.image is None or past is None:
            return {"reference": wanted.spelling, "changed": False, "action": ABSENT}
        image, document = wanted.image, self._documents[wanted.image.image_id]
        shared = self._shared[image.image_id]
        return {
            "reference": wanted.spelling,
            "image_id": image.image_id,
            "digest": image.digest,
            "config_digest": image.config_digest,
            "changed": False,
            "action": FOUND,
            "tags": sorted(image.repo_tags),
            "digests": sorted(image.repo_digests),
            "platform": str(image.platform) if image.complete else None,
            "complete": image.complete,
            "created": document.get("Created") if document.get("Created") not in _NO_TIME else None,
            "size": self._sizes.get(image.image_id),
            "labels": (document.get("Config") or {}).get("Labels") or {},
            "layers": [dict(layer._asdict(), shared_with=shared[layer.chain_id]) for layer in _layers.layers(document, past)],
        }

    def _host(self) -> Result:
        """What is said of the host beside its images."""
        engine = self._engine
        storage = _storage(engine)
        return {
            "store": engine.store,
            "engine": {
                "name": "Podman" if engine.store == PODMAN else "Docker",
                "version": engine.info.get("ServerVersion"),
                "api": "%d.%d" % engine.api,
                "url": engine.url,
            },
            "storage": {"driver": storage.driver, "backing_file_system": storage.file_system, "root": storage.root},
            "weaknesses": weaknesses(storage),
        }


def _storage(engine: Engine) -> Storage:
    info, details = engine.info, engine.driver_status
    root = info.get("DockerRootDir") or None
    if engine.store == CONTAINERD and root:
        address = (info.get("Containerd") or {}).get("Address")
        root = "/var/lib/containerd" if address == _MANAGED else root + "/containerd/daemon"
    below = details.get("Backing Filesystem")
    if not below and root and engine.url.startswith("unix://"):
        below = _seen_below(root)
    return Storage(engine.store, str(info.get("Driver") or ""), below or None, root, details, engine.api)


def _seen_below(root: str) -> t.Optional[str]:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
            return file_system(root, stream.read())
    except OSError:
        return None
