# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between the stores: what they hold, what an ID is, and what they can read."""

from __future__ import annotations

import typing as t

from .._errors import InvalidReference
from .._oci import image as _image
from .._oci import reference as _reference
from .._oci.holdings import ChainHoldings, DescriptorHoldings, DiffIdHoldings, Holdings, noted
from .._oci.manifest import OCI_LAYER, Descriptor, oci_type
from . import local
from .engine import CLASSIC, CONTAINERD, PODMAN, Engine

Inspects = t.List[t.Dict[str, t.Any]]

PARALLEL = 8
"""Calls at once; more were measured not to make an engine answer sooner."""

_STRIKES = 2
"""Push probes that come to nothing before no more are tried: then this engine does not reach our loopback."""


def listed(engine: Engine) -> t.Tuple[Inspects, t.List[str]]:
    """All images: those of which the list tells as much as an inspect, in its shape, and the IDs of all others.

    What we loaded into the containerd store is of the first kind.
    """
    summaries = {str(summary["Id"]): summary for summary in engine.images(every=engine.store != CONTAINERD)}
    told = {image_id: document for image_id, document in ((key, _told(summary)) for key, summary in summaries.items()) if document}
    return list(told.values()), [image_id for image_id in summaries if image_id not in told]


def inspects(engine: Engine, names: t.Iterable[str]) -> t.Dict[str, t.Dict[str, t.Any]]:
    """Documents by the name or ID asked for; what is not there, or vanishes meanwhile, is left out."""
    return local.documents(engine, dict.fromkeys(names), PARALLEL)


def _told(summary: t.Mapping[str, t.Any]) -> t.Optional[t.Dict[str, t.Any]]:
    """None for an image that is not ours, and for one whose blobs are not all there: it has its bare ID for a RepoDigest."""
    layers = noted((summary.get("Descriptor") or {}).get("annotations"))
    if not layers or summary["Id"] in (summary.get("RepoDigests") or []):
        return None
    return dict(summary, RootFS={"Layers": [diff_id for diff_id, _descriptor in layers]})


KINDS: t.Mapping[str, t.Any] = {CLASSIC: ChainHoldings, PODMAN: DiffIdHoldings, CONTAINERD: DescriptorHoldings}


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
    from . import probe  # late: most runs need no HTTP server

    known: t.Dict[str, Descriptor] = {}
    whole = [document for document in inspects if _diff_ids(document)]
    for document in whole:
        known.update(noted((document.get("Descriptor") or {}).get("annotations")))
    strikes = 0
    for document in sorted(whole, key=lambda document: -len(wanted.intersection(_diff_ids(document)))):
        diff_ids = _diff_ids(document)
        if not wanted.intersection(diff_ids).difference(known) or not _survives(engine, document):
            continue
        layers = probe.blobs(engine, str(document["Id"]), local.of_inspect(document, engine.store).platform)
        if len(layers) == len(diff_ids):
            known.update((diff_id, layer) for diff_id, layer in zip(diff_ids, layers) if diff_id not in known)
            strikes = 0
        else:
            strikes += 1
        if strikes == _STRIKES:
            break
    return known


def _survives(engine: Engine, document: t.Mapping[str, t.Any]) -> bool:
    """Whether an image stays as it is when a tag is given to it and taken away.

    Docker deletes an image with its last name, and with any name those that are not in canonical form, which a load can
    leave behind; no look-up finds these.
    """
    names = (document.get("RepoTags") or []) or (document.get("RepoDigests") or [])
    return bool(names) and all(_found(engine, name) == document["Id"] for name in names)


def _found(engine: Engine, name: str) -> t.Optional[str]:
    try:
        return str((engine.inspect(str(_reference.parse(name))) or {}).get("Id"))
    except InvalidReference:
        return None


def loaded_id(store: str, config_digest: str, manifest_digest: str) -> str:
    """Under which ID a store shows an image that was loaded with this config and manifest."""
    return manifest_digest if store == CONTAINERD else config_digest


def expands(engine: Engine, media_type: str) -> bool:
    """Whether a layer of this type must reach this engine uncompressed: Docker reads zstd from API 1.42 on."""
    kind = oci_type(media_type).rpartition("+")[2]
    return kind in ("xz", "bzip2") or (kind == "zstd" and engine.store == CLASSIC and engine.api < (1, 42))


def described(engine: Engine, layer: Descriptor) -> Descriptor:
    """How a layer that is sent is spoken of: Podman 4 reads zstd, whatever its type, and saves no image that speaks of it."""
    if engine.store == PODMAN and engine.libpod < (5, 0) and oci_type(layer.media_type).endswith("+zstd"):
        return layer._replace(media_type=OCI_LAYER)
    return layer


def _diff_ids(document: t.Mapping[str, t.Any]) -> t.List[str]:
    return list((document.get("RootFS") or {}).get("Layers") or [])
