# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""Fixtures of real engines and registries, each started when a first test asks for it and shared by all of the session."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Callable, Iterator

import engines
import pytest
from ansible_collections.stowage.oci.tests.faults import Proxy
from ansible_collections.stowage.oci.tests.tokens import Account, TokenServer
from ansible_collections.stowage.oci.tests.unit.certificates import Authority

__all__ = [
    "bearer", "classic", "containerd", "crane_registry", "delete_off", "docker", "docker20", "docker28", "engine", "faulty", "podman",
    "read_only", "registry", "running", "secured", "spread",
]


def spread(kind: str, *values: Any) -> Any:
    """A parameter, by default the kind itself: that of Docker 28 with the classic store is wide, for 20.10 has the store and 28-containerd the version."""
    return pytest.param(*(values or [kind]), marks=pytest.mark.wide if kind == "docker-28" else ())


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
    @pytest.fixture(name=name, params=[spread(kind) for kind in kinds] if len(kinds) > 1 else kinds)
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


@pytest.fixture
def faulty(registry: engines.Registry) -> Iterator[Proxy]:
    """The open registry through a proxy that breaks what it is told to: see tests/faults.py."""
    with Proxy(registry.host) as proxy:
        yield proxy


# Those that follow serve the images of `registry` too: what is pushed to one is in all, and tells what each allows.


@dataclass
class Guarded:
    """A registry that asks who one is; `options` are a module's, for one who may do everything."""

    host: str
    options: dict[str, Any]
    registry: engines.Registry
    tokens: TokenServer | None = None


@pytest.fixture(scope="session")
def secured(registry: engines.Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Basic over TLS with a CA of its own."""
    folder = tmp_path_factory.mktemp("secured")
    authority = Authority(folder / "ca")
    tls = engines.TLS(authority.cert, *authority.issue("server", "127.0.0.1"))
    with engines.registry(folder / "data", tls=tls, htpasswd={"ann": "secret-ann"}, blobs=registry.blobs) as found:
        yield Guarded(found.host, {"username": "ann", "password": "secret-ann", "ca_cert": str(authority.cert)}, found)


@pytest.fixture(scope="session")
def bearer(registry: engines.Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Bearer over plain http. `ann` may do everything, `bob` (password secret-bob) pull alone, and anybody pull `public/...`."""
    folder = tmp_path_factory.mktemp("bearer")
    accounts = {"ann": Account("secret-ann"), "bob": Account("secret-bob", frozenset(["pull"]))}
    with TokenServer(folder / "tokens", accounts) as tokens:
        with engines.registry(folder / "data", tokens=tokens.settings, blobs=registry.blobs) as found:
            yield Guarded(found.host, {"username": "ann", "password": "secret-ann", "plain_http": True}, found, tokens)


@pytest.fixture(scope="session")
def read_only(registry: engines.Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[engines.Registry]:
    """Under maintenance: it answers GET and HEAD alone."""
    with engines.registry(tmp_path_factory.mktemp("read-only") / "data", read_only=True, blobs=registry.blobs) as found:
        yield found


@pytest.fixture(scope="session")
def delete_off(registry: engines.Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[engines.Registry]:
    """Takes images and deletes none."""
    with engines.registry(tmp_path_factory.mktemp("delete-off") / "data", delete=False, blobs=registry.blobs) as found:
        yield found


@pytest.fixture(scope="session")
def crane_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[engines.Registry]:
    """Another maker's registry, with images of its own: crane's, open, over plain http."""
    with engines.crane_registry(tmp_path_factory.mktemp("crane-registry") / "data") as found:
        yield found
