# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: trust_places
short_description: Where the role trust must look on a host
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Checks the variables of the role P(stowage.oci.trust#role), and names the files that concern them.
  - For that role.
positional: _input, state, users
options:
  _input:
    description:
      - The role's variables, without their prefix; O(_input) holds contents where they name files.
    type: dict
    required: true
  state:
    description:
      - What the role wrote on that host to remember what it added there; empty if it was never there.
    type: str
    required: true
  users:
    description:
      - The users of that host, as M(ansible.builtin.getent) finds them.
    type: dict
    required: true
seealso:
  - plugin: stowage.oci.trust_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Where would the role look
  ansible.builtin.debug:
    msg: "{{ wish | stowage.oci.trust_places('', {}) }}"
  vars:
    wish:
      {state: present, registry: 'registry.example.com:5000', mirror_of: [], logins: [], insecure: never, ca: '',
       client_certificate: '', client_key: ''}
"""

RETURN = r"""
_value:
  description:
    - C(paths) to look at, C(folders) all of whose content counts, C(read), a pattern of the files to read, and C(made), what may be removed.
  type: dict
  sample:
    paths:
      - /etc
      - /etc/containerd
      - /etc/containerd/certs.d
      - /etc/containerd/certs.d/registry.example.com:5000
      - /etc/containerd/certs.d/registry.example.com:5000/hosts.toml
      - /etc/containerd/certs.d/registry.example.com:5000/stowage.cert
      - /etc/containerd/certs.d/registry.example.com:5000/stowage.crt
      - /etc/containerd/certs.d/registry.example.com:5000/stowage.key
      - /etc/containerd/config.toml
      - /etc/containers
      - /etc/containers/certs.d
      - /etc/containers/certs.d/registry.example.com:5000
      - /etc/containers/certs.d/registry.example.com:5000/stowage.cert
      - /etc/containers/certs.d/registry.example.com:5000/stowage.crt
      - /etc/containers/certs.d/registry.example.com:5000/stowage.key
      - /etc/containers/registries.conf
      - /etc/containers/registries.conf.d
      - /etc/containers/registries.conf.d/zz-stowage.conf
      - /etc/docker
      - /etc/docker/certs.d
      - /etc/docker/certs.d/docker.io
      - /etc/docker/certs.d/docker.io/hosts.toml
      - /etc/docker/certs.d/registry.example.com:5000
      - /etc/docker/certs.d/registry.example.com:5000/stowage.cert
      - /etc/docker/certs.d/registry.example.com:5000/stowage.crt
      - /etc/docker/certs.d/registry.example.com:5000/stowage.key
      - /etc/docker/daemon.json
      - /run
      - /run/docker.pid
      - /run/docker.sock
      - /run/systemd
      - /run/systemd/system
    read: "(?:/etc/containerd/certs\\.d/registry\\.example\\.com:5000/hosts\\.toml|/etc/containerd/config\\.toml|/etc/containers/registries\\\
      .conf|/etc/docker/certs\\.d/docker\\.io/hosts\\.toml|/etc/docker/daemon\\.json|/run/docker\\.pid|/etc/containers/registries\\\
      .conf\\.d/[^/]*[.]conf)$"
    folders:
      - /etc/containers/registries.conf.d
    made: []
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._errors import InvalidInput
from ..module_utils._server import trust_wish


def trust_places(wish: t.Dict[str, t.Any], state: str, users: t.Dict[str, t.List[str]]) -> t.Dict[str, t.Any]:
    try:
        trust_wish.check(wish)
        return trust_wish.places(wish, state, users)
    except InvalidInput as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"trust_places": trust_places}
