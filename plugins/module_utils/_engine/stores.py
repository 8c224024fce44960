# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between the stores: what they hold, what an ID is, and what they can read."""

from __future__ import annotations

import concurrent.futures
import typing as t

from .._oci import image as _image
from .._oci.holdings import ChainHoldings, DescriptorHoldings, DiffIdHoldings, Holdings, described
from .._oci.manifest import Descriptor
from . import probe
from .engine import CLASSIC, CONTAINERD, PODMAN, Engine

Inspects = t.List[t.Dict[str, t.Any]]


def survey(engine: Engine) -> Inspects:
    """Inspect every image, eight at a time; one that vanishes meanwhile is left out."""
    ids = list(dict.fromkeys(str(summary["Id"]) for summary in engine.images(every=engine.store == CLASSIC)))
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        return [document for document in pool.map(engine.inspect, ids) if document]


def holdings(engine: Engine, inspects: Inspects, wanted: t.Iterable[str]) -> Holdings:
    """What the host holds of the diff IDs ``wanted``, in the store's own terms."""
    if engine.store == CLASSIC:
        chains = (chain for document in inspects for chain in _image.chain_ids(_diff_ids(document)))
        return ChainHoldings(frozenset(chains))
    if engine.store == PODMAN:
        return DiffIdHoldings(frozenset(diff_id for document in inspects for diff_id in _diff_ids(document)))
    return DescriptorHoldings(_descriptors(engine, inspects, set(wanted)))


def _descriptors(engine: Engine, inspects: Inspects, wanted: t.Set[str]) -> t.Dict[str, Descriptor]:
    """From our annotations; what they leave open is asked by push probes, of as few images as cover it."""
    known: t.Dict[str, Descriptor] = {}
    for document in inspects:
        known.update(described((document.get("Descriptor") or {}).get("annotations")))
    by_use = sorted(inspects, key=lambda document: -len(wanted.intersection(_diff_ids(document))))
    for document in by_use:
        diff_ids = _diff_ids(document)
        if not wanted.intersection(diff_ids).difference(known):
            continue
        layers = probe.blobs(engine, str(document["Id"]), engine.platform)
        if len(layers) == len(diff_ids):
            known.update((diff_id, layer) for diff_id, layer in zip(diff_ids, layers) if diff_id not in known)
    return known


def loaded_id(store: str, config_digest: str, manifest_digest: str) -> str:
    """Under which ID a store shows an image that was loaded with this config and manifest."""
    return manifest_digest if store == CONTAINERD else config_digest


def expands(engine: Engine, media_type: str) -> bool:
    """Whether a layer of this type must reach this engine uncompressed: Docker reads zstd from API 1.42 on."""
    return media_type.endswith(("+xz", "+bzip2")) or (media_type.endswith("+zstd") and engine.store == CLASSIC and engine.api < (1, 42))


def _diff_ids(document: t.Mapping[str, t.Any]) -> t.List[str]:
    return list((document.get("RootFS") or {}).get("Layers") or [])
