# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: reference
short_description: Take an image reference apart
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Reads a reference as C(docker pull) does, and says what each part is. Asks nobody.
positional: _input
options:
  _input:
    description:
      - A reference, C([registry[:port]/]repository[:tag][@digest]). One that is malformed is an error.
      - One text; for a list use C(map('stowage.oci.reference')).
    type: str
    required: true
seealso:
  - plugin: stowage.oci.pin
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Which registries are to be reached
  ansible.builtin.debug:
    msg: "{{ images | map('stowage.oci.reference') | map(attribute='registry') | unique }}"

- name: The same image in the site's own registry
  ansible.builtin.set_fact:
    mirrored: "registry.example.com/{{ parts.repository }}:{{ parts.tag }}"
  vars:
    parts: "{{ 'nginx:1.27' | stowage.oci.reference }}"
# => registry.example.com/library/nginx:1.27
"""

RETURN = r"""
_value:
  description: The parts of the reference.
  type: dict
  contains:
    registry:
      description: Host and port; V(docker.io) where none is written.
      type: str
      sample: docker.io
    repository:
      description: The path in the registry.
      type: str
      sample: library/nginx
    tag:
      description: The tag; V(latest) where neither tag nor digest is written, null where there is only a digest.
      type: str
      sample: "1.27"
    digest:
      description: The digest, or null.
      type: str
      sample: sha256:380a77b1c601743572176db1e5e7a1efeb37f0e6ecd728632e6ff7791f315c4f
    name:
      description: Registry and repository.
      type: str
      sample: docker.io/library/nginx
    reference:
      description: All of it in the canonical form; two references are the same if these are.
      type: str
      sample: docker.io/library/nginx:1.27
    familiar:
      description: All of it as Docker shows it, without what is the same for Docker Hub's images.
      type: str
      sample: nginx:1.27
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._errors import InvalidReference
from ..module_utils._oci.reference import DOCKER_HUB, parse


def reference(text: str) -> t.Dict[str, t.Optional[str]]:
    try:
        found = parse(text)
    except InvalidReference as error:
        raise AnsibleFilterError(str(error)) from None
    return {
        "registry": str(found.registry),
        "repository": str(found.repository),
        "tag": str(found.tag) if found.tag else None,
        "digest": str(found.digest) if found.digest else None,
        "name": found.name,
        "reference": str(found),
        "familiar": familiar(str(found)),
    }


def familiar(canonical: str) -> str:
    """The shortest form that is read as the same."""
    for prefix in (DOCKER_HUB + "/library/", DOCKER_HUB + "/"):
        if canonical.startswith(prefix) and str(parse(canonical[len(prefix):])) == canonical:
            return canonical[len(prefix):]
    return canonical


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"reference": reference}
