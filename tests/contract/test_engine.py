# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine client and image_load on real engines over tcp, TLS and sockets that are not for us, and engines that stop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import engines
import pytest
from ansible_collections.stowage.oci.plugins.module_utils._engine.discover import connect
from ansible_collections.stowage.oci.plugins.module_utils._engine.engine import Engine
from ansible_collections.stowage.oci.plugins.module_utils._errors import EngineDenied, EngineError, EngineNotFound
from ansible_collections.stowage.oci.tests.unit.certificates import Authority
from ansible_collections.stowage.oci.tests.unit.images import image, layer, write_layout
from ansible_collections.stowage.oci.tests.unit.loading import load

NAME = "docker.io/library/app:1"
APP = image([layer({"etc/os": os.urandom(300_000)}, "gzip"), layer({"app": b"1"})], names=[NAME], config={"Cmd": ["/app"]})
OPTIONS = {
    "engine_host": None,
    "engine_ca_cert": None,
    "engine_client_cert": None,
    "engine_client_key": None,
    "engine_validate_certs": True,
    "engine_timeout": 60,
}


def reached(url: str, **options: object) -> Engine:
    return connect({**OPTIONS, "engine_host": url, **options}, {})


def test_each_kind_is_known_for_what_it_is(engine):
    found = reached(engine.url)
    assert found.store == engine.store
    assert found.libpod[0] == (4 if engine.kind == "podman-4" else 0)
    assert found.api >= (1, 41)
    assert str(found.platform) == "linux/amd64"


def test_an_image_that_is_not_there_is_none(engine):
    found = reached(engine.url)
    for name in (NAME, "sha256:" + "0" * 64, "docker.io/library/app@sha256:" + "0" * 64):
        assert found.inspect(name) is None


def test_what_is_no_archive_is_told_in_the_engines_words(engine):
    found = reached(engine.url)
    assert found.load([b"this is no tar"]).error
    assert found.images() == []


# tcp and TLS


@pytest.fixture(scope="module", params=["docker-20.10", "docker-28", "podman-4"])
def open_tcp(request, tmp_path_factory):
    """An engine that listens on tcp for everybody."""
    with engines.start(request.param, tmp_path_factory.mktemp("tcp") / request.param, tcp_port=0) as engine:
        yield engine


def test_over_tcp(open_tcp, tmp_path):
    found = reached(open_tcp.tcp)
    assert found.store == open_tcp.store and found.transport.near
    loaded = load(write_layout(tmp_path / "app", [APP]), engine_host=open_tcp.tcp, staging_dir=str(tmp_path / "staging"))
    assert loaded.actions == ["loaded"]
    assert open_tcp.json("GET", f"/images/{NAME}/json")["RootFS"]["Layers"] == APP.diff_ids


def test_tls_where_there_is_none(open_tcp):
    with pytest.raises(EngineDenied, match="TLS with the engine at tcp://.* failed .*: look at engine_ca_cert, engine_client_cert and"):
        reached(open_tcp.tcp, engine_validate_certs=False)


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "stranger")


@pytest.fixture(scope="module", params=["docker-20.10", "docker-28", "docker-28-containerd"])
def secure(request, tmp_path_factory, ca):
    """An engine that wants to see a certificate of its authority."""
    server = ca.issue("server", "127.0.0.1")
    tls = engines.TLS(ca.cert, server.cert, server.key)
    with engines.start(request.param, tmp_path_factory.mktemp("tls") / request.param, tcp_port=0, tls=tls) as engine:
        yield engine


def known(ca: Authority, by: Authority) -> dict[str, str]:
    """Options of a client that believes one authority and is known by another."""
    client = by.issue("client")
    return {"engine_ca_cert": str(ca.cert), "engine_client_cert": str(client.cert), "engine_client_key": str(client.key)}


def test_over_tls(secure, ca, tmp_path):
    assert reached(secure.tcp, **known(ca, ca)).store == secure.store
    src = write_layout(tmp_path / "app", [APP])
    assert load(src, engine_host=secure.tcp, staging_dir=str(tmp_path / "staging"), **known(ca, ca)).actions == ["loaded"]
    assert secure.json("GET", f"/images/{NAME}/json")["RootFS"]["Layers"] == APP.diff_ids


def test_as_the_docker_command_is_told_to(secure, ca, tmp_path):
    client = ca.issue("client")
    for name, path in (("ca.pem", ca.cert), ("cert.pem", client.cert), ("key.pem", client.key)):
        (tmp_path / name).write_bytes(path.read_bytes())
    environ = {"DOCKER_HOST": secure.tcp, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    assert connect(OPTIONS, environ).store == secure.store


def test_an_engine_of_another_authority_is_not_believed(secure, ca, stranger):
    with pytest.raises(EngineDenied, match=r"TLS with the engine at tcp://.* failed \(.*certificate verify failed.*: look at engine_ca_cert"):
        reached(secure.tcp, **known(stranger, ca))


def test_without_a_certificate_of_ones_own_nobody_gets_in(secure, ca, stranger):
    for options in ({"engine_ca_cert": str(ca.cert)}, known(ca, stranger)):
        for _again in range(5):
            with pytest.raises(EngineDenied, match="TLS with the engine at tcp://.* failed .*: look at engine_ca_cert, engine_client_cert and"):
                reached(secure.tcp, **options)


def test_without_tls_where_there_is_some(secure):
    with pytest.raises(EngineError, match=r"the engine at tcp://.* refused \(HTTP 400\): Client sent an HTTP request to an HTTPS server"):
        reached(secure.tcp)


# Sockets


def test_a_socket_that_is_not_for_us(engine, tmp_path):
    """Tried as an ordinary user, in a process of his own."""
    code = (
        "import os, sys\n"
        "sys.path.insert(0, sys.argv[1]); import conftest\n"
        "from ansible_collections.stowage.oci.plugins.module_utils._engine.discover import connect\n"
        "from ansible_collections.stowage.oci.plugins.module_utils._errors import EngineDenied\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        "    connect(%r, {})\n"
        "except EngineDenied as error:\n"
        "    print(error)\n"
    ) % {**OPTIONS, "engine_host": engine.url}
    tests = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code, tests], capture_output=True, text=True, check=False, cwd=tmp_path)
    denied = f"permission denied on the engine's socket {engine.socket}: use become, or add the user to the socket's group"
    assert done.stdout.strip() == denied, done.stderr


def test_no_engine(tmp_path):
    with pytest.raises(EngineNotFound, match=r"no engine answers at unix://.*/none.sock \(No such file or directory\): start it, or name another"):
        reached(f"unix://{tmp_path}/none.sock")


# Engines that stop


def stopping(monkeypatch: pytest.MonkeyPatch, engine: engines.Engine, pieces: int) -> None:
    """Let the engine end when it has got so many pieces of the next archive."""
    whole = Engine.load

    def interrupted(self, archive):
        def stream():
            for number, data in enumerate(archive):
                if number == pieces:
                    engine.kill()
                yield data

        monkeypatch.setattr(Engine, "load", whole)
        return whole(self, stream())

    monkeypatch.setattr(Engine, "load", interrupted)


def test_an_engine_that_stops_in_the_middle_of_a_load(engine, tmp_path, monkeypatch):
    src = write_layout(tmp_path / "app", [APP])
    options = {"engine_host": engine.url, "staging_dir": str(tmp_path / "staging")}
    stopping(monkeypatch, engine, pieces=7)
    try:
        broken = load(src, **options)
    finally:
        engine.start()

    assert broken.result["failed"] and not broken.result["changed"]
    assert broken.result["msg"].startswith(f"the engine at {engine.url} broke off during POST /images/load (")
    assert NAME not in [name for one in engine.json("GET", "/images/json") for name in one["RepoTags"] or []]

    again = load(src, **options)

    assert (again.actions, again.sent) == (["loaded"], {})
    assert engine.json("GET", f"/images/{NAME}/json")["RootFS"]["Layers"] == APP.diff_ids
    assert not list((tmp_path / "staging").iterdir())


def test_an_engine_that_is_gone_when_it_is_asked(engine, tmp_path):
    src = write_layout(tmp_path / "app", [APP])
    engine.stop()
    try:
        result = load(src, engine_host=engine.url, staging_dir=str(tmp_path / "staging")).result
    finally:
        engine.start()
    assert result["msg"].startswith(f"no engine answers at {engine.url} (")
    assert not (tmp_path / "staging").exists()
