# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""The Pythons of this machine that modules must run on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

VERSIONS = [f"3.{minor}" for minor in range(8, 14)]


def found() -> dict[str, str]:
    """Version -> path of each that works here: on the PATH, else the newest of pyenv's."""
    pythons = {}
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in VERSIONS:
        for path in (shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)):
            if path and re.match(rf"{version}\.", _version(path)):
                pythons[version] = str(path)
                break
    return pythons


def _version(path: str | Path) -> str:
    command = [path, "-c", "import ensurepip, platform; print(platform.python_version())"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
