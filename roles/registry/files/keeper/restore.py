# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put a backup into an empty registry."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from typing import Any, Dict, Tuple

import backup
import cache
import maintenance
import private
import ready
import storage
import variants
from private import Program
from settings import Failure, Settings, read
from unit import Unit


def restore(settings: Settings, unit: Unit, program: Program, source: str, dry_run: bool) -> Dict[str, Any]:
    config = read(settings.config)
    root = backup.root_of(config)
    with private.lock(settings):
        maintenance.recover(settings, unit)
        there = {name for name, _found in storage.files(root)}
        if _same(source, root, set(there)):
            return {"changed": False}
        if there:
            raise Failure(_full(root, there))
        if dry_run:
            for _member in backup.members(source):
                pass
            return {"changed": True}
        owner = _owner(program, root)
        for left in glob.glob(os.path.join(glob.escape(root), ".restore-*")):
            shutil.rmtree(left)  # of a run that was killed
        folder = tempfile.mkdtemp(prefix=".restore-", dir=root)  # inside, for the root may be a mount point
        try:
            backup.unpack(source, folder)
            backup.own_tree(folder, owner)
            os.sync()
            running = unit.state() not in maintenance.STOPPED
            unit.stop()
            try:
                _place(folder, root)
                redis = variants.redis(config)
                if redis:
                    cache.flush(redis)
            finally:
                if running:
                    unit.start()
            if running:
                ready.ready(settings, unit, maintenance.SECONDS)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return {"changed": True}


def _full(root: str, there: Any) -> str:
    found = {match.group(1) for match in map(storage.REPOSITORY.fullmatch, there) if match}
    names = ", ".join(sorted(found)[:5]) + (" and %d more" % (len(found) - 5) if len(found) > 5 else "")
    return ("%s is not empty: it holds %s. A backup is put into an empty registry alone: move %s/%s away first."
            % (root, names or "%d files" % len(there), root, storage.TREE))


def _same(source: str, root: str, there: Any) -> bool:
    """Whether the storage holds this backup and nothing else."""
    for name, _size, reader in backup.members(source):
        if name not in there:
            return False
        there.discard(name)
        with open(os.path.join(root, name), "rb") as file:
            while True:
                piece = reader.read(backup.PIECE)
                if file.read(len(piece) or 1) != piece:
                    return False
                if not piece:
                    break
    return not there


def _owner(program: Program, root: str) -> Tuple[int, int]:
    """Whose the storage is; the folder is made if it is not there."""
    ids = program.ids()
    if not os.path.isdir(root):
        os.makedirs(root, 0o750)
        if ids:
            os.chown(root, *ids)
    found = os.stat(root)
    return ids or (found.st_uid, found.st_gid)


def _place(folder: str, root: str) -> None:
    target, made = os.path.join(root, storage.TREE), os.path.join(folder, storage.TREE)
    if any(storage.files(root)):
        raise Failure("%s was filled meanwhile: nothing was put in place." % root)
    if os.path.lexists(target):
        shutil.rmtree(target)  # folders without a file
    if os.path.isdir(made):
        os.rename(made, target)
