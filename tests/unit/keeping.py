# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the files of the program that keeps a registry on its host importable by their names, as they are to each other there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "roles/registry/files/keeper"

sys.path.insert(0, str(FOLDER))


def program():
    """The module that is run."""
    spec = importlib.util.spec_from_file_location("keeper_program", str(FOLDER / "__main__.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
