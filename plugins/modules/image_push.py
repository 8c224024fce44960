#!/usr/bin/python
# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_push
short_description: Make sure that a registry has the images that references name on a host
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Asks the registry first, and pushes only where its image differs in content from the host's. The same content is the same
    manifest or index, or the same config under another manifest; an image that was pulled, or that another host has pushed, is not
    pushed again.
  - After a push the registry is asked again, and the task fails unless it has what the host has.
  - To give an image the name of a registry and repository is what M(stowage.oci.image_tag) is for.
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
      - Docker's classic store and Podman make the manifest as they push. Its RV(images[].digest) is null in check mode, and in the
        C(diff) always.
      - On Docker the content of an image under another digest can be known only by asking the registry ourselves. Where the host's
        Python has no C(requests), or cannot reach the registry, check mode calls that a change; a real run pushes, and reports a
        change only if the registry has another digest afterwards.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  images:
    description:
      - References as for C(docker push), C([registry[:port]/]repository[:tag]), which name images on the host. V(app) is
        C(docker.io/library/app:latest). A digest cannot be given, because it follows from what is pushed.
      - An empty list means nothing to do.
    type: list
    elements: str
    required: true
    aliases: [name]
notes:
  - All questions are asked before the first image is pushed, for more images at once than O(parallel) says. An image that is as it shall be
    costs a look at the host and one question.
  - Docker engines push and ask with their own mirrors, CAs, proxies and insecure registries; only a username and password, or the
    credentials of the user that runs the module, are handed to them. O(plain_http) does not reach them - C(127.0.0.0/8) is an
    insecure registry to them by default, and any other that speaks no TLS has to be in C(insecure-registries) of their C(daemon.json).
    O(ca_cert), O(validate_certs), O(plain_http), O(registry_timeout) and O(retries) count where the module asks a registry itself.
    That is always so with Podman, which has no such call; on Docker where an image is to be compared by its content.
    It needs C(requests) on the host; with Docker the module does without it if it must.
  - Podman pushes with its own trust; O(plain_http) and O(validate_certs=false) are handed to it.
  - O(ca_cert) serves what the module itself asks. An engine needs the CA of a registry in a file of its own on its host - Podman in
    C(/etc/containers/certs.d/HOST:PORT/ca.crt), Docker in C(/etc/docker/certs.d/HOST:PORT/ca.crt).
  - Of a multi-platform image the classic store and Podman have, and push, one platform. The containerd store pushes the index if it has
    all of its images, else the one that it has.
  - Over a manifest of Docker's own type in a docker-registry before 3.0 the containerd store pushes nothing. The task then fails and
    says so.
seealso:
  - module: stowage.oci.image_tag
  - module: stowage.oci.image_pull
"""

EXAMPLES = r"""
- name: The registry has what was built
  stowage.oci.image_push:
    images:
      - registry.example.com/app:2.0.1
      - registry.example.com/app:latest
    username: deploy
    password: "{{ registry_password }}"

- name: Push to a registry on this machine that speaks no TLS
  stowage.oci.image_push:
    name: 127.0.0.1:5000/app:2
    plain_http: true
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
      returned: always
      sample: registry.example.com/app:2.0.1
    image_id:
      description: The engine's ID of the image that the reference names on the host.
      type: str
      returned: when the image did not fail
      sample: sha256:7658df7e026fca93d2a9e517adea90b4b1f1d7cb413974649abf8297b0f53fe2
    digest:
      description: The digest of the manifest or index that the registry has now. Null where check mode cannot know it.
      type: str
      returned: when the image did not fail
      sample: sha256:c588bc4fc3b265d0bfebce4391079ed0513cd08ca3a677acb5daff906df2f5e1
    config_digest:
      description: The digest of the image's config, which is the same on every engine. Null where the store does not tell it.
      type: str
      returned: when the image did not fail
      sample: sha256:7658df7e026fca93d2a9e517adea90b4b1f1d7cb413974649abf8297b0f53fe2
    changed:
      description: Whether the registry has another image under this reference now.
      type: bool
      returned: always
      sample: true
    action:
      description: V(kept), V(pushed) or V(failed).
      type: str
      returned: always
      sample: pushed
    reason:
      description:
        - Why. Kept because the registry has the V(same_digest) or under another digest the V(same_content); pushed because the
          image was V(absent) there, or had V(other_content).
      returned: when the image did not fail
      type: str
      sample: other_content
    msg:
      description: What went wrong.
      returned: when the image failed
      type: str
      sample: "registry.example.com/app:3: the engine at unix:///var/run/docker.sock has no such image to push: it has registry.example.com/app:2.0.1"
"""

import typing as t

from ..module_utils._engine.discover import connect
from ..module_utils._engine.engine import PODMAN
from ..module_utils._flow.asking import all_at_once
from ..module_utils._flow.push import Pusher
from ..module_utils._module import Result, run, side_by_side
from ..module_utils._oci.reference import registries
from ..module_utils._options import ENGINE, PARALLEL, REGISTRY
from ..module_utils._registry.keychain import Keychain


def body(params: t.Dict[str, t.Any], check_mode: bool) -> Result:
    texts = list(dict.fromkeys(params["images"]))
    engine = connect(params)
    keychain = Keychain.of(params, registries(texts), podman=engine.store == PODMAN)
    pusher = Pusher(engine, keychain, params, check_mode)
    asked = all_at_once(pusher.ask, texts)
    return side_by_side(lambda text: pusher(asked[text].result()), texts, params["parallel"])


def main() -> None:
    spec = dict(images=dict(type="list", elements="str", required=True, aliases=["name"]))
    run(body, argument_spec=dict(spec, **ENGINE, **REGISTRY, **PARALLEL))


if __name__ == "__main__":
    main()
