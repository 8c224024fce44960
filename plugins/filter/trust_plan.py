# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: trust_plan
short_description: What a host's files must become to trust a registry
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Merges what the role P(stowage.oci.trust#role) is asked for into the files of a host, or takes it out again; nothing else in them changes.
  - It holds no password; P(stowage.oci.trust_login#filter) makes the files that do. For that role.
positional: _input, facts
options:
  _input:
    description:
      - The role's variables, without their prefix; O(_input) holds contents where they name files.
    type: dict
    required: true
  facts:
    description:
      - What the role found on that host.
    type: dict
    required: true
seealso:
  - plugin: stowage.oci.trust_places
    plugin_type: filter
"""

EXAMPLES = r"""
- name: What would the role do on a host without any of its files
  ansible.builtin.debug:
    msg: "{{ wish | stowage.oci.trust_plan(facts) }}"
  vars:
    wish:
      {state: present, registry: 'registry.example.com:5000', mirror_of: [docker.io], logins: [], insecure: never, ca: '',
       client_certificate: '', client_key: ''}
    facts: {engines: [docker, podman], state: '', found: [], texts: {}, users: {}, dump: '', dockerd: '', made: []}
"""

RETURN = r"""
_value:
  description:
    - C(files) with path, content and mode; C(folders) for them; C(client_keys), where the client's key goes; C(logins), by their index;
      C(gone) and C(emptied), files and folders to remove; C(docker) and C(restart), what engines must take up; C(state), what to remember.
  type: dict
  sample:
    state: |
      {
        "made": [
          "/etc",
          "/etc/docker",
          "/etc/docker/daemon.json"
        ],
        "keys": [
          "registry-mirrors"
        ],
        "registries": {
          "registry.example.com:5000": {
            "files": [],
            "hosts": [],
            "daemon": {
              "registry-mirrors": [
                "https://registry.example.com:5000"
              ]
            },
            "logins": [],
            "containerd": false
          }
        }
      }
    folders:
      - path: /etc
        mode: "0755"
        uid: 0
        gid: 0
      - path: /etc/docker
        mode: "0755"
        uid: 0
        gid: 0
    files:
      - path: /etc/docker/daemon.json
        content: |
          {
            "registry-mirrors": [
              "https://registry.example.com:5000"
            ]
          }
        mode: "0644"
    client_keys: []
    logins: []
    gone: []
    emptied: []
    docker:
      reload: true
      told: |
        {
          "registry-mirrors": [
            "https://registry.example.com:5000"
          ]
        }
      known:
        - https://registry.example.com:5000
      unknown: []
    restart: false
"""

import tomllib
import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._errors import InvalidInput
from ..module_utils._server import trust


def trust_plan(wish: t.Dict[str, t.Any], facts: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    try:
        return trust.plan(wish, facts, tomllib.loads)
    except InvalidInput as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"trust_plan": trust_plan}
