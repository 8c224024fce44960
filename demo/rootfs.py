# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A root file system of real files: this machine's own Python with all that it needs to run, and then more of its system."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, Iterator

LARGE = 16 << 20
"""Bytes of a file that is left out, so that a few do not make up the whole."""

PARTS = """
import glob, os, sys, sysconfig
paths = sysconfig.get_paths()
print(os.path.realpath(sys.executable), paths["stdlib"], *glob.glob(paths["platstdlib"] + "/lib-dynload/*.so"), sep="\\n")
"""


class Tree:
    """Files of this machine in a tar, under the same names below the folder `top`; `size` is that of their contents in bytes."""

    def __init__(self, tar: tarfile.TarFile, top: str = "root") -> None:
        self._tar = tar
        self._top = top
        self.paths: set[Path] = set()
        self.size = 0

    def fill(self, size: int) -> Path:
        """Add files until there are `size` bytes; returns the path of the Python among them."""
        python = Path("/usr/bin/python3")
        if not python.exists():
            python = Path(sys.base_prefix, "bin/python3")
        for path in _python(python):
            self.add(path)
        for path in _system():
            if self.size >= size:
                break
            self.add(path)
        return python

    def add(self, path: Path) -> None:
        """Add a file or link, and what the link points to; not what is neither or may not be read."""
        for parent in reversed(path.parents):
            if parent.is_symlink():
                self._link(parent)
        path = path.parent.resolve() / path.name
        if path in self.paths:
            return
        if path.is_symlink():
            self._link(path)
            self.add(path.parent / os.readlink(path))
        elif path.is_file() and os.access(path, os.R_OK):
            self.paths.add(path)
            member = self._tar.gettarinfo(path, f"{self._top}{path}")
            self.size += member.size
            with open(path, "rb") as stream:
                self._put(member, stream)

    def _link(self, path: Path) -> None:
        if path not in self.paths:
            self.paths.add(path)
            self._put(self._tar.gettarinfo(path, f"{self._top}{path}"))

    def _put(self, member: tarfile.TarInfo, stream: Any = None) -> None:
        member.mode &= 0o777
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        self._tar.addfile(member, stream)


def _python(python: Path) -> list[Path]:
    """It, its library, and the shared objects that both need."""
    real, library, *modules = _output(python, "-c", PARTS).splitlines()
    objects = re.findall(r"(/\S+) \(0x", _output("ldd", real, *modules))
    files = [path for path in sorted(Path(library).rglob("*")) if not {"site-packages", "__pycache__"} & set(path.parts)]
    return [python, *map(Path, dict.fromkeys(objects)), *files]


def _system() -> Iterator[Path]:
    """This machine's own system, in the order of its names, without large files."""
    for top in ("/usr/bin", "/usr/lib", "/usr/share"):
        for folder, folders, names in os.walk(top):
            folders.sort()
            for path in (Path(folder, name) for name in sorted(names)):
                if os.path.exists(path) and os.path.getsize(path) < LARGE:
                    yield path


def _output(*command: Any) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
