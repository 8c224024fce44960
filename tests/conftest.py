# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""Makes the checkout importable as `ansible_collections.stowage.oci`, wherever it lies, and dev/ by the names of its files.

As in Ansible no folder of the collection needs an __init__.py. Runs on every Python that the unit tests run on (3.8 and later).
"""

import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def _package(name, path):
    """Make a package whose modules are looked for in these folders."""
    package = sys.modules[name] = ModuleType(name)
    package.__path__ = path
    return package


_package("ansible_collections", []).stowage = _package("ansible_collections.stowage", [])
sys.modules["ansible_collections.stowage"].oci = _package("ansible_collections.stowage.oci", [str(ROOT)])
sys.path.insert(0, str(ROOT / "dev"))
