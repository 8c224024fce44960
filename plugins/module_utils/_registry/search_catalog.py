# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No search, but all names: GET /v2/_catalog."""

from __future__ import annotations

from .search_shape import Found, Pages, Question, Source


def pages(source: Source, question: Question) -> Pages:
    for names in source.listing.catalog(source.registry):
        yield [Found(reference) for name in names for reference in source.named(name)]
