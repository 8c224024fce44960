# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""Collections of other makers for tests, scenarios and bench, out of the Python package `ansible`, which carries them all.

By hand: `python dev/peers.py` prints the collections path that holds them.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Iterable

sys.path.insert(0, str(Path(__file__).parent))
import debs  # noqa: E402

ANSIBLE = 12
"""The major version of the package: the one that goes with our ansible-core."""

COLLECTIONS = (
    "ansible.posix", "community.crypto", "community.docker", "community.general", "community.library_inventory_filtering_v1", "containers.podman",
)


def collections() -> Path:
    """A collections path that holds COLLECTIONS, fetched once into the cache; debs.Unavailable if pip cannot have the package."""
    path = debs.CACHE / "peers" / f"ansible-{ANSIBLE}"
    with debs.lock("peers"):
        lacking = [name for name in COLLECTIONS if not (path / _folder(name)).exists()]
        if lacking:
            _fetch(lacking, path)
    return path


def _fetch(names: Iterable[str], path: Path) -> None:
    """Each comes into its place whole."""
    with TemporaryDirectory(dir=debs.CACHE) as folder:
        wheel = _wheel(Path(folder))
        with zipfile.ZipFile(wheel) as package:
            for name in names:
                members = [member for member in package.namelist() if member.startswith(f"{_folder(name)}/")]
                if not members:
                    raise debs.Unavailable(f"{wheel.name} has no collection {name}")
                package.extractall(folder, members)
                (path / _folder(name)).parent.mkdir(parents=True, exist_ok=True)
                Path(folder, _folder(name)).rename(path / _folder(name))


def _wheel(folder: Path) -> Path:
    wanted = f"ansible=={ANSIBLE}.*"
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--dest", folder]
    done = subprocess.run([sys.executable, "-m", "pip", "download", *options, wanted], capture_output=True, text=True, check=False)
    if done.returncode:
        raise debs.Unavailable(f"pip cannot have {wanted}: {done.stderr.strip()}")
    return next(folder.glob("ansible-*.whl"))


def _folder(name: str) -> str:
    """``ansible_collections/community/docker`` of ``community.docker``."""
    return f"ansible_collections/{name.replace('.', '/')}"


if __name__ == "__main__":
    try:
        print(collections())
    except debs.Unavailable as error:
        sys.exit(str(error))
