#!/usr/bin/python
# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_tag
short_description: Let further references name an image that a host has
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Makes sure that each of O(tags) names the image that O(source) names now. A tag that names another image is moved; that
    image stays, with one name less.
  - Compares by image ID, so nothing changes where a tag names the image already.
  - Asks no registry and pulls nothing.
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
  source:
    description:
      - A reference as for C(docker pull), or an image ID (C(sha256:) and 64 digits, 64 digits, or the first 12 and more).
      - It must be on the host. With a digest it is found only if it is that digest.
    type: str
    required: true
  tags:
    description:
      - References to give to it. V(app) is C(docker.io/library/app:latest). A digest cannot be given, because it follows from
        what an image is.
    type: list
    elements: str
    required: true
seealso:
  - module: stowage.oci.image_pull
  - module: stowage.oci.image_remove
"""

EXAMPLES = r"""
- name: What was tested becomes what is used
  stowage.oci.image_tag:
    source: app:2.0.1-rc3
    tags:
      - app:2.0.1
      - registry.example.com/app:2.0.1

- name: Name an image by its ID
  stowage.oci.image_tag:
    source: sha256:2b4c6e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9012a3b4c5d60f0c3a3f5a1d
    tags:
      - rescue:1
"""

RETURN = r"""
images:
  description: One entry for each of O(tags), in that order; a reference that is written twice has one.
  returned: always
  type: list
  elements: dict
  contains:
    reference:
      description: As it was written.
      type: str
      returned: always
      sample: registry.example.com/app:2.0.1
    image_id:
      description: The image that it names now.
      type: str
      returned: success
      sample: sha256:380a77b1c601743572176db1e5e7a1efeb37f0e6ecd728632e6ff7791f315c4f
    digest:
      description:
        - The manifest's or index's digest, or null where the store has none. Docker's classic store has one only for the
          repository that an image was pulled from or pushed to.
      type: str
      returned: success
      sample: sha256:380a77b1c601743572176db1e5e7a1efeb37f0e6ecd728632e6ff7791f315c4f
    config_digest:
      description: The config's digest, or null where the store does not tell it.
      type: str
      returned: success
      sample: sha256:7658df7e026fca93d2a9e517adea90b4b1f1d7cb413974649abf8297b0f53fe2
    changed:
      description: Whether it named another image, or none, before.
      type: bool
      returned: always
      sample: true
    action:
      description: V(kept), V(tagged) or V(failed).
      type: str
      returned: always
      sample: tagged
    msg:
      description: What went wrong.
      type: str
      returned: failure
      sample: "registry.example.com/app:2.0.1 was given to an image and names another one now: somebody else moved it meanwhile, run again"
"""

from ..module_utils._engine.discover import connect
from ..module_utils._flow.tag import Tagger
from ..module_utils._module import run, side_by_side
from ..module_utils._options import ENGINE, PARALLEL
from ..module_utils._plan.tag import targets


def body(params, check_mode):
    wishes = targets(params["tags"])
    tagger = Tagger(connect(params), params["source"], check_mode)
    return side_by_side(tagger, wishes, params["parallel"], lambda reference: reference.spelling)


def main():
    options = dict(
        source=dict(type="str", required=True),
        tags=dict(type="list", elements="str", required=True),
    )
    run(body, argument_spec=dict(ENGINE, **PARALLEL, **options))


if __name__ == "__main__":
    main()
