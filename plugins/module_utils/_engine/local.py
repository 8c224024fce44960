# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image of this host a name means, and under what identities each store shows it.

    store        image_id                      digest                              config_digest
    classic      the config's digest           of the pull; none after a load      = image_id
    containerd   the manifest's or index's     = image_id                          only of images that we loaded
    podman       the config's digest           of the pull, the load or the build  = image_id

Podman lists every digest under every name of an image, whichever repository it came from.
"""

from __future__ import annotations

import re
import typing as t

from .._oci import platform as _platform
from .._oci import reference as _reference
from .._oci.digest import Digest
from .._oci.holdings import CONFIG_KEY
from .._oci.reference import Reference
from .._errors import InvalidReference
from .engine import CONTAINERD, PODMAN, Engine

_ID = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_SHORT_ID = re.compile(r"[0-9a-f]{12,63}")


class Named(t.NamedTuple):
    """What a user wrote to mean an image of the host: a reference, an image ID, or (12 to 63 hex digits) maybe either."""

    spelling: str
    reference: t.Optional[Reference]
    image_id: t.Optional[str]

    def __str__(self) -> str:
        return self.spelling


class LocalImage(t.NamedTuple):
    """An image as the host shows it; ``repo_tags`` and ``repo_digests`` are canonical references, sorted.

    ``digest`` is that of the repository which was asked for, or null. ``complete`` is false for what is left on the
    containerd store when a load failed half-way; such an image has no layers, no platform, and does not run.
    """

    image_id: Digest
    digest: t.Optional[Digest]
    config_digest: t.Optional[Digest]
    diff_ids: t.Tuple[Digest, ...]
    repo_tags: t.Tuple[str, ...]
    repo_digests: t.Tuple[str, ...]
    platform: _platform.Platform
    complete: bool


def named(text: str) -> Named:
    """Raises InvalidReference if text is neither a reference nor an image ID."""
    match = _ID.fullmatch(text) if isinstance(text, str) else None
    if match:
        return Named(text, None, "sha256:" + match.group(1))
    return Named(text, _reference.parse(text), text if _SHORT_ID.fullmatch(text) else None)


def local(engine: Engine, name: t.Union[str, Reference, Named]) -> t.Optional[LocalImage]:
    """The image that the host has under this reference or ID, or None.

    A reference with a digest finds an image of that digest alone, whatever its tag names now.
    """
    if isinstance(name, str):
        name = named(name)
    if isinstance(name, Reference):
        name = Named(name.spelling, name, None)
    if name.reference:
        reference = name.reference
        document = engine.inspect("%s@%s" % (reference.name, reference.digest) if reference.digest else str(reference))
        if document:
            return of_inspect(document, engine.store, reference)
    if name.image_id:
        document = engine.inspect(name.image_id)
        # An engine may take hex digits for the short name of another repository.
        if document and str(document["Id"]).startswith("sha256:" + name.image_id.rpartition(":")[2]):
            return of_inspect(document, engine.store)
    return None


def of_inspect(document: t.Mapping[str, t.Any], store: str, reference: t.Optional[Reference] = None) -> LocalImage:
    """From an engine's ``GET /images/{name}/json``; ``reference`` says whose digest is wanted.

    Without one the digest is that of all the image's repositories, or null if they differ.
    """
    image_id = Digest(document["Id"])
    tags, digests = _references(document.get("RepoTags")), _references(document.get("RepoDigests"))
    rootfs = document.get("RootFS") or {}
    annotation = ((document.get("Descriptor") or {}).get("annotations") or {}).get(CONFIG_KEY)
    return LocalImage(
        image_id=image_id,
        digest=image_id if store == CONTAINERD else _digest(digests, store, reference),
        config_digest=image_id if store != CONTAINERD else Digest(annotation) if annotation else None,
        diff_ids=tuple(map(Digest, rootfs.get("Layers") or ())),
        repo_tags=tuple(sorted(str(tag) for tag in tags if not tag.digest)),
        repo_digests=tuple(sorted({"%s@%s" % (named.name, named.digest) for named in tags + digests if named.digest})),
        platform=_platform.normalise(document.get("Os") or "", document.get("Architecture") or "", document.get("Variant") or ""),
        complete=store != CONTAINERD or "Type" in rootfs,
    )


def _digest(digests: t.Sequence[Reference], store: str, reference: t.Optional[Reference]) -> t.Optional[Digest]:
    if reference and reference.digest:
        return reference.digest
    if reference and store != PODMAN:
        digests = [named for named in digests if named.name == reference.name]
    found = list(dict.fromkeys(named.digest for named in digests))
    # Of an index and its manifest Podman names the one first that was pulled.
    return found[0] if found and (reference or store == PODMAN or len(found) == 1) else None


def _references(texts: t.Optional[t.Iterable[str]]) -> t.List[Reference]:
    """In the engine's order, without ``<none>`` and without the digests of no repository that half-loaded images have."""
    found = []
    for text in texts or ():
        try:
            found.append(_reference.parse(text))
        except InvalidReference:
            continue
    return [reference for reference in found if not reference.name.endswith("/sha256")]
