# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Info: which images share a layer, what a host's storage is, and what it is known to be weak at."""

from __future__ import annotations

import typing as t

CLASSIC, CONTAINERD, PODMAN = "classic", "containerd", "podman"
FOUND, ABSENT = "found", "absent"

_OVERLAY = ("overlay", "overlay2", "overlayfs")
_NFS = ("nfs", "nfs4")


class Storage(t.NamedTuple):
    """Where a store keeps images: its driver, the file system below (as the engine or the kernel calls it), its folder.

    ``details`` are what the engine says of its driver, ``api`` is that of the engine.
    """

    store: str
    driver: str
    file_system: t.Optional[str]
    root: t.Optional[str]
    details: t.Mapping[str, str] = {}
    api: t.Tuple[int, int] = (0, 0)


def shared_with(chains: t.Mapping[str, t.Sequence[str]], names: t.Mapping[str, t.Sequence[str]]) -> t.Dict[str, t.Dict[str, t.List[str]]]:
    """By image ID and chain ID, the references of the other images that have this layer on the same layers below.

    ``chains`` are the chain IDs of each image on the host, ``names`` its references; one without is called by its ID.
    """
    holders: t.Dict[str, t.List[str]] = {}
    for image_id, chain in chains.items():
        for chain_id in chain:
            holders.setdefault(chain_id, []).append(image_id)
    called = {image_id: list(names.get(image_id) or ()) or [image_id] for image_id in chains}
    return {
        image_id: {
            chain_id: sorted(name for other in holders[chain_id] if other != image_id for name in called[other]) for chain_id in chain
        }
        for image_id, chain in chains.items()
    }


def file_system(path: str, mountinfo: str) -> t.Optional[str]:
    """The type of the file system that a path lies on, from the text of /proc/self/mountinfo (proc(5))."""
    best, found = -1, None
    for line in mountinfo.splitlines():
        before, _dash, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = fields[4].replace("\\040", " ")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        # Of two mounts on the same point the later one is seen.
        if inside and len(point) >= best:
            best, found = len(point), after.split(" ")[0]
    return found


def weaknesses(storage: Storage) -> t.List[str]:
    """Sentences; only what is known of this store, driver and file system."""
    return [sentence for applies, sentence in _known(storage) if applies]


def _known(storage: Storage) -> t.Iterator[t.Tuple[bool, str]]:
    store, driver, below, details, api = storage.store, storage.driver, storage.file_system or "", storage.details, storage.api
    overlay = driver in _OVERLAY and (store != CLASSIC or driver != "overlay")

    # Drivers
    yield driver == "vfs", (
        "The driver vfs copies a layer with all that is below it in full: an image of ten layers can take ten times its size on disk. "
        "Use overlay2 (Docker) or overlay (Podman)."
    )
    yield driver == "devicemapper", "The driver devicemapper is deprecated, and gone from Docker 25: images must be moved before an upgrade."
    yield driver == "devicemapper" and "Data loop file" in details, (
        "The driver devicemapper keeps its data in a file on a loop device here, which is slow and gives no space back."
    )
    yield driver == "aufs", "The driver aufs is in no kernel of kernel.org, and gone from Docker 24: images must be moved before an upgrade."
    yield driver == "overlay" and store == CLASSIC, (
        "The driver overlay uses up inodes, because it links each file of the layers below, and is gone from Docker 24: use overlay2."
    )
    yield driver == "btrfs", "The driver btrfs does not share the page cache: a file that two containers read is in memory twice."
    yield driver == "fuse-overlayfs", "The driver fuse-overlayfs runs in user space, so that each file operation is slower than with overlay."

    # File systems
    yield overlay and details.get("Supports d_type") == "false", (
        "The file system %s has no d_type (xfs made with ftype=0), so that overlay cannot hide deleted files reliably: make it again with ftype=1."
        % below
    )
    yield overlay and below in _NFS, (
        "Overlay on NFS fails when layers are unpacked or containers write, because NFS cannot be its upper layer: move the root to a local disk."
    )
    yield overlay and below in ("overlay", "overlayfs"), (
        "Overlay cannot write on top of another overlay, as inside a container: mount a volume at the root of the store."
    )
    yield overlay and below == "zfs", "Overlay on ZFS needs OpenZFS 2.2 or later."
    yield below == "tmpfs", "The root is a tmpfs: images take memory, and are gone after a reboot."
    yield overlay and details.get("Native Overlay Diff") == "false", (
        "The engine compares layers file by file here (no native overlay diff), so that builds and commits are slow."
    )

    # Stores
    yield store == CLASSIC, (
        "The classic store knows the manifest digest only of what was pulled or pushed: an image from an archive or a build has none."
    )
    yield store == CLASSIC and api < (1, 42), "This Docker reads no layer that is compressed with zstd."
    yield store == CLASSIC, "While an image is loaded from an archive it takes twice its size."
    yield store == CONTAINERD, "The containerd store keeps each layer twice, as the blob that came and unpacked: about twice the disk, for good."
    yield store == CONTAINERD, (
        "The containerd store does not tell the config digest of an image, nor the digests of its layers' blobs, unless stowage.oci loaded it."
    )
    yield store == CONTAINERD, (
        "If an archive lacks a layer, docker load leaves a half-loaded image behind and moves the tag to it; stowage.oci.image_load undoes that."
    )
    yield store == CONTAINERD and api < (1, 46), "On this Docker a load that moves a tag deletes the image that had it, even if that is wanted still."
    yield store == PODMAN, "While an image is loaded from an archive it takes four times its size, half of that in /var/tmp."
    yield store == PODMAN, "Podman lists the digests of an image under all of its names, whichever repository they came from."
