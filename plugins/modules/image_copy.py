#!/usr/bin/python
# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_copy
short_description: Make sure that a registry has these images of a bundle or of another registry
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Compares what each name stands for at the destination with what it stands for at the source, by digest, and copies what differs.
    It is how a bundle fills the private registry of a site without a network.
  - Manifests are copied byte for byte, so an image has the same digest at both ends, an index its attestations.
  - Blobs that the destination has are not sent. One that another repository of it is known to have, from O(src) or from the images
    of the task, is mounted from there; one that several images need is sent once.
  - Each blob is proved by its digest on its way, and none is held in memory or, from a registry, on disk.
  - Needs no engine.
extends_documentation_fragment:
  - stowage.oci.registry
  - stowage.oci.parallel
  - stowage.oci.attributes
attributes:
  check_mode:
    support: full
    details:
      - Whether writing is allowed shows in a real run alone. What the destination does not mount is sent, so a real run may send more
        than check mode says.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  images:
    description:
      - Of an archive, which of its images, by reference, or by digest. All that it has by default.
      - Of a registry, references below O(src), C(repository[:tag][@digest]), or in full. Required there. With a tag and a digest,
        the image of that digest gets the tag.
      - An empty list means nothing to do.
    type: list
    elements: str
  src:
    description:
      - A path on the host that runs the module, of an OCI image layout or a docker archive in any form that
        M(stowage.oci.image_load) reads; or a registry, C(host[:port][/prefix]).
      - What begins with C(/) or C(.), or ends as archives do, such as in C(.tar) or C(.tar.gz), or is there as a file or folder,
        is a path. Anything else is a registry, whose name has a dot or a port, or is C(localhost).
    type: path
    required: true
  destination:
    description:
      - The registry that shall have the images, C(host[:port][/prefix]).
      - An image is there under the prefix, its repository at the source without the registry and without the prefix of O(src),
        and its tag. With V(registry.example.com/mirror) as destination, C(quay.io/team/app:1) of an archive is
        C(registry.example.com/mirror/team/app:1), and C(nginx:1) is C(registry.example.com/mirror/library/nginx:1), as its
        whole name is C(docker.io/library/nginx:1). Two images that would get the same name are an error.
    type: str
    required: true
  platform:
    description:
      - Platforms of multi-platform images, for example V(linux/arm64), or V(all), which is the default.
      - One platform of an index is copied as its own manifest, with that manifest's digest. Several, but not all, come under the index
        without the others and without attestations. It has the same digest by way of a bundle of M(stowage.oci.image_archive).
      - It is an error if an image does not have one of them.
    type: list
    elements: str
  base:
    description:
      - Earlier bundles, which hold what the bundle O(src) leaves out. Not needed for what the destination has.
    type: list
    elements: path
    default: []
notes:
  - Needs C(requests) on the host that runs the module.
  - O(username) and O(password) are for the registry of O(destination), and of O(src) if that is the same registry. They are refused,
    before any is asked, if O(src) is another one - use O(auth_file) then, which tells them apart.
  - O(ca_cert), O(validate_certs) and O(plain_http) are for both registries. Docker Hub is always asked with TLS.
  - With O(platform), Docker Hub counts each image of a registry as a pull, in every run; else only when it is copied.
seealso:
  - module: stowage.oci.image_archive
  - module: stowage.oci.image_push
"""

EXAMPLES = r"""
- name: Fill the registry of the site from a bundle
  stowage.oci.image_copy:
    src: /srv/transfer/bundle.tar
    destination: registry.example.com

- name: Bring an update, whose bundle leaves out what the last one had
  stowage.oci.image_copy:
    src: /srv/transfer/bundle-2.tar
    base:
      - /srv/transfer/bundle-1.tar
    destination: registry.example.com
    username: deploy
    password: "{{ registry_password }}"
    ca_cert: /etc/ssl/certs/site-ca.pem

- name: Mirror two official images of Docker Hub, as registry.example.com/hub/library/nginx:1.27 and so on
  stowage.oci.image_copy:
    src: docker.io
    images:
      - nginx:1.27
      - redis:7@sha256:0f0c3a3f5a1d2b4c6e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9012a3b4c5d6
    destination: registry.example.com/hub

- name: Promote an image within a registry; nothing but its manifest is sent
  stowage.oci.image_copy:
    src: registry.example.com/staging
    images:
      - team/app:2.3
    destination: registry.example.com/production
"""

RETURN = r"""
images:
  description: One entry for each image, and for each of its names.
  returned: always
  type: list
  elements: dict
  contains:
    reference:
      description: The reference as it was written, or as the archive has it.
      type: str
      sample: hub.example.com/team/app:1
    destination:
      description: Its name at the destination.
      type: str
      sample: registry.example.com/hub/team/app:1
    image_id:
      description: Always null, as a registry has no image IDs.
      type: str
      sample: null
    digest:
      description: The digest of the manifest or index, the same at both ends.
      returned: when the image did not fail
      type: str
      sample: sha256:380a77b1c601743572176db1e5e7a1efeb37f0e6ecd728632e6ff7791f315c4f
    config_digest:
      description: The digest of the image's config. Null for an index, and for an image of a registry that was not looked into.
      returned: when the image did not fail
      type: str
      sample: sha256:7658df7e026fca93d2a9e517adea90b4b1f1d7cb413974649abf8297b0f53fe2
    changed:
      description: Whether the name stands for another image now.
      type: bool
      sample: true
    action:
      description: V(kept), V(copied) or V(failed).
      type: str
      sample: copied
    reason:
      description: V(same_digest) if it was kept; V(absent) or V(other_digest) if it was copied.
      returned: when the image did not fail
      type: str
      sample: other_digest
    msg:
      description: What went wrong.
      returned: when the image failed
      type: str
      sample: "hub.example.com/team/app:3: hub.example.com has no such image (HTTP 404): look at its repository and tag"
sent_bytes:
  description: Bytes of blobs that were sent to the destination, each once.
  returned: always
  type: int
  sample: 21201
sent_blobs:
  description: Their number.
  returned: always
  type: int
  sample: 4
mounted_blobs:
  description: Blobs that the destination took from another repository of its own.
  returned: always
  type: int
  sample: 1
held_blobs:
  description: Blobs of images to be copied that their repositories had.
  returned: always
  type: int
  sample: 1
held_bytes:
  description: Their bytes.
  returned: always
  type: int
  sample: 10240
"""

import os
import tempfile
import typing as t

from ..module_utils._errors import InvalidInput, masked, naming
from ..module_utils._flow.copy import Copier
from ..module_utils._flow.origins import ArchiveOrigin, Origin, RegistryOrigin
from ..module_utils._module import Result, run
from ..module_utils._oci import platform as _platform
from ..module_utils._oci.archive import Archive, several
from ..module_utils._options import PARALLEL, REGISTRY
from ..module_utils._plan.copy import Site, is_path
from ..module_utils._registry.client import Client
from ..module_utils._registry.keychain import Keychain
from ..module_utils._registry.session import Session
from ..module_utils._registry.upload import Writer


def body(params: t.Dict[str, t.Any], check_mode: bool) -> Result:
    here = is_path(params["src"]) or os.path.exists(params["src"])
    # Ansible shows what it was called with, and a registry may have been written with a password.
    src = params["src"] = params["src"] if here else masked(params["src"])
    source, destination = None if here else Site.parse(src, "src"), Site.parse(params["destination"], "destination")
    if source and params["base"]:
        raise InvalidInput("base: the bundles that a bundle leaves out something of; src is a registry, %s, which has all itself" % src)
    registries = [destination.registry] + ([source.registry] if source else [])
    session = Session(params, Keychain.of(params, registries, apart=False))
    client = Client(session)
    images = None if params["images"] is None else list(dict.fromkeys(params["images"]))
    names = params["platform"] or ["all"]
    platforms = [] if "all" in names else [_platform.parse(name) for name in names]
    with tempfile.TemporaryDirectory(prefix="stowage.oci-") as scratch:
        origin: Origin
        if source:
            origin = RegistryOrigin(client, source, destination, platforms)
        else:
            bases = several(params["base"], scratch)
            with naming("src"):
                archive = Archive(src, os.path.join(scratch, "expanded"), bases)
            origin = ArchiveOrigin(archive, platforms)
        copier = Copier(origin, client, Writer(session), params["parallel"], check_mode)
        return copier(origin.wishes(images, destination))


def main() -> None:
    spec = dict(
        images=dict(type="list", elements="str"),
        src=dict(type="path", required=True),
        destination=dict(type="str", required=True),
        platform=dict(type="list", elements="str"),
        base=dict(type="list", elements="path", default=[]),
    )
    run(body, argument_spec=dict(spec, **REGISTRY, **PARALLEL))


if __name__ == "__main__":
    main()
