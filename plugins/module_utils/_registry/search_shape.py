# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all search APIs have in common: a question, pages of what was found, and three ways to ask.

Each ``search_NAME.py`` has ``pages(source, question)``, a generator that asks for a page when it is wanted.
"""

from __future__ import annotations

import contextlib
import typing as t
import urllib.parse

from .._errors import InvalidReference
from .._oci.reference import Reference, parse
from .keychain import Keychain
from .listing import Listing, document, judge, strange
from .session import Session
from .transport import Answer

Row = t.Dict[str, t.Any]


class Found(t.NamedTuple):
    """A repository; what an API does not tell is None. ``tags`` are digests by tag."""

    reference: Reference
    description: t.Optional[str] = None
    stars: t.Optional[int] = None
    official: t.Optional[bool] = None
    tags: t.Optional[t.Mapping[str, t.Optional[str]]] = None


class Question(t.NamedTuple):
    """``query`` is a text without wildcards, or empty; ``scope`` is the part of the registry that is searched.

    ``exact``: nothing but the repository of this name is wanted; an API that finds more by it may tell that too.
    """

    query: str
    scope: str
    exact: bool


class Source:
    """The registry that is searched. The three ``get``s give a JSON document and its answer."""

    def __init__(self, session: Session, keychain: Keychain, registry: str) -> None:
        self.registry = registry
        self._session = session
        self._keychain = keychain
        self.listing = Listing(session)
        self.reference = Reference("the search of %s" % registry, registry, "", None, None)

    def get_as_stranger(self, url: str, **query: t.Any) -> t.Tuple[t.Any, Answer]:
        """From another host than the registry: what we are known by is not shown."""
        return self._read(self._session.http.request(self.reference.spelling, "GET", _with(url, query)))

    def get_on_challenge(self, path: str, **query: t.Any) -> t.Tuple[t.Any, Answer]:
        """As the registry's own API is asked."""
        return self._read(self._session.ask("GET", self.reference, _with(self.url(path), query), ()))

    def get_as_known(self, path: str, headers: t.Optional[t.Mapping[str, str]] = None, **query: t.Any) -> t.Tuple[t.Any, Answer]:
        """Credentials are shown at once: many APIs answer a stranger too, and less. ``headers``: how, if not as ``known``."""
        shown = self.known() if headers is None else headers
        return self._read(self._session.http.request(self.reference.spelling, "GET", _with(self.url(path), query), shown))

    def check_v2(self) -> None:
        """Raise NotOffered if the host is no registry (distribution-spec, "Determining Support")."""
        judge(self._session, self.reference, self._session.ask("GET", self.reference, self.url("/v2/"), ()), "answer /v2/")

    def known(self) -> t.Dict[str, str]:
        """Basic with a password, Bearer with a token."""
        credential = self._keychain.find(self.reference)
        if credential is None:
            return {}
        return {"Authorization": credential.basic if credential.username else "Bearer " + credential.secret}

    def bearer(self, username: t.Optional[str] = None) -> t.Dict[str, str]:
        """The password as a token; of ``username`` alone, if that is given."""
        credential = self._keychain.find(self.reference)
        if credential is None or credential.username != (credential.username if username is None else username):
            return {}
        return {"Authorization": "Bearer " + credential.secret}

    def url(self, path: str) -> str:
        return self._session.base(self.registry) + path

    def named(self, repository: t.Any) -> t.Iterator[Reference]:
        """The repository of this registry; nothing if none can be so called."""
        if text(repository):
            yield from located("%s/%s" % (self.registry, repository))

    def rows(self, found: t.Any, answer: Answer, key: t.Optional[str] = None) -> t.List[Row]:
        """The list of objects that the document is, or has as ``key``; raises NotOffered if it is another."""
        rows = found if key is None else found.get(key) if isinstance(found, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise strange(self.reference, answer)
        return rows

    def _read(self, answer: Answer) -> t.Tuple[t.Any, Answer]:
        judge(self._session, self.reference, answer, "answer %s" % urllib.parse.urlsplit(answer.url).path)
        return document(self.reference, answer), answer


Pages = t.Iterator[t.List[Found]]


def located(name: t.Any) -> t.Iterator[Reference]:
    """A repository with its registry; nothing if none can be so called."""
    with contextlib.suppress(InvalidReference):
        yield parse(name)._replace(tag=None)


def text(value: t.Any) -> t.Optional[str]:
    """What a field says, if it says something."""
    return value if isinstance(value, str) and value else None


def count(value: t.Any) -> t.Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def flag(value: t.Any) -> t.Optional[bool]:
    return value if isinstance(value, bool) else None


def _with(url: str, query: t.Mapping[str, t.Any]) -> str:
    return "%s?%s" % (url, urllib.parse.urlencode(query)) if query else url
