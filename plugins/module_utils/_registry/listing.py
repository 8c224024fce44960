# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists that a registry gives in pages: its repositories and their tags (distribution-spec, "Content Discovery")."""

from __future__ import annotations

import json
import re
import typing as t
import urllib.parse

from .._errors import RegistryError, shown
from .._oci.reference import Reference
from .auth import reason
from .limits import limited
from .session import Session, pull
from .transport import Answer

PAGE = 1000
"""Names that are asked for at once: the most that distribution takes unless it is told otherwise."""

MOST_PAGES = 10000

_ABSENT = (404, 405, 501)
_CATALOG = ("registry:catalog:*",)


class NotOffered(RegistryError):
    """The registry does not speak this API, or not to everyone."""


class Listing:
    """The lists of all registries of a task; every method raises RegistryDenied or RegistryError."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def tags(self, reference: Reference) -> t.List[str]:
        """All tags of the repository, in the registry's order; raises NotInRegistry if there is no such repository."""
        url = self._session.api(reference, "tags/list")
        return [tag for page in self.pages(reference, url, "tags", pull(reference)) for tag in page]

    def catalog(self, registry: str) -> t.Iterator[t.List[str]]:
        """The repositories, a page at a time; raises NotOffered if the registry does not list them."""
        reference = Reference("the catalog of %s" % registry, registry, "", None, None)
        yield from self.pages(reference, self._session.base(registry) + "/v2/_catalog", "repositories", _CATALOG)

    def pages(
        self, reference: Reference, url: str, key: str, scopes: t.Tuple[str, ...], headers: t.Optional[t.Mapping[str, str]] = None
    ) -> t.Iterator[t.List[str]]:
        """What is new in each page of the list ``key``; the next one is where Link says, or after the last name of a full one."""
        seen: t.Set[str] = set()
        asked: t.Set[str] = set()
        size, last, target = PAGE, "", "%s?n=%d" % (url, PAGE)
        while len(asked) < MOST_PAGES:
            asked.add(target)
            answer = self._session.ask("GET", reference, target, scopes, headers)
            if answer.status == 400 and len(asked) == 1:
                # It takes fewer at once, and does not say how many.
                size, target = 0, url
                continue
            self._judge(reference, answer, key)
            names = _names(reference, answer, key)
            fresh = [name for name in dict.fromkeys(names) if name not in seen]
            seen.update(fresh)
            yield fresh
            link = _next(answer)
            if link:
                target = _here(target, link)
            elif size and last and len(fresh) < len(names):
                # It knows no last, and would keep for itself what is beyond n.
                size, target = 0, url
            elif names and len(fresh) == len(names) == (size or len(names)):
                last = names[-1]
                target = "%s?%s" % (url, urllib.parse.urlencode(dict({"n": size} if size else {}, last=last)))
            else:
                return
            if target in asked:
                raise RegistryError(
                    "%s: %s sends us round in circles: its pages lead to one that was read already" % (reference.spelling, reference.registry)
                )
        raise RegistryError("%s: %s has more than %d pages" % (reference.spelling, reference.registry, MOST_PAGES))

    def _judge(self, reference: Reference, answer: Answer, key: str) -> None:
        judge(self._session, reference, answer, "list its %s" % key if answer.status != 404 or not reference.repository else "")


def judge(session: Session, reference: Reference, answer: Answer, doing: str) -> None:
    """Raise what a status of 400 or more means; NotOffered if it says that the registry has no way of ``doing`` that."""
    if answer.status == 429:
        raise limited(reference.spelling, reference.registry, answer)
    if doing and answer.status in _ABSENT:
        raise NotOffered(
            "%s: %s does not %s (%s): set api if it is searched in another way" % (reference.spelling, reference.registry, doing, reason(answer))
        )
    session.judge(reference, answer)


def document(reference: Reference, answer: Answer) -> t.Any:
    """The JSON of an answer; raises NotOffered if it is none, as where a web page answers every path."""
    try:
        return json.loads(answer.body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise strange(reference, answer) from None


def strange(reference: Reference, answer: Answer) -> NotOffered:
    """The sentence for an answer that is not of the API that was asked."""
    start = answer.body[:60].decode("utf-8", "replace")
    return NotOffered(
        "%s: %s answers something else than was asked for (%s): see whether it is the registry, and set api if it is searched in another way"
        % (reference.spelling, reference.registry, shown(start, 80))
    )


def _names(reference: Reference, answer: Answer, key: str) -> t.List[str]:
    found = document(reference, answer)
    if not isinstance(found, dict) or key not in found:
        raise strange(reference, answer)
    # The list of a repository whose tags are gone is null.
    names = found[key] or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise strange(reference, answer)
    return names


def _next(answer: Answer) -> t.Optional[str]:
    """The target of Link whose relation is next (RFC 8288)."""
    for target, parameters in re.findall(r"<([^>]*)>([^<]*)", answer.headers.get("Link", "")):
        if re.search(r';\s*rel\s*=\s*"?next\b', parameters, re.IGNORECASE):
            return t.cast(str, target)
    return None


def _here(url: str, link: str) -> str:
    """A link's path and query on the server that we ask: what lies before it may not know its own address, and credentials stay."""
    here, there = urllib.parse.urlsplit(url), urllib.parse.urlsplit(urllib.parse.urljoin(url, link))
    return here._replace(path=there.path, query=there.query).geturl()
