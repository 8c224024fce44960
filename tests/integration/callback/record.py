# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
from __future__ import annotations

DOCUMENTATION = """
name: record
type: aggregate
short_description: Write each task's result as one line of JSON
description: For tests. What is shown on the screen stays as it is.
options:
  path:
    description: The file to append to.
    required: true
    type: path
    env:
      - name: STOWAGE_RECORD
"""

import json

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Appends {host, task, status, result} for each host of each task; `status` as in the recap, items of a loop are in the result."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"

    def _write(self, result, status):
        line = {"host": result.host.get_name(), "task": result.task.get_name(), "status": status, "result": result.result}
        with open(self.get_option("path"), "a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result):
        self._write(result, "changed" if result.result.get("changed") else "ok")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._write(result, "ignored" if ignore_errors else "failed")

    def v2_runner_on_unreachable(self, result):
        self._write(result, "unreachable")

    def v2_runner_on_skipped(self, result):
        self._write(result, "skipped")
