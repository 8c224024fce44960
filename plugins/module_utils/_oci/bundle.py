# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles: a set of images in one file or folder, each blob once, the same images always as the same bytes.

Three forms: ``oci-archive``, the tar of an OCI image layout that also carries docker's ``manifest.json``, so that a plain
``docker load`` or ``podman load`` reads it; ``oci-layout``, that layout as a folder; ``docker-archive``, what docker save
wrote before it knew layouts.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import typing as t

from .._errors import ArchiveError
from . import manifest as _manifest
from .archive import NAME_CONTAINERD, NAME_OCI
from .digest import CHUNK, Digest, Verified
from .files import Extent
from .image import Image
from .manifest import OCI_INDEX, Descriptor, Index
from .reference import parse as parse_reference
from .thin import END, LAYOUT, padding, path

OCI_ARCHIVE, OCI_LAYOUT, DOCKER_ARCHIVE = FORMATS = ("oci-archive", "oci-layout", "docker-archive")
TARS = (OCI_ARCHIVE, DOCKER_ARCHIVE)

_USTAR_SIZE = 8 << 30


class Member(t.NamedTuple):
    """An image of a bundle under its canonical ``name``, in each platform that the bundle shall have.

    ``index`` is the one that its source has; it is kept to the byte if it lists just these ``variants``.
    """

    name: str
    variants: t.Tuple[Image, ...]
    index: t.Optional[Index] = None


class File(t.NamedTuple):
    """A file of a bundle: a document in ``data``, or a layer of this ``digest``; ``what`` is how messages call it."""

    name: str
    digest: t.Optional[Digest]
    size: int
    data: t.Optional[bytes]
    what: str


def files(members: t.Sequence[Member], form: str) -> t.List[File]:
    """What a bundle of these images consists of, in its order: documents, then layers in the order of their first use.

    ``members`` of one digest are one image under several names. Raises ArchiveError where the form cannot hold them.
    """
    members = sorted(members)
    return _docker_archive(members) if form == DOCKER_ARCHIVE else _layout(members, docker=form == OCI_ARCHIVE)
