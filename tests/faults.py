# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy that does to a real registry's answers what bad lines, broken storage and hostile servers do.

    with Proxy(registry.host) as proxy:
        proxy.on("GET", "/blobs/", cut(1000), times=2)       # the first two answers end after 1000 bytes
        ...                                                  # a client of proxy.host
        assert proxy.ranges("/blobs/") == [None, "bytes=1000-2999", "bytes=2000-2999"]

What no fault is for goes through as it is, requests with bodies too. The proxy's end is the end of every connection.
"""

from __future__ import annotations

import http.client
import re
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Iterator, Mapping, NamedTuple

PIECE = 1 << 16
ENDLESS = 1 << 30
"""Bytes after which even an endless body ends: no test may run for ever."""

SECONDS = 30
"""The longest that a fault keeps anybody waiting."""


class Call(NamedTuple):
    """A request that arrived; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Exchange:
    """One request on its way through. A fault fills in the answer, or lets the registry do so with `ask`, and may change it then.

    `length` is what Content-Length will say (None: the answer is chunked); `ends` hangs up after the answer.
    """

    proxy: Proxy
    call: Call
    body: Iterator[bytes]
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    pieces: Iterator[bytes] = iter(())
    length: int | None = 0
    ends: bool = False

    def ask(self, without: str = "connection") -> None:
        """Hand the request to the registry, without this header."""
        connection = http.client.HTTPConnection(self.proxy.upstream, timeout=SECONDS)
        sent = {name: value for name, value in self.call.headers.items() if name not in ("connection", without)}
        has_body = "content-length" in sent or "transfer-encoding" in sent
        connection.request(self.call.method, self.call.path, self.body if has_body else None, sent, encode_chunked="transfer-encoding" in sent)
        response = connection.getresponse()
        hidden = ("content-length", "transfer-encoding", "connection")
        self.status = response.status
        self.headers = [(name, value) for name, value in response.getheaders() if name.lower() not in hidden]
        stated = response.headers.get("Content-Length")
        self.length = int(stated) if stated is not None else 0 if response.status in (204, 304) else None
        self.pieces = _read(connection, response)


Fault = Callable[[Exchange], None]


class _HangUp(Exception):
    """End the connection here."""


def hang_up(after: int = 0) -> Fault:
    """The connection ends after so many bytes of the request's body, without an answer; the registry is not asked."""

    def fault(exchange: Exchange) -> None:
        for _piece in _upto(exchange.body, after):
            pass
        raise _HangUp

    return fault


def says(status: int, body: bytes = b"", **headers: str) -> Fault:
    """This status, and the registry is not asked; `Retry_After="1"` is a header."""

    def fault(exchange: Exchange) -> None:
        exchange.status, exchange.pieces, exchange.length = status, iter([body]), len(body)
        exchange.headers = [(name.replace("_", "-"), value) for name, value in headers.items()]

    return fault


def elsewhere() -> Fault:
    """A redirect to another host, as registries in front of an object storage answer: `proxy.storage` sees who comes."""

    def fault(exchange: Exchange) -> None:
        says(307, Location=f"http://{exchange.proxy.storage.host}{exchange.call.path}")(exchange)

    return fault


def whole() -> Fault:
    """The registry knows no ranges: 200 and all of it."""
    return lambda exchange: exchange.ask(without="range")


def cut(after: int) -> Fault:
    """The body ends after so many bytes, and the connection with it."""

    def fault(exchange: Exchange) -> None:
        exchange.ask()
        exchange.pieces, exchange.ends = _upto(exchange.pieces, after), True

    return fault


def wrong(at: int = 0) -> Fault:
    """The byte at this place of the body is another one."""

    def fault(exchange: Exchange) -> None:
        exchange.ask()
        exchange.pieces = _flipped(exchange.pieces, at)

    return fault


def drip(piece: int, pause: float) -> Fault:
    """The body comes in pieces of so many bytes, each after a pause in seconds."""

    def fault(exchange: Exchange) -> None:
        exchange.ask()
        exchange.pieces = _slowly(exchange, exchange.pieces, piece, pause)

    return fault


def silent(after: int = 0) -> Fault:
    """After so many bytes of the body nothing comes any more, while the connection stays."""

    def fault(exchange: Exchange) -> None:
        exchange.ask()
        exchange.pieces = _silence(exchange, exchange.pieces, after)

    return fault


def endless() -> Fault:
    """The body goes on after its end, without a length."""

    def fault(exchange: Exchange) -> None:
        exchange.ask()
        exchange.pieces, exchange.length = _on_and_on(exchange.pieces), None

    return fault


def promises(more: int) -> Fault:
    """Content-Length says so many bytes more than come, or less if negative; what comes is all of it."""

    def fault(exchange: Exchange) -> None:
        exchange.ask()
        assert exchange.length is not None
        exchange.length += more
        exchange.ends = more > 0

    return fault


def chunked() -> Fault:
    """The answer as it is, without telling its length."""

    def fault(exchange: Exchange) -> None:
        exchange.ask()
        exchange.length = None

    return fault


@dataclass
class _Rule:
    method: str
    pattern: str
    fault: Fault
    times: int


class Proxy:
    """In front of the registry at `upstream` (host:port) while it is a context. `host` is where it listens, by this name.

    `behind` is the registry that its storage is in front of, if that is another one.
    """

    def __init__(self, upstream: str, name: str = "127.0.0.1", behind: str = "") -> None:
        self.upstream = upstream
        self._behind = behind or upstream
        self.calls: list[Call] = []
        self.ended = threading.Event()
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._storage: Proxy | None = None
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.host = f"{name}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_exception: Any) -> None:
        self.ended.set()
        if self._storage:
            self._storage.__exit__()
        self._server.shutdown()
        self._thread.join()
        with self._lock:
            for connection in self._open:
                _shut(connection)
        self._server.server_close()

    @property
    def storage(self) -> Proxy:
        """Another host that serves the same blobs: another name and another port."""
        with self._lock:
            if self._storage is None:
                self._storage = Proxy(self._behind, "localhost").__enter__()
            return self._storage

    def on(self, method: str, pattern: str, fault: Fault, times: int = 1) -> None:
        """Do this to the next `times` requests whose path has the pattern in it; rules that were made earlier come first."""
        self._rules.append(_Rule(method, pattern, fault, times))

    def found(self, pattern: str, method: str = "GET") -> list[Call]:
        """The requests so far of which the path has the pattern in it."""
        return [call for call in self.calls if call.method == method and re.search(pattern, call.path)]

    def ranges(self, pattern: str) -> list[str | None]:
        """What part each GET asked for."""
        return [call.headers.get("range") for call in self.found(pattern)]

    def fault(self, call: Call) -> Fault:
        """What to do with this request, which uses up a rule."""
        with self._lock:
            self.calls.append(call)
            for rule in self._rules:
                if rule.times and rule.method == call.method and re.search(rule.pattern, call.path):
                    rule.times -= 1
                    return rule.fault
        return Exchange.ask

    def keep(self, connection: socket.socket, is_open: bool) -> None:
        """Know the connection as long as it is open."""
        with self._lock:
            (self._open.add if is_open else self._open.discard)(connection)
            if self.ended.is_set() and is_open:
                _shut(connection)


class _Server(ThreadingHTTPServer):
    proxy: Proxy
    daemon_threads = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what tests are about; anything else is a mistake here."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.proxy.keep(self.connection, True)

    def finish(self) -> None:
        self.server.proxy.keep(self.connection, False)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # pylint: disable=redefined-builtin
        pass

    def _pass(self) -> None:
        call = Call(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        body = _chunks(self.rfile) if "transfer-encoding" in call.headers else _body(self.rfile, int(call.headers.get("content-length", 0)))
        exchange = Exchange(self.server.proxy, call, body)
        try:
            self.server.proxy.fault(call)(exchange)
            for _piece in body:  # what was not handed on must not be taken for the next request
                pass
            self._send(exchange)
        except (OSError, http.client.HTTPException, _HangUp):
            exchange.ends = True
        if exchange.ends:
            self.close_connection = True
            _shut(self.connection)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _pass

    def _send(self, exchange: Exchange) -> None:
        self.send_response_only(exchange.status)
        for name, value in exchange.headers:
            self.send_header(name, value)
        chunks = exchange.length is None and exchange.call.method != "HEAD"
        if exchange.length is not None:
            self.send_header("Content-Length", str(exchange.length))
        elif chunks:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if exchange.call.method == "HEAD":
            return
        for piece in exchange.pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunks and piece else piece)
        if chunks and not exchange.ends:
            self.wfile.write(b"0\r\n\r\n")


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # the other side was faster
        pass


def _read(connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while piece := response.read(PIECE):
            yield piece
    finally:
        connection.close()


def _body(stream: Any, length: int) -> Iterator[bytes]:
    while length and (piece := stream.read(min(PIECE, length))):
        length -= len(piece)
        yield piece


def _chunks(stream: Any) -> Iterator[bytes]:
    while size := int(stream.readline().partition(b";")[0], 16):
        yield stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass


def _upto(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    for piece in pieces:
        yield piece[:size]
        size -= len(piece)
        if size <= 0:
            return


def _flipped(pieces: Iterator[bytes], at: int) -> Iterator[bytes]:
    for piece in pieces:
        if 0 <= at < len(piece):
            piece = piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1:]
        at -= len(piece)
        yield piece


def _slowly(exchange: Exchange, pieces: Iterator[bytes], size: int, pause: float) -> Iterator[bytes]:
    body = b"".join(pieces)
    end = time.monotonic() + SECONDS
    for start in range(0, len(body), size):
        if exchange.proxy.ended.wait(pause) or time.monotonic() > end:
            exchange.ends = True
            return
        yield body[start:start + size]


def _silence(exchange: Exchange, pieces: Iterator[bytes], after: int) -> Iterator[bytes]:
    yield from _upto(pieces, after)
    exchange.proxy.ended.wait(SECONDS)
    exchange.ends = True


def _on_and_on(pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from pieces
    for _number in range(ENDLESS // PIECE):
        yield bytes(PIECE)
