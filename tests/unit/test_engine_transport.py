# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP to an engine: over real sockets, to engines that answer, refuse, break off and fall silent."""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import threading

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._engine import transport
from ansible_collections.stowage.oci.plugins.module_utils._engine.transport import Tls, Transport
from ansible_collections.stowage.oci.plugins.module_utils._errors import EngineDenied, EngineError, EngineNotFound
from ansible_collections.stowage.oci.tests.unit.certificates import Authority

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Script:
    """Takes connections, reads until ``enough`` says so, and answers these bytes; then it hangs up."""

    def __init__(self, answer=OK, tls=None, family=socket.AF_UNIX, enough=lambda seen: b"\r\n\r\n" in seen):
        self.answer, self.enough, self.seen = answer, enough, b""
        self._tls = tls
        self._folder = tempfile.TemporaryDirectory()
        self._socket = socket.socket(family)
        self._socket.bind(os.path.join(self._folder.name, "s") if family == socket.AF_UNIX else ("127.0.0.1", 0))
        self._socket.listen(8)
        place = self._socket.getsockname()
        self.url = "unix://" + place if family == socket.AF_UNIX else "tcp://127.0.0.1:%d" % place[1]
        self.silent = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _address = self._socket.accept()
            except OSError:
                return
            try:
                with connection if self._tls is None else self._tls.wrap_socket(connection, server_side=True) as stream:
                    self.seen = b""
                    while not self.enough(self.seen):
                        data = stream.recv(1 << 16)
                        if not data:
                            break
                        self.seen += data
                    if self.answer is None:
                        self.silent.wait()
                    else:
                        stream.sendall(self.answer)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.silent.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._folder.cleanup()


def ask(script, timeout=10, tls=None, **request):
    return Transport(script.url, timeout, tls).request("GET", "/_ping", **request)


# Addresses


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "'' is not an engine's address: write unix:///path/to/socket or tcp://host:port"),
        ("/var/run/docker.sock", "'/var/run/docker.sock' is not an engine's address: write unix:///path/to/socket or tcp://host:port"),
        ("ssh://host", "'ssh://host' is not an engine's address: write unix:///path/to/socket or tcp://host:port"),
        ("npipe:////./pipe/docker", "'npipe:////./pipe/docker' is not an engine's address: write unix"),
        ("tcp://", "'tcp://' names no host: write tcp://host:port"),
        ("tcp://host:port", "'tcp://host:port' is not an engine's address (Port could not be cast to integer value as 'port'): write tcp"),
        ("tcp://host:123456", "'tcp://host:123456' is not an engine's address (Port out of range 0-65535): write tcp://host:port"),
    ],
)
def test_says_how_an_address_is_written(url, message):
    with pytest.raises(EngineNotFound) as error:
        Transport(url, 1)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("url", "near"),
    [("unix:///s", True), ("tcp://127.0.0.1:1", True), ("tcp://localhost:1", True), ("tcp://[::1]:1", True), ("tcp://192.0.2.1:1", False)],
)
def test_tells_whether_an_engine_is_on_this_machine(url, near):
    assert Transport(url, 1).near is near


# Answers


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
def test_asks_and_is_answered(family):
    with Script(family=family) as script, ask(script, query={"names": ["a:1", "b:1"]}, headers={"X-Test": "1"}) as answer:
        assert (answer.status, answer.json()) == (200, {})
        assert script.seen.startswith(b"GET /_ping?names=a%3A1&names=b%3A1 HTTP/1.1\r\n")
        assert b"X-Test: 1\r\n" in script.seen


def test_a_body_goes_out_in_chunks_as_it_is_made():
    with Script(enough=lambda seen: seen.endswith(b"0\r\n\r\n")) as script:
        with Transport(script.url, 10).request("POST", "/images/load", body=iter([b"abc", b"defgh"])):
            assert script.seen.split(b"\r\n\r\n", 1)[1] == b"3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n"


def test_a_body_of_bytes_has_its_length():
    with Script(enough=lambda seen: seen.endswith(b"abc")) as script:
        with Transport(script.url, 10).request("POST", "/x", body=b"abc"):
            assert b"Content-Length: 3\r\n" in script.seen


def test_an_engine_may_refuse_a_body_before_it_has_read_it():
    refusal = b'HTTP/1.1 500 Oh\r\nContent-Length: 23\r\nConnection: close\r\n\r\n{"message":"disk full"}'
    with Script(refusal, enough=lambda seen: len(seen) > 100_000) as script:
        with Transport(script.url, 10).request("POST", "/images/load", body=(b"x" * 100_000 for _each in range(1000))) as answer:
            assert (answer.status, answer.reason()) == (500, "disk full")


def test_what_makes_the_body_may_fail():
    def body():
        yield b"abc"
        raise ValueError("not ours to translate")

    with Script(enough=lambda seen: False) as script, pytest.raises(ValueError, match="not ours"):
        Transport(script.url, 10).request("POST", "/images/load", body=body())


def replied(body, status=b"200 OK", length=None):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body) if length is None else length, body)


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        (b"", []),
        (b'{"a":1}\r\n{"b":2}\n', [{"a": 1}, {"b": 2}]),
        (b'{"a":1}\n{"b":2}', [{"a": 1}, {"b": 2}]),
        (b'\r\n\r\n{"a":1}\n[1]\n"text"\n', [{"a": 1}]),
        (b"not JSON \xff\n", [{"stream": "not JSON \ufffd"}]),
        (b'{"a":"%s"}\n{"b":2}\n' % (b"x" * 200_000), [{"a": "x" * 200_000}, {"b": 2}]),
    ],
)
def test_reads_a_stream_of_messages(body, messages):
    with Script(replied(body)) as script, ask(script) as answer:
        assert list(answer.messages()) == messages


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"message":"no such image"}', "no such image"),
        (b'{"cause":"why","response":500}', "why"),
        (b'{"other":1}', '{"other":1}'),
        (b"[1]", "[1]"),
        (b"404 page not found\n", "404 page not found"),
        (b"", "HTTP 500"),
    ],
)
def test_says_what_an_engine_says_went_wrong(body, reason):
    with Script(replied(body, b"500 Internal Server Error")) as script, ask(script) as answer:
        assert (answer.status, answer.reason()) == (500, reason)


def test_reads_as_much_as_it_is_told():
    with Script(replied(b"abcdef")) as script, ask(script) as answer:
        assert (answer.read(2), answer.read(), answer.read()) == (b"ab", b"cdef", b"")


def test_what_is_not_json_is_an_error():
    with Script(replied(b"<html>")) as script, ask(script) as answer:
        with pytest.raises(EngineError, match=r"the engine at unix:.* answered something that is not JSON: b'<html>'"):
            answer.json()


# Trouble


def test_nothing_there(tmp_path):
    url = "unix://%s" % (tmp_path / "engine.sock")
    with pytest.raises(EngineNotFound, match=r"no engine answers at %s \(No such file or directory\): start it, or name another" % url):
        Transport(url, 1).request("GET", "/_ping")


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
def test_nobody_listens(family):
    with Script(family=family) as script:
        pass
    if family == socket.AF_UNIX:
        os.mkdir(os.path.dirname(script.url[7:]))
        dead = socket.socket(family)
        dead.bind(script.url[7:])
        dead.close()
    with pytest.raises(EngineNotFound, match=r"no engine answers at %s \(Connection refused\): start it" % script.url):
        ask(script)


def test_a_name_that_nobody_knows(monkeypatch):
    def unknown(address, timeout):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    message = r"^no engine answers at tcp://none.example:2375: the name none.example is not known here \(Name or service not known\): see how it is written"
    with pytest.raises(EngineNotFound, match=message):
        Transport("tcp://none.example:2375", 1).request("GET", "/_ping")


def test_the_socket_is_not_for_us(monkeypatch):
    def refuse(self, address):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(EngineDenied, match="permission denied on the engine's socket /s: use become, or add the user to the socket's group"):
        Transport("unix:///s", 1).request("GET", "/_ping")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 2", b"nonsense\r\n\r\n"])
def test_breaks_off_before_it_answers(answer):
    with Script(answer) as script:
        with pytest.raises(EngineError, match=r"the engine at unix:.* broke off during GET /_ping \(.+\): see whether it still runs, and run again"):
            ask(script)


def test_breaks_off_in_the_middle_of_a_body():
    with Script(b"", enough=lambda seen: len(seen) > 300_000) as script:
        with pytest.raises(EngineError, match=r"broke off during POST /images/load \("):
            Transport(script.url, 10).request("POST", "/images/load", {"quiet": "1"}, body=(b"x" * 100_000 for _each in range(1000)))


def test_a_body_of_bytes_that_breaks_off_is_an_error_at_once():
    with Script(b"", enough=lambda seen: len(seen) > 1000) as script:
        with pytest.raises(EngineError, match=r"broke off during POST /x \("):
            Transport(script.url, 10).request("POST", "/x", body=b"x" * 10_000_000)


def test_breaks_off_in_the_middle_of_its_answer():
    with Script(replied(b"abc", length=10)) as script, ask(script) as answer:
        with pytest.raises(EngineError, match=r"the engine at unix:.* broke off its answer \(IncompleteRead.*\): look at its log and run again"):
            answer.read()


def test_is_silent_for_too_long():
    with Script(None) as script:
        with pytest.raises(EngineError, match=r"broke off during GET /_ping \(silent for too long, see engine_timeout\)"):
            ask(script, timeout=0.2)


def test_falls_silent_in_the_middle_of_its_answer():
    with Script(None) as script, pytest.raises(EngineError, match="silent for too long, see engine_timeout"):
        ask(script, timeout=0.2)


# TLS


@pytest.fixture(scope="module", name="ca")
def _ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module", name="stranger")
def _stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "stranger")


@pytest.fixture(scope="module", name="client")
def _client(ca):
    return ca.issue("client")


@pytest.fixture(scope="module", name="secure")
def _secure(ca):
    """An engine that wants to see a certificate of its authority."""
    server = ca.issue("server", "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ca.cert))
    context.load_cert_chain(str(server.cert), str(server.key))
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    with Script(tls=context, family=socket.AF_INET) as script:
        yield script


def test_speaks_tls_with_an_engine_that_knows_us(secure, ca, client):
    with ask(secure, tls=Tls(str(ca.cert), str(client.cert), str(client.key))) as answer:
        assert answer.json() == {}


def test_an_unknown_engine_is_not_believed(secure, stranger, client):
    for tls in (Tls(str(stranger.cert), str(client.cert), str(client.key)), Tls(None, str(client.cert), str(client.key))):
        with pytest.raises(EngineDenied, match=r"TLS with the engine at tcp://127.* failed \(.*certificate verify failed.*\): look at engine_ca"):
            ask(secure, tls=tls)


def test_an_engine_that_says_another_name_is_not_believed(secure, ca, client, monkeypatch):
    monkeypatch.setattr(transport.socket, "create_connection", lambda address, timeout: _connected(secure))
    with pytest.raises(EngineDenied, match="IP address mismatch|Hostname mismatch|doesn't match"):
        Transport("tcp://192.0.2.7:2376", 10, Tls(str(ca.cert), str(client.cert), str(client.key))).request("GET", "/_ping")


def _connected(script):
    sock = socket.socket()
    sock.connect(("127.0.0.1", int(script.url.rpartition(":")[2])))
    return sock


def test_verification_may_be_switched_off(secure, client):
    with ask(secure, tls=Tls(None, str(client.cert), str(client.key), verify=False)) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("whose", ["nobody", "stranger"])
def test_an_engine_that_does_not_know_us_says_so(secure, ca, stranger, whose):
    other = stranger.issue("client")
    tls = Tls(str(ca.cert)) if whose == "nobody" else Tls(str(ca.cert), str(other.cert), str(other.key))
    for _again in range(5):
        with pytest.raises(EngineDenied, match=r"TLS with the engine at tcp://127.* failed \(.*(ALERT|alert).*\): look at engine_ca_cert, eng"):
            ask(secure, tls=tls)


def test_an_engine_without_tls_is_told_apart():
    with Script(b"HTTP/1.0 400 Bad Request\r\n\r\n", family=socket.AF_INET, enough=lambda seen: len(seen) > 10) as script:
        with pytest.raises(EngineDenied, match="TLS with the engine at tcp://.* failed .*(?i:wrong.version|record layer)"):
            ask(script, tls=Tls(verify=False))


def test_https_and_port_2376_mean_tls(monkeypatch):
    for url in ("https://127.0.0.1:1", "tcp://127.0.0.1:2376", "https://127.0.0.1"):
        assert Transport(url, 1)._context is not None
    for url in ("tcp://127.0.0.1:1", "tcp://127.0.0.1", "http://127.0.0.1"):
        assert Transport(url, 1)._context is None


def test_files_that_do_not_serve_are_named(tmp_path, ca):
    nowhere = str(tmp_path / "nowhere.pem")
    with pytest.raises(EngineDenied, match=r"cannot use the TLS files %s for the engine: " % nowhere):
        Transport("tcp://127.0.0.1:1", 1, Tls(ca=nowhere))
    with pytest.raises(EngineDenied, match=r"cannot use the TLS files %s, %s for the engine: " % (ca.cert, ca.cert)):
        Transport("tcp://127.0.0.1:1", 1, Tls(ca=str(ca.cert), cert=str(ca.cert)))
