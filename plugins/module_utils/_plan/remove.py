# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove: which names and images go, which go with them, and what stands in the way.

A store keeps an image as long as something names it. What is said here of names, parents and containers is what the engines
do, measured; where they differ in what they would destroy, the careful way is taken on all.
"""

from __future__ import annotations

import typing as t

from .._errors import EngineError
from .._oci.named import Named, is_id
from .._oci.reference import Reference
from .._oci.reference import parse as parse_reference

ABSENT, KEPT, REMOVED, UNTAGGED = "absent", "kept", "removed", "untagged"


class Image(t.NamedTuple):
    """``names`` hold the image: ``name:tag``, and ``name@digest`` where the store counts that as a name. ``digests`` are the
    ``name@digest`` by which it can be asked for; ``once`` the repositories that it is or was of, as far as its store tells.
    """

    image_id: str
    names: t.Tuple[str, ...]
    digests: t.FrozenSet[str]
    once: t.FrozenSet[str]
    parent: t.Optional[str]


class Container(t.NamedTuple):
    name: str
    image_id: str
    running: bool


class Host(t.NamedTuple):
    """``holds_parents``: an image from which another was built cannot be deleted (classic store). ``drops_parents``: with an
    image go its untagged parents (classic store, Podman). ``digests_follow``: with a repository's last tag go its digests.
    """

    images: t.Mapping[str, Image]
    containers: t.Tuple[Container, ...]
    holds_parents: bool
    drops_parents: bool
    digests_follow: bool

    def users(self, image: Image) -> t.List[Container]:
        return [container for container in self.containers if container.image_id == image.image_id]

    def children(self, image: Image) -> t.List[Image]:
        return [other for other in self.images.values() if other.parent == image.image_id]


class Removal(t.NamedTuple):
    """``calls`` are the names or the ID to delete, in this order; ``names`` are all that are gone then, ``gone`` the images."""

    action: str
    image: t.Optional[Image] = None
    calls: t.Tuple[str, ...] = ()
    names: t.FrozenSet[str] = frozenset()
    gone: t.Tuple[str, ...] = ()


def plan(host: Host, wish: Named, force: bool) -> Removal:
    """Raises EngineError for an image that is in use, has further names, or carries another, and says what to do."""
    image = _by_name(host, wish.reference) if wish.reference else None
    by_id = image is None
    image = image or _by_id(host, wish)
    if not image:
        return Removal(ABSENT)
    if by_id:
        _refuse_several_names(wish, image, force)
        taken, calls = list(image.names), [image.image_id]
    else:
        taken, calls = _names(host, image, t.cast(Reference, wish.reference))
    children = host.children(image) if host.holds_parents else []
    if len(taken) < len(image.names) or (children and not by_id and calls != [image.image_id]):
        return Removal(UNTAGGED, image, tuple(calls), frozenset(taken))
    if children:
        raise EngineError(
            "%s: %s was built on it, and the engine keeps it as long: remove that first"
            % (wish.spelling, ", ".join(sorted(child.names[0] if child.names else child.image_id for child in children)))
        )
    _refuse_in_use(host, wish.spelling, image, force)
    return Removal(REMOVED, image, tuple(calls), frozenset(taken), _falling(host, image))


def _by_name(host: Host, reference: Reference) -> t.Optional[Image]:
    """A tag beside a digest must name the image of that digest."""
    for image in host.images.values():
        tagged = bool(reference.tag) and reference.tagged in image.names
        if not reference.digest:
            if tagged:
                return image
            continue
        # Of an untagged image the containerd store does not tell the repository: the digest says enough.
        untold = image.image_id == reference.digest and not image.names
        if ("%s@%s" % (reference.name, reference.digest) in image.digests or untold) and (tagged or not reference.tag):
            return image
    return None


def _by_id(host: Host, wish: Named) -> t.Optional[Image]:
    matches = [image for image in host.images.values() if is_id(wish, image.image_id)]
    if len(matches) > 1:
        raise EngineError("%s: %d images have IDs that begin so: write more of its digits" % (wish.spelling, len(matches)))
    return matches[0] if matches else None


def _names(host: Host, image: Image, reference: Reference) -> t.Tuple[t.List[str], t.List[str]]:
    """The names that go, and what to delete for that: one tag, or of a digest alone all names of its repository."""
    here = [name for name in image.names if parse_reference(name).name == reference.name]
    if reference.tag:
        taken = [reference.tagged]
    elif any("@" not in name for name in here):
        taken = here
    else:
        taken = [name for name in here if name == str(reference)] or here
    tags = [name for name in taken if "@" not in name]
    calls = tags if tags and host.digests_follow else tags + [name for name in taken if "@" in name]
    if tags and host.digests_follow and not [name for name in here if "@" not in name and name not in taken]:
        taken = here
    return taken, calls or [image.image_id]


def _refuse_several_names(wish: Named, image: Image, force: bool) -> None:
    tags = [name for name in image.names if "@" not in name]
    if not force and (len(tags) > 1 or len({parse_reference(name).name for name in image.names}) > 1):
        raise EngineError("%s is named %s: remove those names, or set force to remove all of them" % (wish.spelling, ", ".join(image.names)))


def _refuse_in_use(host: Host, spelling: str, image: Image, force: bool) -> None:
    users = host.users(image)
    running = [container.name for container in users if container.running]
    if running:
        raise EngineError("%s is in use by the running container %s: stop and remove it first" % (spelling, ", ".join(running)))
    if users and not force:
        names = ", ".join(container.name for container in users)
        raise EngineError("%s is in use by the stopped container %s: remove it first, or set force" % (spelling, names))


def _falling(host: Host, image: Image) -> t.Tuple[str, ...]:
    """The image, and the untagged parents that nothing else needs."""
    gone = [image.image_id]
    parent = host.images.get(image.parent or "") if host.drops_parents else None
    while parent and not parent.names and not host.users(parent) and all(child.image_id in gone for child in host.children(parent)):
        gone.append(parent.image_id)
        parent = host.images.get(parent.parent or "")
    return tuple(gone)


def after(host: Host, removal: Removal) -> Host:
    """The host when that is done."""
    images = {image_id: image for image_id, image in host.images.items() if image_id not in removal.gone}
    if removal.image and removal.image.image_id in images:
        image = images[removal.image.image_id]
        images[image.image_id] = image._replace(names=tuple(name for name in image.names if name not in removal.names))
    return host._replace(images=images)


def left_behind(host: Host, repositories: t.Set[str], force: bool) -> t.List[Removal]:
    """What is to be done with the untagged images of these repositories: ``removed``, or ``kept`` while they are in use.

    An image that has a digest of another repository is left alone.
    """
    found = []
    for image in host.images.values():
        tagged = any("@" not in name or not host.digests_follow for name in image.names)
        elsewhere = any(parse_reference(name).name not in repositories for name in image.names)
        if tagged or elsewhere or not image.once & repositories:
            continue
        users = host.users(image)
        in_use = any(container.running for container in users) or (users and not force) or (host.holds_parents and host.children(image))
        if in_use:
            found.append(Removal(KEPT, image))
        else:
            # By ID an image with digests of several repositories would need force.
            found.append(Removal(REMOVED, image, image.names or (image.image_id,), frozenset(image.names), _falling(host, image)))
    return found


class Layers(t.NamedTuple):
    """What an image takes on disk: bytes by chain ID where known, and beside its layers (the containerd store's blobs)."""

    sizes: t.Mapping[str, t.Optional[int]]
    diff_ids: t.FrozenSet[str]
    beside: int = 0


def freed(gone: t.Iterable[Layers], kept: t.Iterable[Layers]) -> int:
    """Bytes that went with these images: each layer once, and none that another image or a container needs.

    Where the store does not tell a size it is not counted. What it does not tell of a blob is whose it is as well: so blobs
    count of images alone that have no layer in common, the largest first.
    """
    gone, kept = list(gone), list(kept)
    chains = {chain for layers in kept for chain in layers.sizes}
    sizes = {chain: size or 0 for layers in gone for chain, size in layers.sizes.items() if chain not in chains}
    total = sum(sizes.values())
    taken = {diff_id for layers in kept for diff_id in layers.diff_ids}
    for layers in sorted(gone, key=lambda one: -one.beside):
        if not taken & layers.diff_ids:
            total += layers.beside
            taken |= layers.diff_ids
    return total
