# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: htpasswd
short_description: Write a registry's file of accounts
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Makes the text of an C(htpasswd) file with bcrypt hashes from passwords by name. The role P(stowage.oci.registry#role) uses it.
  - A line whose hash still proves its password stays as it is, so that an unchanged account changes nothing. One changed password changes one line.
  - Lines of other accounts, and those that are no accounts, are left out.
requirements:
  - bcrypt on the controller
positional: _input, current
options:
  _input:
    description:
      - The passwords by name. Names and passwords are printable ASCII, for clients do not send other characters alike. Passwords have
        at most 72 characters, which is all that bcrypt reads.
    type: dict
    required: true
  current:
    description:
      - The text of the file as it is now, empty if there is none.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Read the accounts that there are
  ansible.builtin.slurp:
    src: /etc/registry/htpasswd
  register: accounts

- name: Change what has to be changed
  ansible.builtin.copy:
    content: "{{ {'ann': ann_password, 'ci': ci_password} | stowage.oci.htpasswd(accounts.content | b64decode) }}"
    dest: /etc/registry/htpasswd
    mode: "0640"
  no_log: true
"""

RETURN = r"""
_value:
  description: The text of the file. Accounts that were there keep their places, new ones follow by name.
  type: str
  sample: |
    ann:$2b$10$Ttg/V/2DGml3phqyd5/sGuv2Kt3G09GAloRwAHP1bXPHBhEzBe/K2
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._errors import InvalidInput
from ..module_utils._server import accounts

_COST = 10


def htpasswd(users: t.Mapping[str, str], current: str) -> str:
    try:
        import bcrypt
    except ImportError:
        raise AnsibleFilterError("the controller's Python lacks bcrypt: pip install bcrypt") from None
    if not isinstance(current, str):
        raise AnsibleFilterError("the current accounts must be a text, empty if there are none")

    def proves(password: str, found: str) -> bool:
        return bcrypt.checkpw(password.encode("ascii"), found.encode("ascii"))

    def hashed(password: str) -> str:
        return bcrypt.hashpw(password.encode("ascii"), bcrypt.gensalt(_COST)).decode("ascii")

    try:
        return accounts.renewed(users, current, proves, hashed)
    except InvalidInput as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"htpasswd": htpasswd}
