# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive of two images that share a base, and what is wished for of it."""

from __future__ import annotations

from ansible_collections.stowage.oci.plugins.module_utils._oci.archive import Archive
from ansible_collections.stowage.oci.plugins.module_utils._plan.names import want
from ansible_collections.stowage.oci.tests.unit import images

BASE = images.layer({"etc/os": b"base"}, "gzip")
TOP = images.layer({"app": b"1"}, "gzip")
APP = images.image([BASE, TOP], names=["docker.io/library/app:1"], config={"Cmd": ["/app"]})
OTHER = images.image([BASE, images.layer({"other": b"1"})], names=["registry.example.com/team/other:2"])


def opened(tmp_path, *items, **how):
    return Archive(str(images.write_layout(tmp_path / "layout", items, **how)), str(tmp_path / "scratch"))


def wishes(archive, **names):
    return want(archive.entries, names, "here")


def wanted(*items, tmp_path, **how):
    return want(opened(tmp_path, *items, **how).entries, {}, "here")
