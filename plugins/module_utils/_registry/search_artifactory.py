# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Artifactory: the catalog of one of its Docker repositories, GET /artifactory/api/docker/REPOSITORY/v2/_catalog."""

from __future__ import annotations

import urllib.parse

from .search_shape import Found, Pages, Question, Source


def pages(source: Source, question: Question) -> Pages:
    """Its images are called HOST/REPOSITORY/NAME ("repository path" of Artifactory's Docker access methods)."""
    url = source.url("/artifactory/api/docker/%s/v2/_catalog" % urllib.parse.quote(question.scope, safe=""))
    for names in source.listing.pages(source.reference, url, "repositories", (), source.known()):
        yield [Found(reference) for name in names for reference in source.named("%s/%s" % (question.scope, name))]
