# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.stowage.oci.plugins.module_utils._plan.info import Storage, file_system, shared_with, weaknesses


def test_shared_with():
    chains = {"A": ["x", "y"], "B": ["x", "z"], "C": ["x"], "D": []}
    names = {"A": ["a:1"], "B": ["b:2", "b:1"], "C": []}
    assert shared_with(chains, names) == {
        "A": {"x": ["C", "b:1", "b:2"], "y": []},
        "B": {"x": ["C", "a:1"], "z": []},
        "C": {"x": ["a:1", "b:1", "b:2"]},
        "D": {},
    }


MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /var/lib rw - xfs /dev/vdb rw
31 22 0:26 / /var/lib\040docker rw - btrfs /dev/vdc rw
32 30 0:27 / /var/lib/docker rw master:1 shared:2 - zfs tank rw
33 30 0:28 / /var/lib/docker rw - tmpfs tmpfs rw
a line that is none
34 22 0:29
"""


@pytest.mark.parametrize(
    "path, expected",
    [
        ("/srv", "ext4"),
        ("/", "ext4"),
        ("/var/lib", "xfs"),
        ("/var/lib/containers", "xfs"),
        ("/var/library", "ext4"),
        ("/var/lib docker/x", "btrfs"),
        ("/var/lib/docker/overlay2", "tmpfs"),
    ],
)
def test_file_system(path, expected):
    assert file_system(path, MOUNTS) == expected


def test_file_system_of_nothing():
    assert file_system("/srv", "") is None


def said(store="classic", driver="overlay2", below="extfs", api=(1, 51), details=()):
    return weaknesses(Storage(store, driver, below, "/var/lib/x", dict(details), api))


USUAL = {store: said(store, driver) for store, driver in (("classic", "overlay2"), ("containerd", "overlayfs"), ("podman", "overlay"))}


def test_what_is_usual_is_said_of_the_store_alone():
    assert [len(USUAL[store]) for store in ("classic", "containerd", "podman")] == [2, 3, 2]
    assert not set(USUAL["classic"]) & set(USUAL["containerd"])
    assert all(sentence.endswith(".") for sentences in USUAL.values() for sentence in sentences)


@pytest.mark.parametrize(
    "words, more",
    [
        ("vfs copies a layer with all that is below it", dict(driver="vfs")),
        ("vfs copies a layer with all that is below it", dict(store="podman", driver="vfs")),
        ("devicemapper is deprecated, and gone from Docker 25", dict(driver="devicemapper")),
        ("aufs is in no kernel", dict(driver="aufs")),
        ("overlay uses up inodes", dict(driver="overlay")),
        ("btrfs does not share the page cache", dict(driver="btrfs", below="btrfs")),
        ("fuse-overlayfs runs in user space", dict(driver="fuse-overlayfs")),
        ("The file system xfs has no d_type", dict(below="xfs", details={"Supports d_type": "false"})),
        ("Overlay on NFS fails", dict(below="nfs")),
        ("Overlay on NFS fails", dict(store="containerd", driver="overlayfs", below="nfs4")),
        ("Overlay cannot write on top of another overlay", dict(store="podman", driver="overlay", below="overlayfs")),
        ("Overlay on ZFS needs OpenZFS 2.2", dict(below="zfs")),
        ("The root is a tmpfs", dict(below="tmpfs")),
        ("no native overlay diff", dict(details={"Native Overlay Diff": "false"})),
        ("reads no layer that is compressed with zstd", dict(api=(1, 41))),
        ("a load that moves a tag deletes the image that had it", dict(store="containerd", driver="overlayfs", api=(1, 45))),
    ],
)
def test_one_weakness_more(words, more):
    added = [sentence for sentence in said(**more) if sentence not in USUAL[more.get("store", "classic")]]
    assert len(added) == 1 and words in added[0]


def test_devicemapper_on_a_loop_device():
    assert any("a file on a loop device" in sentence for sentence in said(driver="devicemapper", details={"Data loop file": "/var/lib/docker/data"}))


@pytest.mark.parametrize(
    "more",
    [
        dict(below="xfs", details={"Supports d_type": "true"}),
        dict(driver="zfs", below="nfs"),
        dict(driver="zfs", below="zfs"),
        dict(store="podman", driver="overlay", details={"Native Overlay Diff": "true"}),
        dict(store="podman", driver="overlay", api=(1, 41)),
        dict(below=None),
    ],
)
def test_what_does_not_apply_is_not_said(more):
    added = [sentence for sentence in said(**more) if sentence not in USUAL[more.get("store", "classic")]]
    assert added == []
