# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
from __future__ import annotations

DOCUMENTATION = """
name: document
type: stdout
short_description: Write one JSON document
description: For tests. As C(ansible.posix.json) does, so that a program can read what ansible-playbook writes.
"""

import json

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Writes {host: recap} at the end, and nothing else."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "document"

    def v2_playbook_on_stats(self, stats):
        self._display.display(json.dumps({host: stats.summarize(host) for host in stats.processed}))
