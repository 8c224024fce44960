# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
from __future__ import annotations

DOCUMENTATION = """
name: plain
short_description: This machine, by commands that have no standard input
description: For tests. As some container and chroot connections, it copies files and knows no pipelining.
options:
  become_success_timeout:
    type: int
    default: 10
    description: As for the connection C(local).
  become_strip_preamble:
    type: bool
    default: true
    description: As for the connection C(local).
extends_documentation_fragment:
  - connection_pipelining
"""

from ansible.errors import AnsibleError
from ansible.plugins.connection.local import Connection as Local


class Connection(Local):
    """Fails a command that comes with data, as paramiko's does."""

    transport = "plain"
    has_pipelining = False

    def exec_command(self, cmd, in_data=None, sudoable=True):
        if in_data:
            raise AnsibleError("no command here has a standard input")
        return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
