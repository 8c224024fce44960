# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nexus: GET /service/rest/v1/search, one item for each tag, pages by token; it tells the manifest's digest too."""

from __future__ import annotations

import typing as t

from .._errors import RegistryError
from .._oci.reference import Reference
from .listing import MOST_PAGES
from .search_shape import Found, Pages, Question, Row, Source, text


def pages(source: Source, question: Question) -> Pages:
    """One page: the tags of a repository need not come together."""
    query: t.Dict[str, t.Any] = {"format": "docker"}
    if question.query:
        query["docker.imageName"] = question.query if question.exact else "*%s*" % question.query.lower()
    if question.scope:
        query["repository"] = question.scope
    tags: t.Dict[Reference, t.Dict[str, t.Optional[str]]] = {}
    tokens: t.Set[str] = set()
    while True:
        found, answer = source.get_as_known("/service/rest/v1/search", **query)
        for row in source.rows(found, answer, "items"):
            for reference in source.named(row.get("name")):
                tag = text(row.get("version"))
                known = tags.setdefault(reference, {})
                if tag and ":" not in tag:
                    # What has no tag has its digest in that place.
                    known[tag] = _digest(row)
        token = text(found.get("continuationToken"))
        if not token:
            break
        if token in tokens or len(tokens) == MOST_PAGES:
            raise RegistryError("%s: %s does not come to an end: ask for less with query or scope" % (source.reference.spelling, source.registry))
        tokens.add(token)
        query["continuationToken"] = token
    yield [Found(reference, tags=digests) for reference, digests in tags.items()]


def _digest(row: Row) -> t.Optional[str]:
    """The only asset of an item is its manifest."""
    try:
        return "sha256:" + row["assets"][0]["checksum"]["sha256"]
    except (IndexError, KeyError, TypeError):
        return None
