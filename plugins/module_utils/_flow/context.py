# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build is given: the Dockerfile, wherever it is, and the context around it, a folder, a tar or nothing."""

from __future__ import annotations

import functools
import os
import posixpath
import typing as t

from .._errors import InvalidInput, shown
from .._oci.context import Tree, measured, packed
from .._oci.context_tar import TarContext
from .._oci.hashes import Hashes
from .._oci.ignore import Ignore

_USUAL = ("Dockerfile", "Containerfile")


class Context(t.NamedTuple):
    """``where`` says where the Dockerfile is, for messages. ``name`` is its path in the context; None where it is not in it, or left out
    of it. ``ignore`` is the context's own ``.dockerignore``, if it is among what is sent. ``packed(extra)`` is the tar for a builder, with
    files that are not in the context; see ``_oci.context`` for what it raises. For a builder that reads by itself there are the paths
    ``folder`` and ``file`` of context and Dockerfile, and ``measured``, which tells what the folder holds now.
    """

    dockerfile: bytes
    where: str
    name: t.Optional[str]
    tree: Tree
    packed: t.Callable[[t.Mapping[str, bytes]], t.Iterator[bytes]]
    ignore: t.Optional[bytes] = None
    folder: t.Optional[str] = None
    file: t.Optional[str] = None
    measured: t.Optional[t.Callable[[], Tree]] = None


def opened(params: t.Mapping[str, t.Any], hashes: Hashes) -> Context:
    """Measure it. Raises InvalidInput if the options name no Dockerfile or no context, ContextError if it cannot be read."""
    path, inline = params["path"], params["dockerfile_inline"]
    if inline is not None and params["dockerfile"] is not None:
        raise InvalidInput("dockerfile and dockerfile_inline: give one of them")
    if path is None:
        if inline is None:
            raise InvalidInput("path: give the folder or tar of the context, or dockerfile_inline for a build without one")
        return Context(inline.encode("utf-8"), "dockerfile_inline", None, Tree([]), lambda extra: packed(os.devnull, Tree([]), extra))
    if os.path.isdir(path):
        return _of_folder(path, params["dockerfile"], inline, hashes)
    if not os.path.exists(path):
        raise InvalidInput("path: there is no %s on this host: give the folder or tar of the context" % shown(path))
    return _of_tar(path, params["dockerfile"], inline)


def _of_folder(path: str, named: t.Optional[str], inline: t.Optional[str], hashes: Hashes) -> Context:
    if inline is not None:
        text, where, file, inside = inline.encode("utf-8"), "dockerfile_inline", None, None
    else:
        file = os.path.normpath(os.path.join(path, named or _usual(path)))
        text, where, inside = _read(file), file, os.path.relpath(file, path)
    own = "%s.dockerignore" % file if file else ""
    ignoring = own if os.path.isfile(own) else os.path.join(path, ".dockerignore")
    ignore = Ignore(_read(ignoring, "path") if os.path.isfile(ignoring) else b"", ignoring)
    measure = functools.partial(measured, path, ignore, hashes)
    tree = measure()
    files = {entry.path for entry in tree.entries if entry.kind == "file"}
    sent = _read(os.path.join(path, ".dockerignore"), "path") if ".dockerignore" in files else None
    name = inside if inside in files else None
    return Context(text, where, name, tree, lambda extra: packed(path, tree, extra), sent, path, file, measure)


def _of_tar(path: str, named: t.Optional[str], inline: t.Optional[str]) -> Context:
    tar = TarContext(path)
    if inline is not None:
        return Context(inline.encode("utf-8"), "dockerfile_inline", None, tar.tree, tar.packed)
    if named and os.path.isabs(named):
        return Context(_read(named), named, None, tar.tree, tar.packed, file=named)
    files = {entry.path for entry in tar.tree.entries if entry.kind == "file"}
    wanted = [posixpath.normpath(named)] if named else list(_USUAL)
    for name in wanted:
        if name in files:
            return Context(tar.read(name), "%s in %s" % (name, path), name, tar.tree, tar.packed)
    raise InvalidInput("dockerfile: there is no %s in %s: name the one that is meant" % (" or ".join(wanted), shown(path)))


def _usual(path: str) -> str:
    for name in _USUAL:
        if os.path.isfile(os.path.join(path, name)):
            return name
    raise InvalidInput("dockerfile: there is neither %s in %s: name the one that is meant" % (" nor ".join(_USUAL), shown(path)))


def _read(file: str, option: str = "dockerfile") -> bytes:
    try:
        with open(file, "rb") as stream:
            return stream.read()
    except OSError as error:
        raise InvalidInput("%s: %s cannot be read: %s" % (option, shown(file), error.strerror)) from None
