# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small JSON files between runs, of what saves work to know. Losing one costs no more than that work."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
import typing as t


def load(file: str) -> t.Any:
    """What was stored there; None where there is no such file, or it is damaged, or others could have written it."""
    try:
        with open(file, encoding="ascii", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)) as stream:
            found = os.fstat(stream.fileno())
            if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
                return json.load(stream)
    except (OSError, ValueError, RecursionError):
        pass
    return None


def store(file: str, document: t.Any) -> None:
    """In a folder for this user alone, by one rename. Where that cannot be done nothing is stored."""
    folder = os.path.dirname(file)
    with contextlib.suppress(OSError):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=folder, suffix=".part")  # with mode 0600
        try:
            with open(handle, "w", encoding="ascii") as out:
                json.dump(document, out, separators=(",", ":"))
            os.rename(part, file)
        except BaseException:
            os.unlink(part)
            raise
