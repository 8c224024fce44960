# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load: which images a host keeps, tags or loads, and which layers of them it must be sent.

A wish is compared on the host with what the store says of itself. Stores answer in their own terms, so there is one kind of
holdings for each; all are asked the same question.
"""

from __future__ import annotations

import typing as t

from .._errors import ArchiveError
from .._oci import image as _image
from .._oci.digest import Digest
from .._oci.holdings import CONFIG_KEY, Holdings, Layer
from .._oci.manifest import OCI_LAYER, Descriptor
from .wish import Variant, Wanted

if t.TYPE_CHECKING:  # a host to which blobs are sent need not know how to read archives
    from .._oci.archive import Archive


# Which image is there


class Local(t.NamedTuple):
    """An image on the host and whether it is the wanted one."""

    image_id: str
    same: bool


def same(document: t.Mapping[str, t.Any], variant: Variant, by_content: bool) -> bool:
    """Whether what an engine shows is exactly this image.

    By ID where that is the config's digest (classic, Podman) or the manifest's (containerd store). ``by_content`` is for the
    containerd store, whose ID says little: there our annotation counts, and last everything that it shows of the config.
    """
    layers = (document.get("RootFS") or {}).get("Layers") or []
    if list(layers) != variant.diff_ids:
        return False
    if document.get("Id") in (variant.config.digest, variant.manifest.digest):
        return True
    if not by_content:
        return False
    descriptor = document.get("Descriptor") or {}
    annotation = (descriptor.get("annotations") or {}).get(CONFIG_KEY)
    if annotation:
        return bool(annotation == variant.config.digest)
    return _image.fingerprint_of_inspect(document) == variant.fingerprint


# The plan


class Part(t.NamedTuple):
    """A layer of an image that is loaded: ``held`` is the host's descriptor of it, or None if it is sent.

    ``expand`` says that it must be sent uncompressed, because this engine does not read its compression.
    """

    layer: Layer
    held: t.Optional[Descriptor]
    expand: bool

    @property
    def blob(self) -> Digest:
        """The digest of the bytes that are sent."""
        return self.layer.diff_id if self.expand else self.layer.descriptor.digest


class Step(t.NamedTuple):
    """What is done for one image: ``action`` is ``kept``, ``tagged`` or ``loaded``.

    ``moves`` are the references to set, each with the image ID that it names now or None; ``image_id`` is the present
    image for ``kept`` and ``tagged``; ``parts`` are the layers for ``loaded``.
    """

    wanted: Wanted
    variant: Variant
    action: str
    moves: t.Tuple[t.Tuple[str, t.Optional[str]], ...]
    image_id: t.Optional[str]
    parts: t.Tuple[Part, ...]

    @property
    def sent(self) -> t.Tuple[Part, ...]:
        return tuple(part for part in self.parts if part.held is None)


def plan(
    images: t.Sequence[t.Tuple[Wanted, Variant]],
    named: t.Mapping[str, t.Optional[Local]],
    present: t.Mapping[str, str],
    holdings: t.Optional[Holdings],
    expands: t.Callable[[str], bool],
    distrusted: t.Container[str] = (),
) -> t.List[Step]:
    """The steps, in the order of the wish.

    ``named``: by reference, what it names now. ``present``: by config digest, an image ID that is on the host under
    whatever name. ``holdings`` may be None if nothing has to be loaded. ``expands`` tells of a media type whether this
    engine must get it uncompressed. ``distrusted`` are config digests of which no layer is believed to be held.
    """
    steps = []
    for wanted, variant in images:
        local = {text: named[text] for text in wanted.references}
        moves = tuple((text, here.image_id if here else None) for text, here in local.items() if not (here and here.same))
        image_id = next((here.image_id for here in local.values() if here and here.same), present.get(variant.config.digest))
        if image_id:
            steps.append(Step(wanted, variant, "tagged" if moves else "kept", moves, image_id, ()))
            continue
        if holdings is None:
            raise ValueError("an image is to be loaded and nobody asked what is held")
        trusted = variant.config.digest not in distrusted
        held = holdings.held(variant.layers) if trusted else [None] * len(variant.layers)
        parts = tuple(Part(layer, known, expands(layer.descriptor.media_type)) for layer, known in zip(variant.layers, held))
        holdings = holdings.plus(variant.layers, [_as_sent(part) for part in parts])
        steps.append(Step(wanted, variant, "loaded", moves, None, parts))
    return steps


def _as_sent(part: Part) -> Descriptor:
    if part.held:
        return part.held
    return Descriptor(OCI_LAYER, part.layer.diff_id, 0) if part.expand else part.layer.descriptor


# The blobs


class Need(t.NamedTuple):
    """A blob that a plan sends: ``digest`` of the bytes as sent, ``of`` of the archive's blob that they come from.

    ``size`` is None where only expanding tells it. ``what`` names it in messages: ``layer 2 of app:1``.
    """

    digest: str
    of: str
    size: t.Optional[int]
    what: str


def needs(steps: t.Iterable[Step]) -> t.List[Need]:
    """The blobs that these steps send, each once: manifest, config, layers."""
    found: t.Dict[str, Need] = {}
    for step in steps:
        if step.action != "loaded":
            continue
        for one, what in ((step.variant.manifest, "manifest"), (step.variant.config, "config")):
            found.setdefault(one.digest, Need(one.digest, one.digest, one.size, "the %s of %s" % (what, step.wanted.label)))
        for number, part in enumerate(step.parts, 1):
            if part.held is None:
                size = None if part.expand else part.layer.descriptor.size
                what = "layer %d of %s" % (number, step.wanted.label)
                found.setdefault(part.blob, Need(part.blob, part.layer.descriptor.digest, size, what))
    return list(found.values())


class Elsewhere(t.NamedTuple):
    """An archive on the controller as its hosts know it: where it is, and which layers of the wanted images it lacks."""

    where: str
    lacking: t.Sequence[str]

    def holds(self, digest: str) -> bool:
        return digest not in self.lacking

    @classmethod
    def of(cls, archive: Archive, wishes: t.Iterable[Wanted]) -> Elsewhere:
        layers = [layer.descriptor.digest for wanted in wishes for variant in wanted.variants for layer in variant.layers]
        return cls(archive.where, [digest for digest in dict.fromkeys(layers) if not archive.holds(digest)])


def absent(needs: t.Iterable[Need], archive: t.Union[Archive, Elsewhere]) -> None:
    """Raise ArchiveError for blobs that are neither on the host nor in the archive."""
    lacking = [need for need in needs if not archive.holds(need.of)]
    if lacking:
        raise ArchiveError(
            "%s lacks %s, and the host does not have it: name an archive that holds it as base, or bring one with all layers"
            % (archive.where, ", ".join("%s (%s)" % (need.what, need.of) for need in lacking))
        )
