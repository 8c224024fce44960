#!/usr/bin/python
# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_pull
short_description: Make sure that a host has the images that references name now
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Compares what each reference names on the host with what it names in the registry, by digest, and pulls what differs.
  - An image that came from an archive and has the same content (the same config digest) as the registry's is not pulled again.
  - A reference with a digest is never asked for once it is there. Of a reference with a tag and a digest, the digest counts
    and the tag is not made, as with C(docker pull).
  - After a pull the host is looked at again, and the task fails unless the reference names what the registry promised.
  - Works with Docker's classic and containerd image stores and with Podman.
extends_documentation_fragment:
  - stowage.oci.engine
  - stowage.oci.registry
  - stowage.oci.parallel
  - stowage.oci.attributes
attributes:
  check_mode:
    support: full
    details:
      - On Docker's classic store one thing can be known only by asking the registry ourselves - that another digest there stands
        for the content that the host has already. Where the host's Python has no C(requests), or cannot reach the registry,
        check mode calls that a change, and a real run pulls the digest, sends no layer again and reports no change.
        There too the C(diff) has no image ID for what is to come.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  images:
    description:
      - References as for C(docker pull), C([registry[:port]/]repository[:tag][@digest]). V(nginx) is
        C(docker.io/library/nginx:latest). An empty list means nothing to do.
    type: list
    elements: str
    required: true
    aliases: [name]
  platform:
    description:
      - Which platform of a multi-platform image the reference shall name, C(os/architecture[/variant]), for example
        V(linux/arm64) or V(linux/arm/v7). A known architecture alone is that of linux, and names of kernels will do,
        so that V(arm64) and V(aarch64) are V(linux/arm64), and V(x86_64) is V(linux/amd64). The host's own by default.
      - An image that the registry has for other platforms alone is an error; without this option an image of one
        platform is taken as it is.
      - On Docker's containerd store another platform than the host's needs Docker 28 or later.
    type: str
  policy:
    description:
      - With V(digest) the host has what the registry has now.
      - With V(missing) the registry is not asked where the reference is present.
    type: str
    choices: [digest, missing]
    default: digest
notes:
  - All questions are asked before the first image is pulled, for more images at once than O(parallel) says. An image that is as it shall be
    costs a look at the host and one question.
  - Docker engines ask registries themselves, with their own mirrors, CAs, proxies and insecure registries; only a username and
    password, or the credentials of the user that runs the module, are handed to them. O(plain_http) does not reach them -
    C(127.0.0.0/8) is an insecure registry to them by default, and any other that speaks no TLS has to be in C(insecure-registries)
    of their C(daemon.json).
    O(ca_cert), O(validate_certs), O(plain_http), O(registry_timeout) and O(retries) count where the module asks a registry itself.
    That is always so with Podman, which has no such call; on Docker where an image is to be compared by its content.
    It needs C(requests) on the host; with Docker the module does without it if it must.
  - Podman pulls with its own trust and its own C(registries.conf); O(plain_http) and O(validate_certs=false) are handed to it.
  - O(ca_cert) serves what the module itself asks. An engine needs the CA of a registry in a file of its own on its host - Podman in
    C(/etc/containers/certs.d/HOST:PORT/ca.crt), Docker in C(/etc/docker/certs.d/HOST:PORT/ca.crt).
  - What Docker Hub counts as a pull is the reading of a manifest. Asking for the digest is free. An image that is to be pulled,
    or compared by content, may be counted once more.
seealso:
  - module: stowage.oci.image_load
"""

EXAMPLES = r"""
- name: Have what these tags name now
  stowage.oci.image_pull:
    images:
      - nginx:1.27
      - quay.io/prometheus/node-exporter:v1.8.2

- name: Have exactly this image; once it is there no registry is asked
  stowage.oci.image_pull:
    name: registry.example.com/app@sha256:0f0c3a3f5a1d2b4c6e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9012a3b4c5d6

- name: Pull from a private registry whose CA is the site's own
  stowage.oci.image_pull:
    images:
      - registry.example.com/app:2
    username: deploy
    password: "{{ registry_password }}"
    ca_cert: /etc/ssl/certs/site-ca.pem

- name: Have another platform's image, and leave it alone if it is there
  stowage.oci.image_pull:
    images:
      - nginx:1.27
    platform: linux/arm64
    policy: missing
"""

RETURN = r"""
images:
  description: One entry for each reference.
  returned: always
  type: list
  elements: dict
  contains:
    reference:
      description: The reference as it was written.
      type: str
      sample: nginx:1.27
    image_id:
      description: The engine's ID of the image that the reference names. Null where check mode cannot know it.
      type: str
      sample: sha256:7658df7e026fca93d2a9e517adea90b4b1f1d7cb413974649abf8297b0f53fe2
    digest:
      description: The digest of the manifest or index that the reference names. Null where the store has none, as after a load.
      type: str
      sample: sha256:380a77b1c601743572176db1e5e7a1efeb37f0e6ecd728632e6ff7791f315c4f
    config_digest:
      description: The digest of the image's config, which is the same on every engine. Null where the store does not tell it.
      type: str
      sample: sha256:7658df7e026fca93d2a9e517adea90b4b1f1d7cb413974649abf8297b0f53fe2
    changed:
      description: Whether the reference names another image now.
      type: bool
      sample: true
    action:
      description: V(kept), V(pulled) or V(failed).
      type: str
      sample: pulled
    reason:
      description:
        - Why. Kept because it is V(present), has the V(same_digest) or under another digest the V(same_content); pulled because
          it was V(absent), or the registry has an V(other_digest), or the host has an V(other_platform); or because blobs of it
          are missing (V(incomplete)), which on Docker's containerd store may stay so, as it fetches no layer whose content it
          has from another image.
      returned: when the image did not fail
      type: str
      sample: other_digest
    msg:
      description: What went wrong.
      returned: when the image failed
      type: str
      sample: "nginx:1.72: docker.io has no such image (manifest for docker.io/library/nginx:1.72 not found: manifest unknown: manifest\
        \ unknown): look at its repository and tag"
"""

import typing as t

from ..module_utils._engine.discover import connect
from ..module_utils._engine.engine import PODMAN
from ..module_utils._flow.asking import all_at_once
from ..module_utils._flow.pull import Puller
from ..module_utils._module import Result, run, side_by_side
from ..module_utils._oci.reference import registries
from ..module_utils._options import ENGINE, PARALLEL, REGISTRY
from ..module_utils._plan.pull import DIGEST, MISSING
from ..module_utils._registry.keychain import Keychain


def body(params: t.Dict[str, t.Any], check_mode: bool) -> Result:
    texts = list(dict.fromkeys(params["images"]))
    engine = connect(params)
    keychain = Keychain.of(params, registries(texts), podman=engine.store == PODMAN)
    puller = Puller(engine, keychain, params, check_mode)
    asked = all_at_once(puller.ask, texts)
    return side_by_side(lambda text: puller(asked[text].result()), texts, params["parallel"])


def main() -> None:
    spec = dict(
        images=dict(type="list", elements="str", required=True, aliases=["name"]),
        platform=dict(type="str"),
        policy=dict(type="str", choices=[DIGEST, MISSING], default=DIGEST),
    )
    run(body, argument_spec=dict(spec, **ENGINE, **REGISTRY, **PARALLEL))


if __name__ == "__main__":
    main()
