# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Yards for image_build: see tests/unit/building.py."""

from __future__ import annotations

import pytest
from ansible_collections.stowage.oci.tests.unit import building


@pytest.fixture(name="yards")
def _yards(alone, monkeypatch):
    yield from building.yards(alone, monkeypatch)


@pytest.fixture(name="yard", params=building.STORES)
def _yard(yards, request):
    return yards(request.param)


@pytest.fixture(name="one_yard")
def _one_yard(yards):
    """For what does not depend on the store."""
    return yards("podman")


@pytest.fixture(name="docker_yard", params=["classic", "containerd"])
def _docker_yard(yards, request):
    return yards(request.param)


@pytest.fixture(name="podman_yard")
def _podman_yard(yards):
    return yards("podman")
