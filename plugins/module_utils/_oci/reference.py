# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""References: where to look for an image, never what is there.

The grammar is that of docker pull (distribution/reference, "Grammar"): ``[domain/]path[:tag][@digest]``.
"""

from __future__ import annotations

import contextlib
import re
import typing as t

from .._errors import InvalidInput, InvalidReference, login, masked, shown
from .digest import Digest

DOCKER_HUB = "docker.io"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(r"%s(?:/%s)*" % (_COMPONENT, _COMPONENT))
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(r"(?:%s(?:\.%s)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?" % (_LABEL, _LABEL))
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_IDENTIFIER = re.compile(r"[0-9a-f]{64}")
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_TYPES = ((bool, "a truth value"), ((int, float), "a number"), (t.Mapping, "a dictionary"), ((list, tuple), "a list"))


class Reference(t.NamedTuple):
    """``spelling`` is what the user wrote; everything else is normalised."""

    spelling: str
    registry: str
    repository: str
    tag: t.Optional[str]
    digest: t.Optional[Digest]

    @property
    def name(self) -> str:
        """Registry and repository: ``docker.io/library/nginx``."""
        return "%s/%s" % (self.registry, self.repository)

    @property
    def where(self) -> str:
        """For messages: what the user wrote, and the registry that was asked if that does not say it."""
        return self.spelling if self.spelling.startswith(self.registry + "/") else "%s at %s" % (self.spelling, self.registry)

    def __str__(self) -> str:
        """The canonical form: ``docker.io/library/nginx:latest``; two references are the same if these are."""
        return self.name + (":%s" % self.tag if self.tag else "") + ("@%s" % self.digest if self.digest else "")

    @property
    def tagged(self) -> str:
        """Without the digest, as engines name an image locally; raises InvalidReference if there is no tag."""
        if not self.tag:
            raise InvalidReference("%s has no tag: an image on a host is named by repository and tag" % self.spelling)
        return "%s:%s" % (self.name, self.tag)


def parse(text: str) -> Reference:
    """Take a reference apart; ``latest`` is the tag where neither tag nor digest is given.

    Raises InvalidReference that says which part is wrong and how it should look.
    """
    if text is None or text == "":
        raise InvalidReference("an image reference is empty: write [registry/]repository[:tag][@digest], for example nginx:1.27")

    def refuse(why: str) -> InvalidReference:
        return InvalidReference("%s is not an image reference: %s" % (shown(repr(masked(text))), why))

    if not isinstance(text, str):
        kind = next((name for types, name in _TYPES if isinstance(text, types)), "of type %s" % type(text).__name__)
        raise refuse("it is %s, and one reference is one text, for example nginx:1.27" % kind)
    foreign = misplaced(text)
    if foreign:
        raise refuse(foreign)
    rest, at, digest_text = text.partition("@")
    try:
        digest = Digest.parse(digest_text) if at else None
    except InvalidInput as error:
        raise refuse(str(error)) from None
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        name, tag = rest, ""
    elif not _TAG.fullmatch(tag):
        raise refuse("the tag %s may have letters, digits, _ . - and at most 128 of them, and starts with none of . -" % shown(repr(tag)))
    if _IDENTIFIER.fullmatch(name):
        raise refuse("64 hex digits are an image ID; put a repository name before it, or sha256: for an ID where IDs are taken")

    first, slash, path = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        registry = first
    else:
        registry, path = DOCKER_HUB, name
    if not _DOMAIN.fullmatch(registry):
        raise refuse("%s is not a host name with an optional port" % shown(repr(registry)))
    if registry == "index.docker.io":
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in path:
        path = "library/" + path
    if not _PATH.fullmatch(path):
        lower = " (it must be lower case)" if path.lower() != path else ""
        raise refuse("the repository %s is made of a-z, 0-9, separated by . _ - or /%s" % (shown(repr(path)), lower))
    if len(path) > 255:
        raise refuse("the repository is longer than 255 characters")
    return Reference(text, registry, path, tag or (None if digest else "latest"), digest)


def misplaced(text: str) -> t.Optional[str]:
    """What a reference, or a registry, has in it that belongs elsewhere; None if there is no such thing."""
    found = []
    if login(text):
        found.append(
            "credentials do not belong in it: leave out what is before the @, and where a registry is asked use username and password, or "
            "auth_file (a digest after an @ begins with sha256:)"
        )
    scheme = _SCHEME.match(text)
    if scheme:
        plain = scheme.group(1).lower() in ("http", "https")
        found.append("leave out %s%s" % (scheme.group(), ", a registry without TLS is asked with plain_http: true" if plain else ""))
    if re.search(r"\s", text):
        found.append("leave out the blanks, those after the commas of a list in one string too")
    return "; ".join(found) or None


def registries(texts: t.Iterable[str]) -> t.Set[str]:
    """Those that the references name; a malformed one is reported where its image is."""
    found = set()
    for text in texts:
        with contextlib.suppress(InvalidReference):
            found.add(parse(text).registry)
    return found
