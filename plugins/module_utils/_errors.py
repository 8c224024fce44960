# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that can go wrong and that a user can do something about.

    StowageError
    ├── InvalidInput        an option is malformed or contradicts another
    │   ├── InvalidReference    text that names no image
    │   └── BadDockerfile       a Dockerfile that does not say from which images it builds
    ├── ArchiveError        a file or folder is not the archive that it should be
    │   ├── BlobMismatch        bytes that are not what their digest or size says
    │   └── ImageNotInArchive   a wanted image, or platform of it, is not in the archive
    ├── ContextError        the folder or tar that an image is built from cannot be read
    │   └── ContextChanged      a file of it is not what it was a moment ago
    ├── StagingError        the host's folder for transferred blobs cannot be used
    ├── EngineError         an engine refused, broke off or lied
    │   ├── EngineNotFound      nothing answers where we looked
    │   ├── EngineDenied        the socket or the TLS set-up does not let us in
    │   └── TagMoved            somebody else moved a tag while we worked
    └── RegistryError       a registry refused or answered nonsense
        ├── RegistryDenied      401 or 403: credentials missing or wrong
        └── NotInRegistry       404: no such repository, tag or digest

A message is one sentence or two: what was wrong, where, what to do. It never holds a credential. Errors are raised where
they are found and reported in one place, ``_module.run`` (on a host) or the action plugin (on the controller).
"""

from __future__ import annotations

import contextlib
import re
import typing as t

_LOGIN = re.compile(r"([a-zA-Z][\w+.-]*://)?(?:([^/:@\[]*):)?(.+)@(.*)", re.DOTALL)
_DIGEST = re.compile(r"@(?:(?:sha\d+|md5)(?::[^@/]*)?|[0-9a-f]{32,})$")
_HOST = re.compile(r"[^/]*/|localhost$|\[|.*(?:\.[a-zA-Z]{2,}|:\d+)$|\d+(?:\.\d+){3}$", re.DOTALL)
_PORT = re.compile(r"\d{1,5}(?:/|$)")


class StowageError(Exception):
    """The root; ``str()`` of it is the whole message for the user."""


class InvalidInput(StowageError):
    pass


class InvalidReference(InvalidInput):
    pass


class BadDockerfile(InvalidInput):
    pass


class ArchiveError(StowageError):
    """``advice`` ends the message; it is for who wants to read the archive."""

    def __init__(self, fact: str, advice: str = "") -> None:
        super().__init__(fact, advice)
        self.fact = fact

    def __str__(self) -> str:
        return ": ".join(filter(None, self.args))


class BlobMismatch(ArchiveError):
    pass


class ImageNotInArchive(ArchiveError):
    pass


class ContextError(StowageError):
    pass


class ContextChanged(ContextError):
    pass


class StagingError(StowageError):
    pass


class EngineError(StowageError):
    pass


class EngineNotFound(EngineError):
    pass


class EngineDenied(EngineError):
    pass


class TagMoved(EngineError):
    pass


class RegistryError(StowageError):
    pass


class RegistryDenied(RegistryError):
    pass


class NotInRegistry(RegistryError):
    pass


def shown(value: object, length: int = 160) -> str:
    """What a stranger wrote, for a message: printable, on one line, at most ``length`` characters and not broken by its own."""
    text = value if isinstance(value, str) and value.isprintable() and value else repr(value)
    return text if len(text) <= length else text[: length - 20] + " ... " + text[-15:]


def login(text: str) -> t.Optional[t.Tuple[int, int]]:
    """Where in what shall be a reference or a registry a password stands, or else a user, alone before the ``@``; None if none does.

    Before the ``@`` of a digest stands a tag. In doubt it is a password: such text is refused, so no more than a message suffers.
    """
    match = _LOGIN.fullmatch(_DIGEST.sub("", text))
    if not match:
        return None
    scheme, user, secret, rest = match.groups()
    # A name, perhaps with a port or tag, may also stand before something that is meant to be a digest, and is none.
    path, host = "/" in secret and (user is None or _PORT.match(secret)), _HOST.match(rest)
    found = (host and not path) if user is None and not scheme else (host or not path)
    return match.span(3) if found else None


def masked(value: t.Any) -> t.Any:
    """What a user wrote to name images or registries, one or several, as it may be shown: ``deploy:***@host/app``."""
    if isinstance(value, str):
        where = login(value)
        return value[: where[0]] + "***" + value[where[1] :] if where else value
    if isinstance(value, (list, tuple)):
        return [masked(one) for one in value]
    if isinstance(value, dict):
        return {masked(key): masked(one) for key, one in value.items()}
    return value


@contextlib.contextmanager
def naming(option: str) -> t.Iterator[None]:
    """What is wrong with an archive is said of the option that names it."""
    try:
        yield
    except ArchiveError as error:
        raise ArchiveError("%s: %s" % (option, error)) from None
