#!/usr/bin/python
# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: Tell which images a host has, and layer by layer what they are made of
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Reads images, their identities and their layers from the host's engine, and which images share each layer.
  - Tells how the engine stores images, on which file system, and what that is known to be weak at.
  - Changes nothing and asks no registry.
extends_documentation_fragment:
  - stowage.oci.engine
  - stowage.oci.parallel
  - stowage.oci.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - The diff is empty, because nothing changes.
  idempotent:
    support: full
options:
  images:
    description:
      - References as for C(docker pull), or image IDs (C(sha256:) and 64 digits, 64 digits, or the first 12 and more). All
        images by default, but for those that Docker's classic builder left on its way to another.
      - What is not there is left out of RV(images) and named in RV(missing).
    type: list
    elements: str
    aliases: [name]
notes:
  - No engine tells which instruction made which layer. Its history is matched with the layers only where that leaves no
    choice; else C(command) and C(size) of all layers of that image are null.
  - Engines do not tell the digests of layers' blobs. Of an image that M(stowage.oci.image_load) loaded into Docker's
    containerd store the digests that were noted then are shown; elsewhere C(digest) of a layer is null.
seealso:
  - module: stowage.oci.image_remove
"""

EXAMPLES = r"""
- name: Look at all images
  stowage.oci.image_info:
  register: here

- name: Warn of what the host's storage is weak at
  ansible.builtin.debug:
    msg: "{{ here.weaknesses }}"

- name: Fail unless the release is there
  stowage.oci.image_info:
    images:
      - registry.example.com/app:2
  register: release
  failed_when: release.missing | length > 0

- name: Show the largest layer that no other image shares
  ansible.builtin.debug:
    msg: "{{ here.images | map(attribute='layers') | flatten | rejectattr('shared_with') | selectattr('size') | sort(attribute='size') | last }}"
"""

RETURN = r"""
images:
  description: One entry for each image, or for each of O(images) that is there, in that order.
  returned: always
  type: list
  elements: dict
  contains:
    reference:
      description: As it was written; without O(images) the first of its tags, or its ID.
      type: str
      returned: always
      sample: nginx:1.27
    image_id:
      description: The ID under which the engine knows it.
      type: str
      returned: success
      sample: sha256:7658df7e026fca93d2a9e517adea90b4b1f1d7cb413974649abf8297b0f53fe2
    digest:
      description:
        - The digest of its manifest or index in the repository of the reference, or null where the store has none.
        - Of an image by its ID, the digest that all of its repositories agree on, else null.
      type: str
      returned: success
      sample: sha256:380a77b1c601743572176db1e5e7a1efeb37f0e6ecd728632e6ff7791f315c4f
    config_digest:
      description: The digest of its config, or null where the store does not tell it.
      type: str
      returned: success
      sample: sha256:7658df7e026fca93d2a9e517adea90b4b1f1d7cb413974649abf8297b0f53fe2
    changed:
      description: Always V(false).
      type: bool
      returned: always
      sample: false
    action:
      description: Always V(found), or V(failed).
      type: str
      returned: always
      sample: found
    msg:
      description: What went wrong.
      type: str
      returned: failure
      sample: "the engine at unix:///var/run/docker.sock refused (HTTP 500): corrupt database"
    tags:
      description: All tags that name it, whole and sorted.
      type: list
      elements: str
      returned: success
      sample: ["docker.io/library/nginx:1.27"]
    digests:
      description: All digests by which the engine lists it, with their repositories, sorted.
      type: list
      elements: str
      returned: success
      sample: ["docker.io/library/nginx@sha256:380a77b1c601743572176db1e5e7a1efeb37f0e6ecd728632e6ff7791f315c4f"]
    platform:
      description: What it runs on; null for an image that is not complete.
      type: str
      returned: success
      sample: linux/amd64
    complete:
      description:
        - Whether all of it is there. False on Docker's containerd store for an image of which blobs are missing; such an image
          shows no layers, and has to be loaded or pulled again.
      type: bool
      returned: success
      sample: true
    created:
      description: When it was built, as its config says; if it does not say, null, or on Podman the time when it was asked.
      type: str
      returned: success
      sample: "2026-04-22T09:14:03Z"
    size:
      description: Bytes that it takes, shared layers included; on the containerd store blobs and unpacked layers together.
      type: int
      returned: success
      sample: 17
    labels:
      description: The labels of its config.
      type: dict
      returned: success
      sample: {maintainer: NGINX}
    layers:
      description: Its layers, lowest first.
      type: list
      elements: dict
      returned: success
      contains:
        diff_id:
          description: Digest of its uncompressed tar.
          type: str
          returned: success
          sample: sha256:30d72e52aa24ae4adb47fdd7d252cf544e73ebf11eedf7eff15d9a4d9c7e01f5
        chain_id:
          description: Digest of itself on all layers below it.
          type: str
          returned: success
          sample: sha256:30d72e52aa24ae4adb47fdd7d252cf544e73ebf11eedf7eff15d9a4d9c7e01f5
        digest:
          description: Digest of its blob, or null where the store does not tell it.
          type: str
          returned: success
          sample: sha256:30d72e52aa24ae4adb47fdd7d252cf544e73ebf11eedf7eff15d9a4d9c7e01f5
        size:
          description:
            - Bytes of the layer unpacked - of the files in it (classic store), of its tar (Podman), of the blocks that it takes
              (containerd store); null if it is not known.
          type: int
          returned: success
          sample: 10
        command:
          description: The instruction that made it; null if that is not certain.
          type: str
          returned: success
          sample: COPY /rootfs /
        shared_with:
          description: References of the other images that have this layer on the same layers; of an untagged one its ID.
          type: list
          elements: str
          returned: success
          sample: ["docker.io/library/debian:12"]
missing:
  description: Those of O(images) that the host does not have, as they were written.
  returned: success
  type: list
  elements: str
  sample: ["app:3"]
store:
  description: How the engine keeps images - V(classic) (a graph driver), V(containerd) or V(podman).
  returned: success
  type: str
  sample: classic
engine:
  description: The engine that answered.
  returned: success
  type: dict
  sample: {name: Docker, version: 28.5.2+dfsg4, api: "1.51", url: "unix:///var/run/docker.sock"}
storage:
  description:
    - The storage driver, the file system below it as the engine or the kernel calls it (null if unknown), and the folder.
    - With the containerd of the system, as packages of docker-ce use it, the folder is its usual one.
  returned: success
  type: dict
  sample: {driver: overlay2, backing_file_system: extfs, root: /var/lib/docker}
weaknesses:
  description: Sentences; what is known to be weak of this store, driver and file system.
  returned: success
  type: list
  elements: str
  sample:
    - "The classic store knows the manifest digest only of what was pulled or pushed: an image from an archive or a build has none."
    - While an image is loaded from an archive it takes twice its size.
"""

from ..module_utils._engine.discover import connect
from ..module_utils._flow.info import Info
from ..module_utils._module import run
from ..module_utils._options import ENGINE, PARALLEL


def body(params, check_mode):
    return Info(connect(params), params["parallel"])(params["images"])


def main():
    options = dict(images=dict(type="list", elements="str", aliases=["name"]))
    run(body, argument_spec=dict(ENGINE, **PARALLEL, **options))


if __name__ == "__main__":
    main()
