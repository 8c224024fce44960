# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
from __future__ import annotations

DOCUMENTATION = """
name: slow
short_description: This machine, at the end of a slow line
description: For tests.
options:
  bytes_per_second:
    type: int
    required: true
    description: How fast the standard input of a command gets there.
    vars:
      - name: bytes_per_second
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

import time

from ansible.plugins.connection.local import Connection as Local


class Connection(Local):
    """Takes its time for data that come with a command; commands themselves and modules are as fast as ever."""

    transport = "slow"

    def exec_command(self, cmd, in_data=None, sudoable=True):
        time.sleep(len(in_data or b"") / self.get_option("bytes_per_second"))
        return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
