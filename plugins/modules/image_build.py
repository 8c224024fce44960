#!/usr/bin/python
# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_build
short_description: Let tags name the image that a context builds, and build nothing when nothing changed
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Makes sure that each of O(tags) names the image that this context builds. Before anything is built the module takes the
    I(build digest) of all that an image comes from, and compares it with the one that the tagged image carries.
  - The build digest is made of the context after C(.dockerignore) (names, types, permissions, link targets and bytes; no times, owners or
    order), the Dockerfile, O(target), O(platform), O(labels), O(timestamp), those of O(build_args) that the Dockerfile declares, and the IDs
    of the images that its C(FROM) and C(COPY --from) lines name. It is kept as label C(io.stowage.build.digest) of the image, and what
    it was made of as C(io.stowage.build.inputs).
  - Where the digest is the same the context is neither packed nor sent, and no build starts, even after the engine's build cache was pruned.
  - The image is built without a name and looked at, and only then gets its tags.
extends_documentation_fragment:
  - stowage.oci.engine
  - stowage.oci.registry
  - stowage.oci.attributes
attributes:
  check_mode:
    support: full
    details:
      - Whether a build would happen is exact. Whether another image comes of it is so too, except where only the engine's cache can tell,
        with O(stamp=false) or O(rebuild=always). Then the module says what happened last on this host.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  tags:
    description:
      - References to give to the image; the first is the main one. A tag that names another image is moved, without a build where one
        of them names the image already.
    type: list
    elements: str
    required: true
  path:
    description:
      - The context on the host, a folder, or a tar, also one that is compressed with gzip, bzip2, xz or zstd. A relative path starts
        where the module runs, for example in the user's home.
      - As with C(docker build) a C(.dockerignore) counts in a folder and not in a tar, and one named after the Dockerfile
        (C(app.Dockerfile.dockerignore), beside it) counts in its place.
      - Left out, with O(dockerfile_inline), there is no context.
    type: path
  dockerfile:
    description:
      - The Dockerfile, relative to O(path). It may lie outside of the context.
      - By default C(Dockerfile), or C(Containerfile) where there is no other.
    type: str
  dockerfile_inline:
    description:
      - The text of the Dockerfile, in place of O(dockerfile).
    type: str
  build_args:
    description:
      - Values for the C(ARG) lines of the Dockerfile. Those that it does not declare make no difference. Numbers are written as YAML reads
        them, so a version belongs in quotes (C(2.10) is C(2.1)).
    type: dict
    default: {}
  secret_build_args:
    description:
      - As O(build_args), and never shown. Ansible masks these values wherever they occur in a result, so they should be no words of
        every day. The engine itself may keep them in the history of the image, and the label C(io.stowage.build.inputs) has a digest of each
        that is slow to guess from. Prefer O(secrets), of which no image keeps anything.
    type: dict
    default: {}
  target:
    description:
      - The stage to build. The last by default.
    type: str
  platform:
    description:
      - The platform to build for, for example V(linux/arm64). The engine's own by default.
    type: str
  labels:
    description:
      - Labels for the image.
    type: dict
    default: {}
  network:
    description:
      - The network of C(RUN) lines, as the builder knows it, for example V(host) or V(none). It makes no difference to whether
        something is built.
    type: str
  pull:
    description:
      - Whether the registries are asked if the bases moved. A base is pulled only if the registry has another image now.
      - A base that is not on the host is pulled in any case, if it is needed.
    type: bool
    default: false
  cache:
    description:
      - Whether a build may use what the engine has built before.
    type: bool
    default: true
  cache_from:
    description:
      - Where the builder may take cached layers from, as C(docker buildx build --cache-from) or C(podman build --cache-from) takes it.
    type: list
    elements: str
    default: []
  cache_to:
    description:
      - Where to put cached layers, as C(docker buildx build --cache-to) or C(podman build --cache-to) takes it.
    type: list
    elements: str
    default: []
  secrets:
    description:
      - Files for C(RUN --mount=type=secret), of which no image keeps anything. Another content alone is no cause to build.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description:
          - The name in the Dockerfile.
        type: str
        required: true
      src:
        description:
          - A file on the host.
        type: path
      value:
        description:
          - The content, in place of O(secrets[].src).
        type: str
  ssh:
    description:
      - Agent sockets or keys for C(RUN --mount=type=ssh), as C(docker buildx build --ssh) takes them, for example V(default).
    type: list
    elements: str
    default: []
  rebuild:
    description:
      - With V(changed) a build starts only if the build digest is another.
      - With V(always) a build starts in any case. What changed is told by the image that comes of it.
    type: str
    choices: [changed, always]
    default: changed
  stamp:
    description:
      - Whether the image carries its build digest. Without that the context is sent every time, and the engine's cache decides.
    type: bool
    default: true
  hash_cache:
    description:
      - Whether the host remembers the digests of files by path, size, times and inode, and what was built last, so that the next run need only
        look at each file, and can say which differ. The memory is in C(stowage.oci) below E(XDG_CACHE_HOME) or C(~/.cache).
    type: bool
    default: true
  timestamp:
    description:
      - Seconds since 1970 that all times in the image are set to, or V(source) for what E(SOURCE_DATE_EPOCH) says, so that two builds anywhere
        give the same image. Docker can do it from version 26 on, with the containerd store, and Podman, without C(HEALTHCHECK) and C(SHELL).
        Anything else is an error, also Docker with a Dockerfile that the context does not have.
    type: str
  builder:
    description:
      - Who builds. V(auto) takes the first that can do what is needed.
      - V(buildkit) and V(classic) are Docker's, V(podman) is Podman's, all by the engine's API.
      - V(docker_cli) is C(docker buildx build), or C(docker build) with BuildKit where that is not installed, and V(podman_cli) is
        C(podman build) where the engine runs. They are needed for O(ssh), O(cache_from) and O(cache_to); on Docker also for O(secrets), and
        where a Dockerfile that the context does not have uses what only BuildKit knows.
    type: str
    choices: [auto, buildkit, classic, podman, docker_cli, podman_cli]
    default: auto
notes:
  - The build itself asks no registry. The bases are pulled before, by the engine and with our credentials, as by M(stowage.oci.image_pull).
  - An image that somebody builds on top of one which this module built, with C(docker build) or C(docker commit), inherits its labels. Under
    one of O(tags) it passes for what the context builds.
  - Sockets in the context are left out, as Docker does it. All other files arrive with owner 0 and the time 0, and hard links as files of
    their own.
  - An image without a registry in its name is Docker Hub's, in the Dockerfile too, and with Podman too. What C(podman build) called C(base)
    is C(localhost/base) here.
seealso:
  - module: stowage.oci.image_pull
  - module: stowage.oci.image_push
  - module: stowage.oci.image_tag
"""

EXAMPLES = r"""
- name: Build what changed
  stowage.oci.image_build:
    path: /srv/app
    tags:
      - app:1
      - registry.example.com/team/app:1

- name: Build with arguments, and from the newest base
  stowage.oci.image_build:
    path: /srv/app
    dockerfile: deploy/Dockerfile
    tags:
      - app:2
    build_args:
      VERSION: "2.0.1"
    labels:
      org.opencontainers.image.version: "2.0.1"
    pull: true

- name: Build from a few lines, without a context
  stowage.oci.image_build:
    dockerfile_inline: |
      FROM debian:12
      RUN apt-get update && apt-get install -y python3
    tags:
      - molecule/debian:12

- name: Use a secret that no image keeps (docker buildx or Podman)
  stowage.oci.image_build:
    path: /srv/app
    tags:
      - app:3
    secrets:
      - id: token
        value: "{{ app_token }}"

- name: The same image wherever it is built
  stowage.oci.image_build:
    path: /srv/app
    tags:
      - app:4
    timestamp: "1767225600"
"""

RETURN = r"""
images:
  description: One entry for each of O(tags). Where a build failed there is none.
  returned: success, and where a build failed
  type: list
  elements: dict
  contains:
    reference:
      description: The tag as it was written.
      type: str
      sample: app:1
    image_id:
      description: The engine's ID of the image that it names. Null where check mode cannot know it.
      type: str
      sample: sha256:5e4b53d786808463ec4484bfeafcac216ee76b1c733e14b36de8816a4b4b440a
    digest:
      description: The manifest's digest, or null where the store has none, as Docker's classic store before a push.
      type: str
      sample: sha256:12c07e3dfae49dfc6358fbd558d350622654e7ddc0bfd96bfd3c8df1701ba86b
    config_digest:
      description: The config's digest, or null where the store does not tell it.
      type: str
      sample: sha256:5e4b53d786808463ec4484bfeafcac216ee76b1c733e14b36de8816a4b4b440a
    changed:
      description: Whether it named another image, or none, before.
      type: bool
      sample: true
    action:
      description: V(kept); V(built), of the main tag, after a build; V(tagged), of any other that now names another image.
      type: str
      sample: built
build_digest:
  description: The digest of all that the image is built from. Null where check mode cannot know it, before a base is pulled.
  returned: success, and where a build failed
  type: str
  sample: sha256:414050f79dfa253706f7ae01d71909bece0656c8ea861404a8e6182c3fb5c7ae
reason:
  description: Why it is built, in words. Null if it is not.
  returned: success, and where a build failed
  type: str
  sample: "the context changed: changed app.py; the argument VERSION changed"
builder:
  description: Who built it, or would in check mode; a choice of O(builder). Null if nothing is built.
  returned: success, and where a build failed
  type: str
  sample: buildkit
log:
  description: What the build printed, a list of lines. The last 20 of them, or all if it failed.
  returned: success, and where a build failed
  type: list
  elements: str
  sample:
    - "[internal] load remote build context"
    - copy /context /
    - "[internal] load metadata for docker.io/library/debian:12"
    - CACHED [1/3] FROM docker.io/library/debian:12
    - "[2/3] COPY . /app/"
    - "[3/3] RUN echo version 2"
    - version 2
    - exporting to image
"""

import typing as t

from ..module_utils._engine.discover import connect
from ..module_utils._flow.build import Task
from ..module_utils._module import Result, run
from ..module_utils._options import ENGINE, REGISTRY
from ..module_utils._plan.build import ALWAYS, CHANGED
from ..module_utils._plan.builders import AUTO, BUILDERS


def body(params: t.Dict[str, t.Any], check_mode: bool) -> Result:
    return Task(connect(params), params, check_mode)()


def main() -> None:
    secret = dict(
        id=dict(type="str", required=True),
        src=dict(type="path"),
        value=dict(type="str", no_log=True),
    )
    spec = dict(
        tags=dict(type="list", elements="str", required=True),
        path=dict(type="path"),
        dockerfile=dict(type="str"),
        dockerfile_inline=dict(type="str"),
        build_args=dict(type="dict", default={}),
        secret_build_args=dict(type="dict", default={}, no_log=True),
        target=dict(type="str"),
        platform=dict(type="str"),
        labels=dict(type="dict", default={}),
        network=dict(type="str"),
        pull=dict(type="bool", default=False),
        cache=dict(type="bool", default=True),
        cache_from=dict(type="list", elements="str", default=[]),
        cache_to=dict(type="list", elements="str", default=[]),
        secrets=dict(
            type="list", elements="dict", default=[], no_log=False, options=secret, mutually_exclusive=[("src", "value")],
            required_one_of=[("src", "value")],
        ),
        ssh=dict(type="list", elements="str", default=[]),
        rebuild=dict(type="str", choices=[CHANGED, ALWAYS], default=CHANGED),
        stamp=dict(type="bool", default=True),
        hash_cache=dict(type="bool", default=True),
        timestamp=dict(type="str"),
        builder=dict(type="str", choices=[AUTO, *BUILDERS], default=AUTO),
    )
    run(
        body,
        argument_spec=dict(spec, **ENGINE, **REGISTRY),
        mutually_exclusive=[("dockerfile", "dockerfile_inline")],
        required_one_of=[("path", "dockerfile_inline")],
    )


if __name__ == "__main__":
    main()
