# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""The Pythons that modules must run on, where this machine has them, and the releases of ansible-core that all is proved on.

By hand: `python dev/pythons.py` prints those on which the ansible-core of the Python that runs it has modules run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

VERSIONS = [f"3.{minor}" for minor in range(8, 14)]

CORES = {"2.19": "3.11", "2.20": "3.12", "2.21": "3.13"}
"""Release of ansible-core -> the Python of its controller here: the oldest release that we support, and the two newest."""

CORE = next(iter(CORES))
"""The release that tests run under where they do not say which."""


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


def hosts() -> dict[str, str]:
    """Those of `found` on which the ansible-core of this very Python has modules run; it has a list of its own."""
    from ansible_test._util.target.common.constants import CONTROLLER_PYTHON_VERSIONS, REMOTE_ONLY_PYTHON_VERSIONS

    return {version: path for version, path in found().items() if version in REMOTE_ONLY_PYTHON_VERSIONS + CONTROLLER_PYTHON_VERSIONS}


def _version(path: str | Path) -> str:
    command = [path, "-c", "import ensurepip, platform; print(platform.python_version())"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    print(*hosts())
