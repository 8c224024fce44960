# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holdings: what a host already has, in its store's own terms.

The classic store knows chains, Podman diff IDs, the containerd store blobs; all are asked the same question, and answer
with the descriptor by which an archive may name a layer that it leaves out.
"""

from __future__ import annotations

import json
import typing as t

from .._errors import InvalidInput
from . import image as _image
from .digest import Digest
from .manifest import OCI_LAYER, Descriptor

CONFIG_KEY = "io.stowage.config.digest"
LAYERS_KEY = "io.stowage.layers"
"""Annotations of the index entry of what we load; the containerd store of Docker 28 and later hands them back."""


class Layer(t.NamedTuple):
    """``descriptor`` of the archive's blob; its size is 0 and its digest the diff ID where the archive lacks it."""

    descriptor: Descriptor
    diff_id: Digest


class Holdings(t.Protocol):
    """One question to all stores."""

    def held(self, layers: t.Sequence[Layer]) -> t.List[t.Optional[Descriptor]]:
        """For each layer the descriptor by which the store knows it, or None if it must be sent."""

    def plus(self, layers: t.Sequence[Layer], described: t.Sequence[Descriptor]) -> Holdings:
        """What is held once an image of these layers is there."""

    def json(self, images: t.Iterable[t.Sequence[Layer]]) -> t.Dict[str, t.Any]:
        """As much of it as ``held`` needs for images of these layers; ``parse`` reads it."""


class ChainHoldings(t.NamedTuple):
    """The classic store knows a layer only on top of what it lay on: the longest prefix that is a known chain."""

    chain_ids: t.FrozenSet[str]

    def held(self, layers: t.Sequence[Layer]) -> t.List[t.Optional[Descriptor]]:
        chain = _image.chain_ids(layer.diff_id for layer in layers)
        known = 0
        while known < len(chain) and chain[known] in self.chain_ids:
            known += 1
        return [layer.descriptor if position < known else None for position, layer in enumerate(layers)]

    def plus(self, layers: t.Sequence[Layer], described: t.Sequence[Descriptor]) -> ChainHoldings:
        return ChainHoldings(self.chain_ids | set(_image.chain_ids(layer.diff_id for layer in layers)))

    def json(self, images: t.Iterable[t.Sequence[Layer]]) -> t.Dict[str, t.Any]:
        chains = (chain for layers in images for chain in _image.chain_ids(layer.diff_id for layer in layers))
        return {str(chain): None for chain in chains if chain in self.chain_ids}

    @classmethod
    def parse(cls, document: t.Mapping[str, t.Any]) -> ChainHoldings:
        return cls(frozenset(document))


class DiffIdHoldings(t.NamedTuple):
    """Podman knows a layer by its diff ID wherever it lies, and believes any size."""

    diff_ids: t.FrozenSet[str]

    def held(self, layers: t.Sequence[Layer]) -> t.List[t.Optional[Descriptor]]:
        return [
            Descriptor(OCI_LAYER, layer.diff_id, layer.descriptor.size) if layer.diff_id in self.diff_ids else None for layer in layers
        ]

    def plus(self, layers: t.Sequence[Layer], described: t.Sequence[Descriptor]) -> DiffIdHoldings:
        return DiffIdHoldings(self.diff_ids | {layer.diff_id for layer in layers})

    def json(self, images: t.Iterable[t.Sequence[Layer]]) -> t.Dict[str, t.Any]:
        return {str(layer.diff_id): None for layers in images for layer in layers if layer.diff_id in self.diff_ids}

    @classmethod
    def parse(cls, document: t.Mapping[str, t.Any]) -> DiffIdHoldings:
        return cls(frozenset(document))


class DescriptorHoldings(t.NamedTuple):
    """The containerd store knows blobs: the host's own descriptor of each diff ID must be used to the letter."""

    descriptors: t.Mapping[str, Descriptor]

    def held(self, layers: t.Sequence[Layer]) -> t.List[t.Optional[Descriptor]]:
        return [self.descriptors.get(layer.diff_id) for layer in layers]

    def plus(self, layers: t.Sequence[Layer], described: t.Sequence[Descriptor]) -> DescriptorHoldings:
        more: t.Dict[str, Descriptor] = {layer.diff_id: descriptor for layer, descriptor in zip(layers, described)}
        return DescriptorHoldings(dict(more, **self.descriptors))

    def json(self, images: t.Iterable[t.Sequence[Layer]]) -> t.Dict[str, t.Any]:
        wanted = {layer.diff_id for layers in images for layer in layers}
        return {str(diff_id): descriptor.json() for diff_id, descriptor in self.descriptors.items() if diff_id in wanted}

    @classmethod
    def parse(cls, document: t.Mapping[str, t.Any]) -> DescriptorHoldings:
        return cls({diff_id: Descriptor.parse(one, diff_id) for diff_id, one in document.items()})


def noted(annotations: t.Optional[t.Mapping[str, str]]) -> t.List[t.Tuple[str, Descriptor]]:
    """Diff ID and descriptor of each layer from the annotation of an image that we loaded; nothing for any other."""
    try:
        rows = json.loads((annotations or {}).get(LAYERS_KEY, "[]"))
        return [(diff_id, Descriptor(media_type, Digest.parse(digest), int(size))) for diff_id, media_type, digest, size in rows]
    except (ValueError, TypeError, InvalidInput):
        return []


def described(annotations: t.Optional[t.Mapping[str, str]]) -> t.Dict[str, Descriptor]:
    """Descriptors by diff ID; see ``noted``."""
    return dict(noted(annotations))


def notes(config_digest: str, diff_ids: t.Iterable[str], layers: t.Iterable[Descriptor]) -> t.Dict[str, str]:
    """What ``noted`` reads back, and which config this is."""
    rows = [[diff_id, layer.media_type, layer.digest, layer.size] for diff_id, layer in zip(diff_ids, layers)]
    return {CONFIG_KEY: config_digest, LAYERS_KEY: json.dumps(rows, separators=(",", ":"))}
