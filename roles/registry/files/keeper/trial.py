# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove a configuration by a private start, and its storage by another, before the public server has it."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from typing import Any, Callable, Dict, List, Optional
from urllib.parse import urlsplit

import cache
import explain
import private
import ready
import variants
from api import Answer, Api
from private import Program
from settings import Config, Failure, Settings, read


def trial(settings: Settings, program: Program, path: str, seconds: float) -> Dict[str, Any]:
    config = read(path)
    driver = variants.driver(config)[0]
    limit = time.monotonic() + seconds
    _accounts(config)
    certificate = ((config.get("http") or {}).get("tls") or {}).get("certificate")
    if certificate:
        ready.certificate(certificate)
    with private.folder(settings, program) as folder:
        _whole(program, folder, path, config, limit)
        if variants.redis(config):
            cache.reach(variants.redis(config) or {})
        _storage(program, folder, path, config, limit)
    return {"changed": False, "driver": driver, "written": not variants.is_read_only(config)}


def _accounts(config: Config) -> None:
    """Distribution makes a file of accounts that is not there, with a password that it logs; it must not come to that."""
    path = ((config.get("auth") or {}).get("htpasswd") or {}).get("path")
    if path and not os.path.isfile(path):
        raise Failure("The accounts of auth.htpasswd.path, %s, are %s: the role writes them from registry_users."
                      % (path, "a folder" if os.path.isdir(path) else "not there"))


def _whole(program: Program, folder: str, path: str, config: Config, limit: float) -> None:
    what = "A trial start of %s on this configuration" % " ".join(program.command)
    with private.serving(program, folder, lambda socket: variants.trial(config, socket), path, what, _left(limit)):
        pass


def _storage(program: Program, folder: str, path: str, config: Config, limit: float) -> None:
    driver = variants.driver(config)[0]
    readonly = variants.is_read_only(config)
    what = "A trial of the storage %s" % driver
    with private.serving(program, folder, lambda socket: variants.private(config, socket, readonly), path, what, _left(limit)) as served:
        api = Api(served.address, timeout=_left(limit))

        def asked(method: str, where: str, *good: int) -> Answer:
            try:
                answer = api.ask(method, where)
            except Failure as error:
                raise Failure(explain.failed("%s: %s" % (what, error), served.log(), config))
            if answer.status not in good:
                raise Failure(explain.failed("%s: %s %s is answered %s." % (what, method, where.partition("?")[0], answer), served.log(), config))
            return answer

        asked("GET", "/v2/_catalog?n=1", 200)
        if not readonly:
            _write(asked, variants.root(config))


def _write(asked: Callable[..., Answer], root: Optional[str]) -> None:
    """Begin an upload and cancel it. Distribution leaves folders behind, which go where they can be reached."""
    name = "stowage-trial-%s" % secrets.token_hex(4)
    made = _absent(root, name) if root else []
    try:
        target = urlsplit(asked("POST", "/v2/%s/blobs/uploads/" % name, 202).headers["Location"])
        asked("DELETE", "%s?%s" % (target.path, target.query), 204)
    finally:
        for folder in made[:1]:
            shutil.rmtree(folder, ignore_errors=True)


def _absent(root: str, name: str) -> List[str]:
    """The folders that an upload would make, from the outermost one."""
    path, found = root, []
    for part in ("docker", "registry", "v2", "repositories", name):
        path = os.path.join(path, part)
        if not os.path.exists(path):
            found.append(path)
    return found


def _left(limit: float) -> float:
    left = limit - time.monotonic()
    if left <= 0:
        raise Failure("The trial took longer than it may: the storage, or what the configuration names, hangs.")
    return left
