# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that can go wrong and that a user can do something about.

    StowageError
    ├── InvalidInput        an option is malformed or contradicts another
    │   └── InvalidReference    text that names no image
    ├── ArchiveError        a file or folder is not the archive that it should be
    │   ├── BlobMismatch        bytes that are not what their digest or size says
    │   └── ImageNotInArchive   a wanted image, or platform of it, is not in the archive
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


class StowageError(Exception):
    """The root; ``str()`` of it is the whole message for the user."""


class InvalidInput(StowageError):
    pass


class InvalidReference(InvalidInput):
    pass


class ArchiveError(StowageError):
    pass


class BlobMismatch(ArchiveError):
    pass


class ImageNotInArchive(ArchiveError):
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
