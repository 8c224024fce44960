# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engine a host's modules speak to."""

from __future__ import annotations

import os
import socket

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._engine import discover, engine
from ansible_collections.stowage.oci.plugins.module_utils._engine.discover import connect, places
from ansible_collections.stowage.oci.plugins.module_utils._engine.transport import Tls
from ansible_collections.stowage.oci.plugins.module_utils._errors import EngineDenied, EngineError, EngineNotFound
from ansible_collections.stowage.oci.tests.unit.fakes.engine import FakeEngine

NO_OPTIONS = {
    "engine_host": None,
    "engine_ca_cert": None,
    "engine_client_cert": None,
    "engine_client_key": None,
    "engine_validate_certs": True,
    "engine_timeout": 10,
}


def options(**given):
    return dict(NO_OPTIONS, **given)


@pytest.fixture(name="fake")
def _fake():
    with FakeEngine() as fake:
        yield fake


@pytest.fixture(name="elsewhere")
def _elsewhere(tmp_path, monkeypatch):
    """The usual places, in a folder of the test's own."""
    paths = [str(tmp_path / name) for name in ("docker.sock", "podman.sock", "rootless.sock")]
    monkeypatch.setattr(discover, "places", lambda environ: paths)
    return paths


@pytest.fixture(name="transports")
def _transports(monkeypatch):
    """Addresses and TLS of the engines that were asked for; none of them exists."""
    asked = []

    class Transport:
        def __init__(self, url, timeout, tls=None):
            asked.append((url, timeout, tls))

    monkeypatch.setattr(discover, "Transport", Transport)
    monkeypatch.setattr(discover, "Engine", lambda transport: transport)
    return asked


def test_the_option_wins(fake):
    environ = {"DOCKER_HOST": "unix:///nowhere", "CONTAINER_HOST": "unix:///nowhere"}
    assert connect(options(engine_host=fake.url), environ).url == fake.url


@pytest.mark.parametrize("variable", ["DOCKER_HOST", "CONTAINER_HOST"])
def test_then_the_environment(fake, elsewhere, variable):
    assert connect(options(), {variable: fake.url}).url == fake.url


def test_docker_host_comes_before_container_host(fake):
    assert connect(options(), {"DOCKER_HOST": fake.url, "CONTAINER_HOST": "unix:///nowhere"}).url == fake.url


def test_the_modules_own_environment_by_default(fake, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    assert connect(options()).url == fake.url


def test_an_empty_variable_is_none(fake, elsewhere):
    os.symlink(fake.socket, elsewhere[0])
    assert connect(options(), {"DOCKER_HOST": "", "CONTAINER_HOST": ""}).url == "unix://" + elsewhere[0]


@pytest.mark.parametrize("position", range(3))
def test_then_the_first_socket_that_answers(fake, elsewhere, position):
    for path in elsewhere[position:]:
        os.symlink(fake.socket, path)
    dead = socket.socket(socket.AF_UNIX)
    if position:
        dead.bind(elsewhere[0])
    dead.close()
    assert connect(options(), {}).url == "unix://" + elsewhere[position]


def test_the_usual_places():
    user = "/run/user/%d" % os.geteuid()
    assert places({}) == ["/var/run/docker.sock", "/run/podman/podman.sock", user + "/docker.sock", user + "/podman/podman.sock"]
    assert places({"XDG_RUNTIME_DIR": "/x"})[2:] == ["/x/docker.sock", "/x/podman/podman.sock"]


def test_says_where_it_looked(elsewhere):
    with pytest.raises(EngineNotFound) as error:
        connect(options(), {})
    assert str(error.value) == (
        "no engine answers: neither DOCKER_HOST nor CONTAINER_HOST is set, and nothing listens on %s: start Docker (systemctl start docker) "
        "or Podman (systemctl start podman.socket), or name one with engine_host" % ", ".join(elsewhere)
    )


def denying(monkeypatch, *paths):
    connected = socket.socket.connect

    def refuse(self, address):
        if address in paths:
            raise PermissionError(13, "Permission denied")
        return connected(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_says_which_socket_is_not_for_us(elsewhere, monkeypatch):
    denying(monkeypatch, *elsewhere[:2])
    with pytest.raises(EngineDenied, match="permission denied on the engine's socket %s: use become, or add the user to" % elsewhere[0]):
        connect(options(), {})


def test_a_socket_that_is_not_for_us_does_not_hide_one_that_is(fake, elsewhere, monkeypatch):
    denying(monkeypatch, elsewhere[0])
    os.symlink(fake.socket, elsewhere[2])
    assert connect(options(), {}).url == "unix://" + elsewhere[2]


def test_what_is_named_is_not_looked_for_elsewhere(fake, elsewhere):
    os.symlink(fake.socket, elsewhere[0])
    for given, environ in ((options(engine_host="unix:///nowhere"), {}), (options(), {"CONTAINER_HOST": "unix:///nowhere"})):
        with pytest.raises(EngineNotFound, match=r"no engine answers at unix:///nowhere \(No such file or directory\)"):
            connect(given, environ)


# TLS


@pytest.mark.parametrize(
    ("given", "environ", "tls"),
    [
        ({}, {}, None),
        ({"engine_ca_cert": "ca"}, {}, Tls("ca", None, None, True)),
        ({"engine_client_cert": "c", "engine_client_key": "k"}, {}, Tls(None, "c", "k", True)),
        ({"engine_validate_certs": False}, {}, Tls(None, None, None, False)),
        ({}, {"DOCKER_TLS_VERIFY": "1"}, None),
    ],
)
def test_options_ask_for_tls(transports, given, environ, tls):
    connect(options(engine_host="tcp://host:1", **given), environ)
    assert transports == [("tcp://host:1", 10, tls)]


@pytest.mark.parametrize(
    ("environ", "tls"),
    [
        ({"DOCKER_HOST": "tcp://host:1"}, None),
        ({"DOCKER_HOST": "tcp://host:1", "DOCKER_CERT_PATH": "/certs"}, None),
        ({"DOCKER_HOST": "tcp://host:1", "DOCKER_CERT_PATH": "/c", "DOCKER_TLS_VERIFY": "1"}, Tls("/c/ca.pem", "/c/cert.pem", "/c/key.pem")),
        ({"CONTAINER_HOST": "tcp://host:1", "DOCKER_CERT_PATH": "/certs", "DOCKER_TLS_VERIFY": "1"}, None),
    ],
)
def test_the_environment_asks_for_tls_as_dockers_does(transports, environ, tls):
    connect(options(), environ)
    assert transports == [("tcp://host:1", 10, tls)]


def test_dockers_own_folder_of_certificates(transports, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    connect(options(), {"DOCKER_HOST": "tcp://host:1", "DOCKER_TLS_VERIFY": "1"})
    assert transports[0][2].ca == "/home/ann/.docker/ca.pem"


def test_options_outdo_the_environments_tls(transports):
    connect(options(engine_ca_cert="mine"), {"DOCKER_HOST": "tcp://host:1", "DOCKER_TLS_VERIFY": "1"})
    assert transports[0][2] == Tls("mine", None, None, True)


# What answers


@pytest.mark.parametrize(
    ("store", "old", "api", "libpod"),
    [
        ("classic", False, (1, 51), (0, 0)),
        ("classic", True, (1, 41), (0, 0)),
        ("containerd", False, (1, 51), (0, 0)),
        ("podman", False, (1, 41), (4, 3)),
    ],
)
def test_learns_what_it_is(store, old, api, libpod):
    with FakeEngine(store, old) as fake:
        found = connect(options(engine_host=fake.url))
        assert (found.store, found.api, found.libpod, str(found.platform)) == (store, api, libpod, "linux/amd64")


def test_says_of_what_platform_it_is(fake):
    fake.says(OSType="windows", Architecture="aarch64")
    assert str(connect(options(engine_host=fake.url)).platform) == "windows/arm64"


def test_what_is_no_engine_is_an_error(fake):
    fake.answer("GET", "/_ping", 403, {"message": "plugin said no"})
    with pytest.raises(EngineError, match=r"the engine at %s refused \(HTTP 403\): plugin said no" % fake.url):
        connect(options(engine_host=fake.url))


@pytest.mark.parametrize(("text", "version"), [("1.41", (1, 41)), ("5.0.0-rc1", (5, 0)), ("2", (2, 0))])
def test_reads_versions(text, version):
    assert engine._version(text) == version
