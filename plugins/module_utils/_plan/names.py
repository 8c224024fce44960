# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user wishes of an archive: its images, each under the names that it shall have on the host."""

from __future__ import annotations

import typing as t

from .._errors import InvalidInput, shown
from .._oci.entries import Entry
from .._oci.holdings import Layer
from .._oci.image import Image
from .._oci.manifest import Descriptor
from .._oci.reference import parse as parse_reference
from .wish import Variant, Wanted


def want(entries: t.Sequence[Entry], names: t.Mapping[str, str], where: str) -> t.List[Wanted]:
    """What a user wishes of an archive: its entries under their names, renamed by ``names``.

    A key of ``names`` is a reference or a digest of the archive, or, ending in ``/``, the beginning of references. Raises
    InvalidInput for an image that ends up without a name, a name given twice, and a key that fits nothing.
    """
    for key, value in names.items():
        if not isinstance(value, str) or key.endswith("/") and not value.endswith("/"):
            wanted = "the beginning of references, ending in / as %s does" % key if key.endswith("/") else "a reference"
            raise InvalidInput("names: %s is to become %s, which is not %s" % (key, shown(value), wanted))
    unused = set(names)
    taken: t.Dict[str, str] = {}
    wishes = []
    for entry in entries:
        references = tuple(dict.fromkeys(_renamed(entry, names, unused)))
        if not references:
            raise InvalidInput(
                "%s: the image %s has no name: give it one with names, for example names: {%r: 'app:1'}" % (where, entry.label, entry.label)
            )
        for text in references:
            reference = parse_reference(text)
            if not reference.tag:
                raise InvalidInput(
                    "%s: %s would be named %s, and a host names images by a tag: give it another name with names" % (where, entry.label, text)
                )
            key = reference.tagged
            if taken.setdefault(key, entry.label) != entry.label:
                raise InvalidInput(
                    "%s: both %s and %s would be named %s: choose with images, or rename with names" % (where, taken[key], entry.label, text)
                )
        wishes.append(Wanted(references[0], references, tuple(map(_facts, entry.variants)), entry.absent))
    if unused:
        raise InvalidInput(
            "names: %s fits no image of %s, which holds %s"
            % (", ".join(sorted(unused)), where, ", ".join(entry.label for entry in entries))
        )
    return wishes


def _renamed(entry: Entry, names: t.Mapping[str, str], unused: t.Set[str]) -> t.Iterator[str]:
    handles = [handle for handle in entry.handles if handle in names]
    rules = [_rules(text, names) for text in entry.names]
    unused.difference_update(handles, (key for found in rules for key, _new in found))
    if handles:
        yield names[handles[0]]
        return
    for text, found in zip(entry.names, rules):
        yield found[0][1] if found else text


def _rules(text: str, names: t.Mapping[str, str]) -> t.List[t.Tuple[str, str]]:
    """Keys of ``names`` that fit a reference, each with what it makes of it: the reference itself, then the longest beginning."""
    canonical = str(parse_reference(text))
    whole = [(key, names[key]) for key in names if not key.endswith("/") and _canonical(key) == canonical]
    prefixes = sorted((key for key in names if key.endswith("/")), key=len, reverse=True)
    forms = [(key, next((form for form in (text, canonical) if form.startswith(key)), "")) for key in prefixes]
    return whole + [(key, names[key] + form[len(key):]) for key, form in forms if form]


def _canonical(text: str) -> str:
    return text if text.startswith("sha256:") else str(parse_reference(text))


def _facts(image: Image) -> Variant:
    config = image.manifest.config
    layers = tuple(Layer(layer.descriptor, layer.diff_id) for layer in image.layers)
    manifest = Descriptor(image.manifest.media_type, image.manifest.digest, len(image.manifest.raw))
    return Variant(image.config.platform, manifest, config, image.config.fingerprint, layers)
