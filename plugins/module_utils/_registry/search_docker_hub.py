# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search of Docker Hub's web site: GET /v2/search/repositories/, page by page."""

from __future__ import annotations

from .search_shape import Found, Pages, Question, Source, count, flag, text

HUB = "https://hub.docker.com"

_SIZE = 100


def pages(source: Source, question: Question) -> Pages:
    page = 1
    while True:
        found, answer = source.get_as_stranger(HUB + "/v2/search/repositories/", query=question.query, page=page, page_size=_SIZE)
        rows = source.rows(found, answer, "results")
        yield [
            Found(reference, text(row.get("short_description")), count(row.get("star_count")), flag(row.get("is_official")))
            for row in rows
            for reference in source.named(row.get("repo_name"))
        ]
        if not rows or not found.get("next"):
            return
        page += 1
