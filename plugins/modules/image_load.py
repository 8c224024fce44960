#!/usr/bin/python
# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_load
short_description: Load images from an archive, sending the host only the layers that it lacks
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Makes sure that a host's engine has the images of an archive, under their names.
  - Asks the host first. Where nothing is missing, nothing is sent and nothing changes. Where something is missing, only
    the missing blobs travel, each once even if several images need it, over Ansible's own connection.
  - An image is loaded untagged, compared with what was wished for, and only then named. If the engine turns out to hold
    less than it said, all layers are sent once.
  - Works with Docker's classic and containerd image stores and with Podman. Needs nothing on the host but Python.
extends_documentation_fragment:
  - stowage.oci.engine
  - stowage.oci.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  src:
    description:
      - The archive - an OCI image layout (folder, tar) or a docker archive, as written by
        M(stowage.oci.image_archive), docker save, podman save, skopeo, crane or buildx.
      - A tar may be compressed with gzip, bzip2, xz or zstd. Zstd needs Python 3.14, the package C(zstandard) or the program
        C(zstd) where the archive is.
      - A relative path is looked for on the controller as for M(ansible.builtin.copy).
    type: path
    required: true
  remote_src:
    description:
      - Whether O(src) is on the host already. Then nothing is transferred.
    type: bool
    default: false
  base:
    description:
      - Earlier archives, where O(src) is a differential bundle that leaves out layers of theirs. They lie where O(src) does.
      - Not needed for layers that the host has. What neither has is an error that names it.
    type: list
    elements: path
    default: []
  images:
    description:
      - Which images of the archive to load, by reference, or by digest for an image without a name. All by default. An empty list
        means nothing to do.
    type: list
    elements: str
  names:
    description:
      - Other names on the host. A key is a reference or a digest of the archive and its value a reference; or a key is the
        beginning of references and ends in C(/), and its value, which ends so too, takes the place of that beginning.
      - An image that the archive does not name must get a name here.
    type: dict
    default: {}
  platform:
    description:
      - Which platform of a multi-platform image to load, for example V(linux/arm64). The host's own by default.
    type: str
  staging_dir:
    description:
      - A folder on the host that has room for what is sent, V(/var/tmp) by default. Blobs wait there, in a folder for this
        user and engine alone, until all of an image has arrived; an interrupted transfer goes on from there.
    type: path
  wish:
    description:
      - What the action plugin hands to the module. It is not for playbooks.
    type: dict
notes:
  - C(async) is possible only with O(remote_src=true), since the controller takes part in a transfer.
  - While a host takes longer than 5 seconds, a line every few seconds on the standard error of C(ansible-playbook) says how
    far it is. C(ANSIBLE_DISPLAY_OK_HOSTS=false) silences it.
  - A compressed archive is expanded on the controller, as far as hosts lack what is in it, in Ansible's local temporary folder
    (C(ANSIBLE_LOCAL_TEMP)), and once a run for all hosts.
  - What goes over ssh is compressed by Ansible's own settings (C(-C) in C(ansible_ssh_args)). That is slower than most networks
    and gains nothing for layers that are compressed already. C(-o ControlMaster=auto -o ControlPersist=60s) is the same without.
seealso:
  - module: stowage.oci.image_archive
  - module: stowage.oci.image_pull
"""

EXAMPLES = r"""
- name: Preload every host from one bundle
  stowage.oci.image_load:
    src: bundle.tar

- name: Load one image of a bundle under the name of the site's own registry
  stowage.oci.image_load:
    src: bundle.tar
    images:
      - docker.io/library/app:1
    names:
      docker.io/library/: registry.example.com/

- name: Preload hosts from a differential bundle; new ones among them need layers of the earlier bundle as well
  stowage.oci.image_load:
    src: november.tar
    base:
      - october.tar

- name: Load what a colleague saved and copied to the host
  stowage.oci.image_load:
    src: /srv/transfer/app.tar.gz
    remote_src: true

- name: Say what would be sent
  stowage.oci.image_load:
    src: bundle.tar
  check_mode: true
  diff: true
"""

RETURN = r"""
images:
  description: One entry for each image of the archive that was wished for.
  returned: always
  type: list
  elements: dict
  contains:
    reference:
      description: The first name of the image on the host, as the archive or the user wrote it.
      type: str
      sample: docker.io/library/app:1
    references:
      description: All names of the image on the host.
      type: list
      elements: str
      sample: ["docker.io/library/app:1"]
    image_id:
      description: The engine's ID of the image. Null for an image that check mode would load.
      type: str
      sample: sha256:7658df7e026fca93d2a9e517adea90b4b1f1d7cb413974649abf8297b0f53fe2
    digest:
      description: The digest of the manifest or index by which the engine knows the image. Null where it has none.
      type: str
      sample: sha256:380a77b1c601743572176db1e5e7a1efeb37f0e6ecd728632e6ff7791f315c4f
    config_digest:
      description: The digest of the image's config, which is the same on every engine.
      type: str
      sample: sha256:7658df7e026fca93d2a9e517adea90b4b1f1d7cb413974649abf8297b0f53fe2
    changed:
      description: Whether one of the references names another image now.
      type: bool
      sample: true
    action:
      description: V(kept), V(tagged), V(loaded) or V(failed).
      type: str
      sample: loaded
    layers:
      description: Number of the image's layers.
      type: int
      sample: 2
    layers_sent:
      description: How many of them the host lacked.
      type: int
      sample: 1
    msg:
      description: What went wrong.
      returned: when the image failed
      type: str
      sample: "docker.io/library/app:1: the engine at unix:///var/run/docker.sock did not load it: no space left on device"
sent_bytes:
  description: Bytes of blobs (layers, configs, manifests) that were sent to the host, or would be in check mode.
  returned: always
  type: int
  sample: 11240
sent_blobs:
  description: Number of blobs that were sent or would be.
  returned: always
  type: int
  sample: 3
held_bytes:
  description: Bytes of the wished images' blobs that were not needed, because the host has what is in them.
  returned: always
  type: int
  sample: 10240
held_blobs:
  description: Number of those blobs.
  returned: always
  type: int
  sample: 1
seconds:
  description: How long the task took on this host.
  returned: when O(remote_src=false)
  type: float
  sample: 1.7
"""

import os
import shutil
import tempfile
import typing as t

from ..module_utils._engine.discover import connect
from ..module_utils._errors import InvalidInput, StagingError, naming
from ..module_utils._flow.load import Loader, perform
from ..module_utils._flow.staged import Staged
from ..module_utils._flow.staging import FOLDER, Staging, default_root
from ..module_utils._module import concluded, run
from ..module_utils._options import LOAD
from ..module_utils._plan.load import Elsewhere
from ..module_utils._plan.wish import Wanted


def body(params: t.Dict[str, t.Any], check_mode: bool) -> t.Dict[str, t.Any]:
    if not params["remote_src"] and params["wish"] is None:
        raise InvalidInput("src is on the controller, and image_load was called as a plain module: call it as a task, stowage.oci.image_load")
    try:
        if params["remote_src"]:
            return from_host(params, check_mode)
        return from_controller(params, params["wish"], check_mode)
    except OSError as error:
        where = error.filename or params["staging_dir"] or FOLDER
        raise StagingError("%s: %s: give blobs another place with staging_dir" % (where, error.strerror or error)) from None


def from_host(params: t.Dict[str, t.Any], check_mode: bool) -> t.Dict[str, t.Any]:
    # Late: a host to which blobs are sent need not know how to read archives.
    from ..module_utils._flow.archived import Archived
    from ..module_utils._oci.archive import Archive, select, several
    from ..module_utils._plan.names import want

    scratch = tempfile.mkdtemp(prefix="stowage.oci-", dir=params["staging_dir"] or FOLDER)
    try:
        bases = several(params["base"], scratch)
        with naming("src"):
            archive = Archive(params["src"], os.path.join(scratch, "expanded"), bases)
        wishes = want(select(archive, params["images"]), params["names"], archive.where)
        loader = Loader(connect(params), Archived(archive, scratch), params["platform"])
        result = perform(loader, wishes, None, check_mode, {})
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return concluded(sent_bytes=0, sent_blobs=0, **result)


def from_controller(params: t.Dict[str, t.Any], wish: t.Dict[str, t.Any], check_mode: bool) -> t.Dict[str, t.Any]:
    engine = connect(params)
    staging = Staging(default_root(engine.url, params["staging_dir"]))
    staged = Staged(staging, wish["sizes"], Elsewhere(**wish["archive"]))
    loader = Loader(engine, staged, params["platform"], wish["seen"], wish["distrusted"], wish.get("held"))
    done = {entry["reference"]: entry for entry in wish["done"]}
    result = perform(loader, [Wanted.parse(image) for image in wish["images"]], staging, check_mode, done)
    return concluded(unfinished="ask" in result and not check_mode, **result)


def main() -> None:
    run(body, argument_spec=LOAD)


if __name__ == "__main__":
    main()
