# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search of Quay: GET /api/v1/find/repositories, ten at a time and ten pages at most."""

from __future__ import annotations

from .search_shape import Found, Pages, Question, Source, count, text

_TOKEN_USER = "$oauthtoken"
"""As whom an OAuth token logs in; the API takes such tokens, and no passwords."""


def pages(source: Source, question: Question) -> Pages:
    page = 1
    while True:
        known = source.bearer(_TOKEN_USER)
        found, answer = source.get_as_known("/api/v1/find/repositories", known, query=question.query, page=page)
        rows = source.rows(found, answer, "results")
        yield [
            Found(reference, text(row.get("description")), count(row.get("stars")))
            for row in rows
            if row.get("kind") == "repository" and isinstance(row.get("namespace"), dict)
            for reference in source.named("%s/%s" % (row["namespace"].get("name"), row.get("name")))
        ]
        if not rows or not found.get("has_additional"):
            return
        page += 1
