# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image of this host a name means, and under what identities each store shows it.

    store        image_id                      digest                              config_digest
    classic      the config's digest           of the pull; none after a load      = image_id
    containerd   the manifest's or index's     = image_id                          only of images that we loaded
    podman       the config's digest           of the pull, the load or the build  = image_id

Podman lists every digest under every name of an image, whichever repository it came from, and finds an image by its digest
under any name.
"""

from __future__ import annotations

import concurrent.futures
import typing as t

from .._errors import InvalidReference
from .._oci import named as _named
from .._oci import platform as _platform
from .._oci import reference as _reference
from .._oci.digest import Digest
from .._oci.holdings import CONFIG_KEY
from .._oci.named import Named
from .._oci.reference import Reference
from .engine import CONTAINERD, PODMAN, Engine


class LocalImage(t.NamedTuple):
    """An image as the host shows it; ``repo_tags`` and ``repo_digests`` are canonical references, in the engine's order.

    ``digest`` is that of the repository which was asked for, or null. ``complete`` is false for what is left on the
    containerd store when a load failed half-way or left blobs out; of such an image no layers and no platform are shown.
    """

    image_id: Digest
    digest: t.Optional[Digest]
    config_digest: t.Optional[Digest]
    diff_ids: t.Tuple[Digest, ...]
    repo_tags: t.Tuple[str, ...]
    repo_digests: t.Tuple[str, ...]
    platform: _platform.Platform
    complete: bool


def local(engine: Engine, name: t.Union[str, Reference, Named]) -> t.Optional[LocalImage]:
    """The image that the host has under this reference or ID, or None.

    A reference with a digest finds an image of that digest alone, whatever its tag names now.
    """
    if isinstance(name, str):
        name = _named.parse(name)
    if isinstance(name, Reference):
        name = Named(name.spelling, name, None)
    if name.reference:
        reference = name.reference
        document = engine.inspect("%s@%s" % (reference.name, reference.digest) if reference.digest else str(reference))
        if document:
            return of_inspect(dict(document, Digest=engine.digest(document["Id"])), engine.store, reference)
    if name.image_id:
        document = engine.inspect(name.image_id)
        # An engine may take hex digits for the short name of another repository.
        if document and _named.is_id(name, document["Id"]):
            return of_inspect(dict(document, Digest=engine.digest(document["Id"])), engine.store)
    return None


def of_inspect(document: t.Mapping[str, t.Any], store: str, reference: t.Optional[Reference] = None) -> LocalImage:
    """From an engine's ``GET /images/{name}/json``, or from its list, which shows no layers; ``reference`` says whose digest
    is wanted. Without one the digest is that of all the image's repositories, or null if they differ.

    Of the digests of a Podman image the first is taken, unless the document has a ``Digest`` (its list, ``Engine.digest``).
    """
    image_id = Digest(document["Id"])
    tags, digests = _references(document.get("RepoTags")), _references(document.get("RepoDigests"))
    rootfs = document.get("RootFS") or {}
    annotation = ((document.get("Descriptor") or {}).get("annotations") or {}).get(CONFIG_KEY)
    repo_digests = tuple(dict.fromkeys("%s@%s" % (each.name, each.digest) for each in digests + tags if each.digest))
    got = document.get("Digest") or (repo_digests[0].partition("@")[2] if repo_digests else None)
    image = LocalImage(
        image_id=image_id,
        digest=Digest(got) if got else None,
        config_digest=image_id if store != CONTAINERD else Digest(annotation) if annotation else None,
        diff_ids=tuple(map(Digest, rootfs.get("Layers") or ())),
        repo_tags=tuple(str(tag) for tag in tags if not tag.digest),
        repo_digests=repo_digests,
        platform=_platform.normalise(document.get("Os") or "", document.get("Architecture") or "", document.get("Variant") or ""),
        complete=store != CONTAINERD or "Type" in rootfs,
    )
    return image._replace(digest=digest_as(image, store, reference))


def digest_as(image: LocalImage, store: str, reference: t.Optional[Reference]) -> t.Optional[Digest]:
    """The digest that an image has, or once it is tagged so will have, under this reference; see of_inspect for None."""
    if reference and reference.digest:
        return reference.digest
    if store == CONTAINERD:
        return image.image_id
    if store == PODMAN:
        return image.digest
    digests = [text for text in image.repo_digests if not reference or text.startswith(reference.name + "@")]
    found = list(dict.fromkeys(text.partition("@")[2] for text in digests))
    return Digest(found[0]) if found and (reference or len(found) == 1) else None


def tags(engine: Engine) -> t.List[str]:
    """All references by which the host has an image, canonical."""
    return [tag for summary in engine.images() for tag in of_inspect(summary, engine.store).repo_tags]


def documents(engine: Engine, image_ids: t.Iterable[str], parallel: int) -> t.Dict[str, t.Dict[str, t.Any]]:
    """Inspect these images side by side; one that vanishes meanwhile is left out."""
    image_ids = list(image_ids)
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, min(parallel, len(image_ids)))) as pool:
        found = list(pool.map(engine.inspect, image_ids))
    return {image_id: document for image_id, document in zip(image_ids, found) if document}


def _references(texts: t.Optional[t.Iterable[str]]) -> t.List[Reference]:
    """In the engine's order, without ``<none>`` and without the digests of no repository that half-loaded images have."""
    found = []
    for text in texts or ():
        try:
            found.append(_reference.parse(text))
        except InvalidReference:
            continue
    return [reference for reference in found if not reference.name.endswith("/sha256")]
