#!/usr/bin/python
# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_search
short_description: Tell which repositories a registry offers, their tags and what these name
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Searches Docker Hub, Quay and others that have a search, and picks from the list of all repositories of a registry that has none.
  - Lists tags with the newest version first, those of a range of versions if wanted, and the digest of each tag.
  - Changes nothing and needs no engine.
extends_documentation_fragment:
  - stowage.oci.registry
  - stowage.oci.parallel
  - stowage.oci.attributes
requirements:
  - requests
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
  registry:
    description:
      - The host, with a port if need be, as names of images begin with. Of GitLab, Nexus and Artifactory it is the host of their web API,
        such as V(gitlab.com) for V(registry.gitlab.com).
    type: str
    default: docker.io
  query:
    description:
      - What to look for. Registries that have a search decide for themselves what fits; where all repositories are listed
        (V(catalog), V(gitlab), V(nexus), V(artifactory) of O(api), or a project of V(harbor)) it is a part of the repository's name,
        in upper or lower case.
      - With C(*), C(?) or C([...]) it is a pattern that the whole name has, in which C(*) stands for C(/) too.
      - It has no registry, which is O(registry), and no tag; those are chosen with O(tags).
      - Docker Hub and Quay need one.
    type: str
    default: ''
  exact:
    description:
      - Whether O(query) is the whole name of the one repository that is wanted, as RV(repositories[].name) has it; of an official image
        of Docker Hub the short one will do.
      - V(catalog) of O(api) then asks for that repository's tags and reads no catalog, which takes no right to the catalog either.
        With V(docker_hub), V(v1) and V(quay) the name has to be in the first 10 pages that the search finds; else nothing is
        returned and RV(truncated) is true.
    type: bool
    default: false
  api:
    description:
      - How the registry is asked.
      - V(docker_hub) is the search of hub.docker.com, or where that fails C(/v1/search) at index.docker.io.
      - V(v1) is C(/v1/search), V(catalog) is C(/v2/_catalog); V(quay), V(harbor), V(gitlab), V(nexus) and V(artifactory) are the web APIs
        of these.
      - V(auto) knows docker.io, quay.io and gitlab.com, and tries at any other host V(catalog), V(harbor), V(quay), V(v1) and V(nexus), or
        with O(scope) V(harbor), V(gitlab), V(nexus) and V(artifactory), until one of them answers.
    type: str
    choices: [auto, docker_hub, v1, catalog, quay, harbor, gitlab, nexus, artifactory]
    default: auto
  scope:
    description:
      - The part of the registry that is looked at. Of GitLab the path or number of a project or group (required), of Artifactory the name
        of a Docker repository (required), of Harbor a project, of Nexus a repository. The others have none.
    type: str
    default: ''
  limit:
    description:
      - How many repositories are returned at most; V(0) for all. They are the first that the registry tells, and RV(truncated) says
        whether there are more.
    type: int
    default: 100
  official:
    description:
      - Only official images. V(docker_hub) and V(v1) of O(api) know which are. V(auto) asks no other then, and the task fails where
        the registry does not tell.
    type: bool
    default: false
  min_stars:
    description:
      - Only repositories with that many stars. V(docker_hub), V(v1) and V(quay) of O(api) know them. V(auto) asks no other then, and the
        task fails where the registry tells none.
    type: int
    default: 0
  tags:
    description:
      - Whether the tags of each repository are listed; all with V(true), or those in which a regular expression is found.
      - Tags that hold the signatures and attestations of an image (C(sha256-...)) are left out.
      - V(true) where O(tag_range), O(tag_limit) or O(digests) is given.
    type: raw
    default: false
  tag_range:
    description:
      - Only tags that are versions within these bounds, for example V(>=1.2 <2). Each bound is one of C(>=), C(>), C(<=), C(<), C(=), C(!=)
        and a version; all must hold.
      - Prereleases are left out unless a bound is a prerelease of the same version. C(1.27-alpine) and the like count as V(1.27).
    type: str
  tag_limit:
    description:
      - How many tags of each repository are returned at most, which are those of the highest versions; V(0) for all.
    type: int
    default: 0
  digests:
    description:
      - Whether to ask which digest each tag names. That is one request for each tag, O(parallel) at a time, and no pull for Docker Hub.
    type: bool
    default: false
notes:
  - Of the credentials nothing is shown to another host than O(registry) and its token server. hub.docker.com and index.docker.io are
    asked without. Where GitLab's registry has another name than its API, its tags are asked for with what the credential files have for it.
  - GitLab takes an access token as O(password), Quay an OAuth token as O(password) with V($oauthtoken) as O(username); without, what is
    public is found.
  - Of tags or digests that cannot be had, RV(repositories) has the others, and the task fails with a message for each failure.
seealso:
  - module: stowage.oci.image_pull
  - module: stowage.oci.image_archive
"""

EXAMPLES = r"""
- name: Find official images of nginx on Docker Hub
  stowage.oci.registry_search:
    query: nginx
    official: true

- name: List what a private registry has for a team, tags and digests included
  stowage.oci.registry_search:
    registry: registry.example.com:5000
    query: team/*
    limit: 0
    digests: true
    username: deploy
    password: "{{ registry_password }}"
    ca_cert: /etc/ssl/certs/site-ca.pem
    parallel: 16
  register: offer

- name: Find the newest release of version 1 that has plain numbers as its tag
  stowage.oci.registry_search:
    registry: registry.example.com
    query: team/app
    exact: true
    tags: ^[0-9.]+$
    tag_range: ">=1.2 <2"
    tag_limit: 1

- name: List the images of a group of GitLab
  stowage.oci.registry_search:
    registry: gitlab.example.com
    api: gitlab
    scope: group/project
    username: reader
    password: "{{ gitlab_token }}"
"""

RETURN = r"""
repositories:
  description: What was found, the most stars first, then by name.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The repository, without its registry.
      type: str
      returned: always
      sample: library/nginx
    reference:
      description: The repository with its registry, to which a tag can be added.
      type: str
      returned: always
      sample: docker.io/library/nginx
    description:
      description: One line about it. Null where the API tells none.
      type: str
      returned: always
      sample: About nginx.
    stars:
      description: How many like it. Null where the API does not tell.
      type: int
      returned: always
      sample: 21268
    official:
      description: Whether it is an official image. Null where the API does not tell.
      type: bool
      returned: always
      sample: true
    tags:
      description:
        - Its tags, the highest version first and what is no version last; of one version the release comes first, then its variants, then its
          prereleases. Null if they could not be had.
      type: list
      elements: dict
      returned: when tags are asked for
      contains:
        name:
          description: The tag.
          type: str
          sample: "1.27"
        digest:
          description:
            - The digest of the manifest or index that the tag names. Null without O(digests), though Nexus tells it anyway, and
              where the tag names no image.
          type: str
          sample: sha256:380a77b1c601743572176db1e5e7a1efeb37f0e6ecd728632e6ff7791f315c4f
truncated:
  description: Whether there are more repositories than are returned.
  returned: always
  type: bool
  sample: false
api:
  description: How the registry was asked, as one of the choices of O(api).
  returned: always
  type: str
  sample: docker_hub
"""

import typing as t

from ..module_utils._flow.search import Searcher
from ..module_utils._module import Result, run
from ..module_utils._options import PARALLEL, REGISTRY
from ..module_utils._plan.search import APIS, AUTO, wish


def body(params: t.Dict[str, t.Any], check_mode: bool) -> Result:
    return Searcher(params, wish(params))()


def main() -> None:
    spec = dict(
        registry=dict(type="str", default="docker.io"),
        query=dict(type="str", default=""),
        exact=dict(type="bool", default=False),
        api=dict(type="str", choices=list(APIS), default=AUTO),
        scope=dict(type="str", default=""),
        limit=dict(type="int", default=100),
        official=dict(type="bool", default=False),
        min_stars=dict(type="int", default=0),
        tags=dict(type="raw", default=False),
        tag_range=dict(type="str"),
        tag_limit=dict(type="int", default=0),
        digests=dict(type="bool", default=False),
    )
    run(body, argument_spec=dict(spec, **REGISTRY, **PARALLEL))


if __name__ == "__main__":
    main()
