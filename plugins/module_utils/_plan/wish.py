# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wish of image_load: images in all that is known of them but their bytes, which travels from the controller to the host as JSON."""

from __future__ import annotations

import typing as t

from .._errors import ImageNotInArchive
from .._oci import platform as _platform
from .._oci.choice import advice
from .._oci.digest import Digest
from .._oci.holdings import Layer
from .._oci.manifest import Descriptor


class Variant(t.NamedTuple):
    """One platform of a wanted image: everything but the bytes."""

    platform: _platform.Platform
    manifest: Descriptor
    config: Descriptor
    fingerprint: str
    layers: t.Tuple[Layer, ...]

    @property
    def diff_ids(self) -> t.List[Digest]:
        return [layer.diff_id for layer in self.layers]


class Wanted(t.NamedTuple):
    """An image and the references that shall name it on the host, spelled as the user or the archive did."""

    label: str
    references: t.Tuple[str, ...]
    variants: t.Tuple[Variant, ...]
    absent: t.Tuple[str, ...]

    def json(self) -> t.Dict[str, t.Any]:
        variants = [
            {
                "platform": list(variant.platform),
                "manifest": variant.manifest.json(),
                "config": variant.config.json(),
                "fingerprint": variant.fingerprint,
                "layers": [dict(layer.descriptor.json(), diff_id=str(layer.diff_id)) for layer in variant.layers],
            }
            for variant in self.variants
        ]
        return {"label": self.label, "references": list(self.references), "variants": variants, "absent": list(self.absent)}

    @classmethod
    def parse(cls, document: t.Mapping[str, t.Any]) -> Wanted:
        label = document["label"]
        variants = tuple(
            Variant(
                _platform.Platform(*variant["platform"]),
                Descriptor.parse(variant["manifest"], label),
                Descriptor.parse(variant["config"], label),
                variant["fingerprint"],
                tuple(Layer(Descriptor.parse(layer, label), Digest.parse(layer["diff_id"])) for layer in variant["layers"]),
            )
            for variant in document["variants"]
        )
        return cls(label, tuple(document["references"]), variants, tuple(document["absent"]))


def choose(wanted: Wanted, host: _platform.Platform, platform: t.Optional[_platform.Platform]) -> Variant:
    """The variant for this host, or for the platform that the user asked for; raises ImageNotInArchive."""
    target = platform or host
    ranked = sorted(
        (0 if not variant.platform.architecture else t.cast(int, target.rank(variant.platform)), position)
        for position, variant in enumerate(wanted.variants)
        if not variant.platform.architecture or target.rank(variant.platform) is not None
    )
    if ranked:
        return wanted.variants[ranked[0][1]]
    there = ", ".join(str(variant.platform) for variant in wanted.variants)
    lacking = "; its index names %s, which the archive lacks" % ", ".join(wanted.absent) if wanted.absent else ""
    todo = ""
    if there:
        todo = ": " + (advice(named=True) if platform else "to load it all the same, give platform: %s" % (wanted.variants[0].platform,))
    raise ImageNotInArchive(
        "%s is in the archive for %s, not for %s%s%s%s"
        % (wanted.label, there or "no platform", target, "" if platform else ", which this host runs", lacking, todo)
    )
