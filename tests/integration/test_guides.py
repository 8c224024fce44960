# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What README and guides show of other collections is as these document it: how one comes from them is told beside how they are written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ansible_collections.stowage.oci.tests.unit.test_guide_blocks import OURS, YAML, action, faults, tasks

import peers

# Its arguments are names of the user's own.
FREE = ("ansible.builtin.set_fact",)
KEPT = ("type", "elements", "choices", "required", "aliases")


@pytest.fixture(scope="module", name="shown")
def _shown():
    """Each task of another collection in a block: the module, and its arguments."""
    found = [action(task) for block in YAML for task in tasks(yaml.safe_load(block.values[0]))]
    return [one for one in found if one and not one[0].startswith(OURS)]


def spec(options):
    """An argument_spec from documentation, as far as it tells."""
    found = {}
    for name, option in options.items():
        found[name] = {key: list(option[key]) if key == "choices" else option[key] for key in KEPT if key in option}
        if "suboptions" in option:
            found[name]["options"] = spec(option["suboptions"])
    return found


def test_other_collections_take_what_is_shown_of_them(shown):
    names = sorted({module for module, _values in shown})
    command = [str(Path(sys.executable).with_name("ansible-doc")), "--json", *names]
    environ = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(peers.collections())}
    documented = json.loads(subprocess.run(command, env=environ, capture_output=True, check=True).stdout)
    assert sorted(documented) == names and any(name.startswith("community.docker.") for name in names)
    for module, values in shown:
        if isinstance(values, dict) and module not in FREE:
            assert faults(values, spec(documented[module]["doc"].get("options", {}))) == [], module
