# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""GitLab: GET /api/v4/projects/ID/registry/repositories, or of a group, page by page (doc/api/container_registry.md).

The registry has an address of its own there, which comes with each repository.
"""

from __future__ import annotations

import urllib.parse

from .listing import NotOffered
from .search_shape import Found, Pages, Question, Source, located

_SIZE = 100


def pages(source: Source, question: Question) -> Pages:
    try:
        yield from _pages(source, "projects", question.scope)
    except NotOffered:
        yield from _pages(source, "groups", question.scope)


def _pages(source: Source, kind: str, scope: str) -> Pages:
    path = "/api/v4/%s/%s/registry/repositories" % (kind, urllib.parse.quote(scope, safe=""))
    page = "1"
    while page:
        found, answer = source.get_as_known(path, source.bearer(), per_page=_SIZE, page=page)
        rows = source.rows(found, answer)
        yield [Found(reference) for row in rows for reference in located(row.get("location"))]
        full = str(int(page) + 1) if len(rows) == _SIZE else ""
        stated = answer.headers.get("X-Next-Page", full)
        page = stated if stated.isdigit() and int(stated) > int(page) else ""
