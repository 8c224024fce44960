# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles for tests, written by the collection's own writer from images made in memory."""

from __future__ import annotations

import hashlib
import io

from ansible_collections.stowage.oci.plugins.module_utils._oci import bundle, manifest
from ansible_collections.stowage.oci.plugins.module_utils._oci.archive import Archive
from ansible_collections.stowage.oci.plugins.module_utils._oci.bundle import OCI_ARCHIVE, OCI_LAYOUT, Member
from ansible_collections.stowage.oci.tests.unit.images import write_layout


class Written:
    """A bundle of these items (images and indexes), in any form."""

    def __init__(self, tmp_path, *items, whole_index=True):
        self.archive = Archive(str(write_layout(tmp_path / "source", items)), "")
        self.members = []
        for item in items:
            entry = next(entry for entry in self.archive.entries if item.digest in entry.handles)
            kept = manifest.parse(item.raw, "index") if hasattr(item, "raw") and whole_index else None
            self.members += [Member(name, entry.variants, kept) for name in item.names]

    def files(self, form):
        return bundle.files(self.members, form)

    def blobs(self, form):
        return self.archive.extents([file.digest for file in self.files(form) if file.digest])

    def tar(self, form=OCI_ARCHIVE):
        out = io.BytesIO()
        digest = bundle.write_tar(self.files(form), self.blobs(form), out)
        assert digest == hashlib.sha256(out.getvalue()).hexdigest()
        assert len(out.getvalue()) == bundle.size(self.files(form), form)
        return out.getvalue()

    def folder(self, where):
        bundle.write_folder(self.files(OCI_LAYOUT), self.blobs(OCI_LAYOUT), str(where))
        return where


def listed(folder):
    """The bytes of all files in a folder."""
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}
