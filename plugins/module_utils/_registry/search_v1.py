# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search that engines use: GET /v1/search, page by page; of Docker Hub on a host of its own."""

from __future__ import annotations

from .._oci.reference import DOCKER_HUB
from .search_shape import Found, Pages, Question, Source, count, flag, text

INDEX = "https://index.docker.io"

_PATH = "/v1/search"
_SIZE = 100


def pages(source: Source, question: Question) -> Pages:
    page = 1
    while True:
        query = {"q": question.query, "n": _SIZE, "page": page}
        hub = source.registry == DOCKER_HUB
        found, answer = source.get_as_stranger(INDEX + _PATH, **query) if hub else source.get_on_challenge(_PATH, **query)
        rows = source.rows(found, answer, "results")
        yield [
            Found(reference, text(row.get("description")), count(row.get("star_count")), flag(row.get("is_official")))
            for row in rows
            for reference in source.named(row.get("name"))
        ]
        if not rows or page >= (count(found.get("num_pages")) or 1):
            return
        page += 1
