# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Push: whether a registry has the image that a reference names on a host, from what both say."""

from __future__ import annotations

import typing as t

from .._errors import InvalidReference
from .._oci import reference as _reference
from .._oci.digest import Digest
from .._oci.reference import Reference
from .pull import Content, Keep, Local, Remote


class Sends(t.NamedTuple):
    """What a push would send: ``digest`` of the manifest or index, None where the engine makes the manifest as it pushes.

    Where that is an index with all of its images, ``several``, the content of one of them says nothing.
    """

    digest: t.Optional[Digest]
    several: bool = False


class Push(t.NamedTuple):
    """``reason``: absent in the registry, or other_content there."""

    reason: str


def wished(text: str) -> Reference:
    """Raises InvalidReference for one with a digest, too."""
    reference = _reference.parse(text)
    if reference.digest:
        name = text.partition("@")[0]
        raise InvalidReference(
            "%s: a digest follows from what is pushed and cannot be pushed to: write %s" % (text, name if reference.tag else name + ":TAG")
        )
    return reference


def sent(target: Digest, children: t.Optional[t.Sequence[t.Mapping[str, t.Any]]]) -> Sends:
    """Of the containerd store's image ``target``, and the ``Manifests`` of it if it is an index.

    Of an index that is not all there Docker pushes the one image that is.
    """
    if not children or all(child.get("Available") for child in children):
        return Sends(target, bool(children))
    here = [child["ID"] for child in children if child.get("Available") and child.get("Kind") == "image"]
    return Sends(Digest(here[0]) if len(here) == 1 else None)


def decide(local: Local, sends: Sends, remote: t.Optional[Remote], content: t.Optional[Content] = None) -> t.Union[Keep, Push]:
    """``content`` is that of the registry for the image's platform: None before it is asked, and where it cannot be."""
    if remote is None:
        return Push("absent")
    if remote.descriptor.digest in local.digests or remote.descriptor.digest == sends.digest:
        return Keep("same_digest")
    if content and not sends.several and local.has(content):
        return Keep("same_content")
    return Push("other_content")
