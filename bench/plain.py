# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module of this checkout as its host would, without Ansible around it: options in JSON on stdin, result on stdout."""

import importlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
importlib.import_module("conftest")  # makes the checkout importable

basic = importlib.import_module("ansible.module_utils.basic")
basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": json.load(sys.stdin)}).encode()
basic._ANSIBLE_PROFILE = "legacy"
importlib.import_module("ansible_collections.stowage.oci.plugins.modules.%s" % sys.argv[1]).main()
