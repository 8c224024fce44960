#!/usr/bin/python
# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_remove
short_description: Remove images from a host, and say what that freed
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Makes sure that references name nothing on a host, and that image IDs are not there. What is absent already is fine.
  - An image that has other names too only loses the one that is given; it goes with its last name.
  - A reference with a digest is removed only if it is that digest. With a tag and a digest, the tag is removed if it names
    the image of that digest. With a digest alone, all tags of the repository that name that image are.
  - An image ID removes the image. If it has several names, that needs O(force).
  - An image that a container uses is left alone, and the task fails and names the container.
extends_documentation_fragment:
  - stowage.oci.engine
  - stowage.oci.parallel
  - stowage.oci.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  images:
    description:
      - References as for C(docker pull), or image IDs (C(sha256:) and 64 digits, 64 digits, or the first 12 and more). An empty list means
        nothing to do.
    type: list
    elements: str
    required: true
    aliases: [name]
  force:
    description:
      - Remove an image by its ID although it has several names, and an image that stopped containers were made from.
      - Docker keeps such a container, and with it the layers that it needs.
        B(Podman deletes the container with the image.)
      - An image that a running container uses is never removed.
    type: bool
    default: false
  dangling:
    description:
      - Remove the untagged images too that the repositories of O(images) left behind, for example when a tag was pulled again.
        Those in use are kept.
      - On Docker's classic store an image belongs to a repository if it was pulled from it. One that was pulled by its digest
        and has no tag looks just the same, and is removed. An image that was loaded or built, and lost its tag since, is not
        found there.
      - Podman remembers all names that an image once had.
      - Docker's containerd store does not tell where an untagged image came from, unless it was loaded from an archive that
        named it. Others are not found there.
    type: bool
    default: false
notes:
  - Images are looked at side by side and removed one after the other, in the order in which they are given.
  - RV(freed_bytes) is counted from what the engine says of each layer that is not needed any more, in its own measure - the
    bytes of the files in it (classic store), of its tar (Podman) or of the blocks that it takes on disk (containerd store).
    A layer that another image uses is not counted, nor one that a container still holds. On the containerd store the blobs
    of an image, which it keeps beside the unpacked layers, are counted only if the image shares no layer with one that stays
    or that was counted before. So the number may be less than what became free, and is not more.
seealso:
  - module: stowage.oci.image_info
"""

EXAMPLES = r"""
- name: These names shall name nothing
  stowage.oci.image_remove:
    images:
      - registry.example.com/app:1
      - registry.example.com/app:2

- name: Remove a release, and all that pulls of that repository left behind
  stowage.oci.image_remove:
    images:
      - registry.example.com/app:1
    dangling: true

- name: Remove the tag only if it is still the image that was withdrawn
  stowage.oci.image_remove:
    images:
      - nginx:1.27@sha256:0f0c3a3f5a1d2b4c6e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9012a3b4c5d6

- name: Remove an image with all of its names
  stowage.oci.image_remove:
    images:
      - sha256:2b4c6e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9012a3b4c5d60f0c3a3f5a1d
    force: true
"""

RETURN = r"""
images:
  description: One entry for each of O(images), in that order, and then for the untagged ones that O(dangling) found.
  returned: always
  type: list
  elements: dict
  contains:
    reference:
      description: As it was written; of an untagged image its ID.
      type: str
      returned: always
      sample: registry.example.com/app:1
    image_id:
      description: The image that it named; null if there was none.
      type: str
      returned: success
      sample: sha256:7658df7e026fca93d2a9e517adea90b4b1f1d7cb413974649abf8297b0f53fe2
    digest:
      description: Its manifest's or index's digest, or null where the store has none.
      type: str
      returned: success
      sample: sha256:380a77b1c601743572176db1e5e7a1efeb37f0e6ecd728632e6ff7791f315c4f
    config_digest:
      description: Its config's digest, or null where the store does not tell it.
      type: str
      returned: success
      sample: sha256:7658df7e026fca93d2a9e517adea90b4b1f1d7cb413974649abf8297b0f53fe2
    changed:
      description: Whether this one changed something.
      type: bool
      returned: always
      sample: true
    action:
      description:
        - V(removed) if the image went, V(untagged) if it only lost a name, V(absent) if there was none, V(kept) for an
          untagged image that is in use, V(failed).
      type: str
      returned: always
      sample: removed
    msg:
      description: What went wrong.
      type: str
      returned: failure
      sample: "app:1 is in use by the stopped container web: remove it first, or set force"
freed_bytes:
  description: Bytes that went with the images; see the notes.
  returned: always
  type: int
  sample: 10240
"""

from ..module_utils._engine.discover import connect
from ..module_utils._flow.remove import Remover
from ..module_utils._module import run
from ..module_utils._options import ENGINE, PARALLEL


def body(params, check_mode):
    return Remover(connect(params), params, check_mode)()


def main():
    options = dict(
        images=dict(type="list", elements="str", required=True, aliases=["name"]),
        force=dict(type="bool", default=False),
        dangling=dict(type="bool", default=False),
    )
    run(body, argument_spec=dict(ENGINE, **PARALLEL, **options))


if __name__ == "__main__":
    main()
