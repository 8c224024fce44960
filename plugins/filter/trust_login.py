# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: trust_login
short_description: An auth file of docker login or podman login with one login more, or less
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Merges a login into what is in C(~/.docker/config.json) or C(auth.json); helpers, settings and other logins stay as they are.
positional: _input, path, key
options:
  _input:
    description:
      - The content of the file; empty if there is none.
    type: str
    required: true
  path:
    description:
      - The file's path, for messages.
    type: str
    required: true
  key:
    description:
      - What the login is called in the file, C(host[:port]); that of Docker Hub is V(https://index.docker.io/v1/) for Docker.
    type: str
    required: true
  login:
    description:
      - A dictionary with C(username) and C(password). Without it the login is taken out.
    type: dict
"""

EXAMPLES = r"""
- name: Log in without a registry that answers
  ansible.builtin.copy:
    content: "{{ '' | stowage.oci.trust_login(path, 'registry.example.com:5000', {'username': 'ann', 'password': password}) }}"
    dest: "{{ path }}"
    mode: "0600"
  no_log: true
  vars:
    path: /home/ann/.docker/config.json
"""

RETURN = r"""
_value:
  description: The content of the file. It holds the password, though not in a form that one reads at a glance.
  type: str
  sample: "{\n\t\"auths\": {\n\t\t\"registry.example.com:5000\": {\n\t\t\t\"auth\": \"YW5uOnNlY3JldA==\"\n\t\t}\n\t}\n}\n"
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._errors import InvalidInput
from ..module_utils._server.trust_json import with_login


def trust_login(text: str, path: str, key: str, login: t.Optional[t.Dict[str, str]] = None) -> str:
    try:
        return with_login(text, path, key, (login["username"], login["password"]) if login else None)
    except InvalidInput as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"trust_login": trust_login}
