# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Harbor: GET /api/v2.0/search, which has no pages; or the repositories of one project, page by page."""

from __future__ import annotations

import urllib.parse

from .search_shape import Found, Pages, Question, Source, text

_SIZE = 100


def pages(source: Source, question: Question) -> Pages:
    if not question.scope:
        found, answer = source.get_as_known("/api/v2.0/search", q=question.query)
        rows = source.rows(found, answer, "repository")
        yield [Found(reference) for row in rows for reference in source.named(row.get("repository_name"))]
        return
    page, path = 1, "/api/v2.0/projects/%s/repositories" % urllib.parse.quote(question.scope, safe="")
    while True:
        found, answer = source.get_as_known(path, page=page, page_size=_SIZE)
        rows = source.rows(found, answer)
        yield [Found(reference, text(row.get("description"))) for row in rows for reference in source.named(row.get("name"))]
        if len(rows) < _SIZE and 'rel="next"' not in answer.headers.get("Link", ""):
            return
        page += 1
