# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""Fixtures of real engines and of a real registry, each started when a first test asks for it and shared by all of the session."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Callable, Iterator

import engines
import pytest

__all__ = ["classic", "containerd", "docker", "docker20", "docker28", "engine", "podman", "registry", "running"]


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], engines.Engine]]:
    """Gives the session's engine of a kind."""
    found: dict[str, engines.Engine] = {}
    with ExitStack() as stack:

        def get(kind: str) -> engines.Engine:
            if kind not in found:
                found[kind] = stack.enter_context(engines.start(kind, tmp_path_factory.mktemp("engine") / kind))
            return found[kind]

        yield get


def _fixture(name: str, *kinds: str) -> Callable:
    @pytest.fixture(name=name, params=kinds)
    def fixture(request: pytest.FixtureRequest, running: Callable[[str], engines.Engine]) -> engines.Engine:
        engine = running(request.param)
        engine.wipe()
        return engine

    return fixture


# Each gives an engine that holds neither images nor containers: `engine` every kind in turn, the others one store alone.
engine = _fixture("engine", *engines.KINDS)
docker = _fixture("docker", *engines.KINDS[:3])
classic = _fixture("classic", *engines.KINDS[:2])
docker20 = _fixture("docker20", "docker-20.10")
docker28 = _fixture("docker28", "docker-28")
containerd = _fixture("containerd", "docker-28-containerd")
podman = _fixture("podman", "podman-4")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[engines.Registry]:
    """An open registry over plain http. Tests share it: take a repository name of your own."""
    with engines.registry(tmp_path_factory.mktemp("registry") / "data") as found:
        yield found
