# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No search, but all names: GET /v2/_catalog; or of one name its tags, which takes the right to that repository alone."""

from __future__ import annotations

from .._errors import NotInRegistry
from .search_shape import Found, Pages, Question, Source


def pages(source: Source, question: Question) -> Pages:
    if question.exact:
        for reference in source.named(question.query):
            try:
                yield [Found(reference, tags=dict.fromkeys(source.listing.tags(reference)))]
            except NotInRegistry:
                source.check_v2()
        return
    for names in source.listing.catalog(source.registry):
        yield [Found(reference) for name in names for reference in source.named(name)]
