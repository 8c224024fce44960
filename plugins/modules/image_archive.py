#!/usr/bin/python
# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_archive
short_description: Have a bundle of exactly these images, in one file or folder
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Makes sure that a file or folder on the host is a bundle of exactly the named images, as their source has them now.
  - Each blob is in it once, however many of the images need it. The same images always give the same bytes.
  - The images of the source are compared with those in the bundle by digest. Where all are the same, nothing is read
    from the source and the file is not touched.
  - The new bundle is written beside the old one and takes its place in one rename. Whatever fails leaves the old one as it was.
  - Fetched from a registry it needs no engine; manifests are kept byte for byte, so that an image has the same digest in the registry,
    in the bundle, and wherever M(stowage.oci.image_copy) pushes it. What an interrupted run fetched, the next one does not fetch again.
  - Taken from an engine it works with Docker's classic and containerd image stores and with Podman.
requirements:
  - requests on the host, with O(source=registry) alone
extends_documentation_fragment:
  - ansible.builtin.files
  - stowage.oci.engine
  - stowage.oci.registry
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
  path:
    description:
      - The bundle. The folder that it lies in must be there, and have room for two of it while it is written.
      - A file or folder that is no image archive, and does not begin as one, is never overwritten or removed.
    type: path
    required: true
  images:
    description:
      - References as for C(docker pull), C([registry[:port]/]repository[:tag][@digest]). V(nginx) is
        C(docker.io/library/nginx:latest).
      - Each needs a tag, which names the image in the bundle. With a digest as well, the image of that digest is taken.
      - What Podman shows as C(localhost/app:1) has to be written so.
      - Required with O(state=present). An empty list is an error, since a bundle of nothing is surely a mistake and would take the
        place of the old one. In the other modules it means nothing to do.
    type: list
    elements: str
  source:
    description:
      - Where the images come from. V(registry) are the registries that the references name, V(engine) is the container engine of
        the host.
      - With V(registry) no engine is asked, and O(engine_host) and its sisters have no effect, wherever they are set.
    type: str
    choices: [registry, engine]
    default: registry
  format:
    description:
      - V(oci-archive) is the tar of an OCI image layout that also carries Docker's C(manifest.json). M(stowage.oci.image_load),
        C(docker load), C(podman load), C(skopeo) (C(oci-archive:bundle.tar:docker.io/library/app:1)) and C(ctr image import) read it.
      - V(oci-layout) is an OCI image layout, a folder. Blobs that are there already are not written again.
      - V(docker-archive) is what C(docker save) wrote before Docker 25. It keeps no manifests, and one platform of an image.
    type: str
    choices: [oci-archive, oci-layout, docker-archive]
    default: oci-archive
  platform:
    description:
      - Platforms of multi-platform images, for example V(linux/arm64), or V(all). By default all that the source has.
      - It is an error if the source does not have one of them.
      - Where only some platforms of an index are in the bundle, so is the index without the others and without attestations, the same
        one that M(stowage.oci.image_copy) makes; one platform comes as its own manifest. All manifests keep their digests.
      - C(docker load) on a classic store and C(podman load) of several images take C(linux/amd64) of a multi-platform image, or else
        the first platform. M(stowage.oci.image_load) takes the host's.
    type: list
    elements: str
  base:
    description:
      - Earlier bundles, whose layers this one leaves out. They are read on the host that writes the bundle, and may be in any form.
      - Not with O(format=docker-archive), which could not name what it leaves out.
      - Such a differential bundle is for places that have the rest. M(stowage.oci.image_load) uses it where the host has the other
        layers, or is given the earlier bundles too, as its O(stowage.oci.image_load#module:base).
    type: list
    elements: path
    default: []
  state:
    description:
      - With V(absent), there is no bundle at O(path).
    type: str
    choices: [present, absent]
    default: present
notes:
  - Manifests and configs are kept byte for byte where the source has them. Docker's containerd store does. Docker 20.10's
    classic store and Podman do not, and get a manifest that depends on nothing but the config and the layers.
  - Layers are kept as the source hands them over, uncompressed from Docker's classic store and from Podman.
  - While it fetches, the folder of O(path) also holds what is fetched, under a name that begins with C(.stowage-). After a failure it
    stays there for the next run.
  - Attestations (provenance, SBOM) come with an index that is in the bundle as a whole.
  - Of a folder, O(mode), O(owner) and O(group) are for the folder itself. A mode that is none, and an owner or group that the host does
    not know by name, fail the task before anything is written, in check mode as well.
seealso:
  - module: stowage.oci.image_load
  - module: stowage.oci.image_copy
"""

EXAMPLES = r"""
- name: Bundle what these tags name now, for the servers' platform; no engine is needed
  stowage.oci.image_archive:
    path: /srv/transfer/bundle.tar
    images:
      - nginx:1.27
      - registry.example.com/team/worker:2.3
    platform:
      - linux/amd64

- name: Bundle only what is new since the bundle that the site got last month
  stowage.oci.image_archive:
    path: /srv/transfer/november.tar
    base:
      - /srv/transfer/october.tar
    images:
      - registry.example.com/team/worker:2.4

- name: Bundle two images that this host has
  stowage.oci.image_archive:
    path: /srv/transfer/bundle.tar
    source: engine
    images:
      - app:1
      - registry.example.com/team/worker:2.3

- name: Bundle one image as a folder that a web server hands out
  stowage.oci.image_archive:
    path: /srv/www/images
    format: oci-layout
    source: engine
    images:
      - app:1
    mode: "0755"

- name: Bundle an image for the boards alone
  stowage.oci.image_archive:
    path: /srv/transfer/boards.tar
    source: engine
    images:
      - app:1
    platform:
      - linux/arm64

- name: Have no bundle
  stowage.oci.image_archive:
    path: /srv/transfer/bundle.tar
    state: absent
"""

RETURN = r"""
images:
  description: One entry for each image.
  returned: always
  type: list
  elements: dict
  contains:
    reference:
      description: The reference as it was written.
      type: str
      sample: app:1
    image_id:
      description: The engine's ID of the image. Null with O(source=registry).
      type: str
      sample: sha256:7658df7e026fca93d2a9e517adea90b4b1f1d7cb413974649abf8297b0f53fe2
    digest:
      description: The digest of the manifest or index by which the source knows the image. Null where it has none.
      type: str
      sample: sha256:380a77b1c601743572176db1e5e7a1efeb37f0e6ecd728632e6ff7791f315c4f
    config_digest:
      description: The digest of the image's config, which is the same on every engine. Null where the source does not tell it, or
        the bundle has several platforms.
      type: str
      sample: sha256:7658df7e026fca93d2a9e517adea90b4b1f1d7cb413974649abf8297b0f53fe2
    platforms:
      description: The platforms of the image that are in the bundle.
      type: list
      elements: str
      sample: [linux/amd64]
    changed:
      description: Whether the image was not in the bundle so.
      type: bool
      sample: true
    action:
      description: V(kept), V(written), V(failed), or V(skipped) because another image failed.
      type: str
      sample: written
    reason:
      description:
        - Why. V(same_content) is kept. Written is an image that was V(absent), has V(other_content) or is wanted for
          V(other_platforms), or that was there in V(other_format), or V(incomplete) or in a V(damaged) bundle, or with layers that the
          bundle leaves out now that an V(other_base) is given.
      returned: when no image failed
      type: str
      sample: other_content
    msg:
      description: What went wrong.
      returned: when the image failed
      type: str
      sample: "app:2: the engine at unix:///var/run/docker.sock has no such image, but docker.io/library/app:1"
path:
  description: The bundle. A link is followed.
  returned: when no image failed
  type: str
  sample: /srv/transfer/bundle.tar
size:
  description: Bytes of the bundle. Null if there is none, and in check mode if it would be written.
  returned: when no image failed
  type: int
  sample: 28160
sha256:
  description:
    - SHA-256 of the file in hex. Of a folder, that of its C(index.json), which names all else in it by digest.
    - Null where O(ignore:size) is.
  returned: when no image failed
  type: str
  sample: bfeef4efa871b0700e8cea33370ae7e88c2387ef3d29d66c5652cc98b6d0a860
fetched_bytes:
  description: Bytes that were read from the source to write the bundle; of a registry, those of layers.
  returned: when no image failed
  type: int
  sample: 30720
reused_bytes:
  description:
    - Bytes of layers that did not have to be read from the source, because the old bundle or an interrupted run has them.
      None with O(source=engine).
  returned: when no image failed
  type: int
  sample: 0
"""

import os
import tempfile
import typing as t

from ..module_utils._engine.discover import connect
from ..module_utils._errors import InvalidInput
from ..module_utils._flow.archive import Bundler, Source, absent, examined
from ..module_utils._module import FileAttributes, Result, run
from ..module_utils._oci import platform as _platform
from ..module_utils._oci.archive import several
from ..module_utils._oci.bundle import DOCKER_ARCHIVE, FORMS, OCI_ARCHIVE
from ..module_utils._oci.place import Old
from ..module_utils._oci.reference import registries
from ..module_utils._options import ENGINE, PARALLEL, REGISTRY


def body(params: t.Dict[str, t.Any], check_mode: bool, attributes: FileAttributes) -> Result:
    if params["state"] == "absent":
        return absent(os.path.abspath(params["path"]), check_mode)
    if not params["images"]:
        raise InvalidInput("images is empty, and a bundle holds at least one: name it, or remove the bundle with state: absent")
    attributes.check()
    target, form = os.path.realpath(params["path"]), params["format"]
    if params["base"] and form == DOCKER_ARCHIVE:
        raise InvalidInput("base: a docker-archive does not name the layers that it leaves out: use the format oci-archive or oci-layout")
    if target in map(os.path.realpath, params["base"]):
        raise InvalidInput("base: %s is the bundle itself: name earlier ones, which stay as they are" % params["path"])
    with tempfile.TemporaryDirectory(prefix="stowage.oci-") as scratch:
        bases = several(params["base"], scratch)
        old = examined(target, form)

        def base(digest: str) -> bool:
            return any(one.holds(digest) for one in bases)

        bundler = Bundler(source(params, old, base), target, form, old, base, attributes, check_mode)
        return bundler(params["images"], params["parallel"])


def source(params: t.Dict[str, t.Any], old: t.Optional[Old], base: t.Callable[[str], bool]) -> Source:
    names = params["platform"] or ["all"]
    platforms = [] if "all" in names else [_platform.parse(name) for name in names]
    if params["source"] == "engine":
        from ..module_utils._flow.exports import EngineSource

        return EngineSource(connect(params), platforms)
    from ..module_utils._flow.fetches import RegistrySource
    from ..module_utils._registry.client import Client
    from ..module_utils._registry.keychain import Keychain
    from ..module_utils._registry.session import Session

    session = Session(params, Keychain.of(params, registries(params["images"])))
    by_config = params["format"] == DOCKER_ARCHIVE
    return RegistrySource(Client(session), platforms, old and old.archive, base, by_config, params["parallel"])


def main() -> None:
    spec = dict(
        path=dict(type="path", required=True),
        images=dict(type="list", elements="str"),
        source=dict(type="str", choices=["registry", "engine"], default="registry"),
        format=dict(type="str", choices=list(FORMS), default=OCI_ARCHIVE),
        platform=dict(type="list", elements="str"),
        base=dict(type="list", elements="path", default=[]),
        state=dict(type="str", choices=["present", "absent"], default="present"),
    )
    run(
        body,
        argument_spec=dict(spec, **ENGINE, **REGISTRY, **PARALLEL),
        required_if=[("state", "present", ["images"])],
        add_file_common_args=True,
    )


if __name__ == "__main__":
    main()
