# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP on a unix socket in a thread of its own; what is answered is somebody else's."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import socketserver
import tempfile
import threading
import typing as t
import urllib.parse

Body = t.Callable[[t.Optional[int]], bytes]
"""Reads the request's body, or at most so many bytes of it."""


class Call(t.NamedTuple):
    """A request as it came, without the API version before its path; ``names`` are the values of that parameter of the query."""

    method: str
    path: str
    query: t.Dict[str, str]
    headers: t.Mapping[str, str]
    names: t.Sequence[str] = ()


class Stream(t.NamedTuple):
    """An answer of JSON documents, one a line; ``breaks`` is for a connection that does before the last."""

    messages: t.Sequence[t.Dict[str, t.Any]]
    breaks: bool = False


class Served:
    """Answers on ``url`` until it is closed. ``handle`` returns status and document; bytes and Stream are sent as they are."""

    headers: t.Mapping[str, str] = {}

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="fake-")
        self.socket = os.path.join(self._folder, "engine.sock")
        self.url = "unix://" + self.socket
        self._server = _Server(self.socket, self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def handle(self, call: Call, body: Body) -> t.Tuple[int, t.Any]:
        raise NotImplementedError

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, *exc: t.Any) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering; the socket is gone."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        shutil.rmtree(self._folder)


T = t.TypeVar("T", bound=Served)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path: str, served: Served) -> None:
        super().__init__(path, _Handler)
        self.served = served

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """A client that hangs up, or that we hang up on, is part of the play."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *args: t.Any) -> None:
        pass

    def _serve(self) -> None:
        served = t.cast(_Server, self.server).served
        parts = urllib.parse.urlsplit(self.path)
        path = re.sub(r"^/v[0-9.]+(?=/)", "", urllib.parse.unquote(parts.path))
        pairs = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
        names = [value for key, value in pairs if key == "names"]
        status, document = served.handle(Call(self.command, path, dict(pairs), self.headers, names), self._body)
        self._send(status, document)

    do_GET = do_POST = do_DELETE = do_HEAD = _serve

    def _body(self, limit: t.Optional[int]) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            length = int(self.headers.get("Content-Length") or 0)
            return self.rfile.read(length if limit is None else min(limit, length))
        body = bytearray()
        while limit is None or len(body) < limit:
            size = int(self.rfile.readline(), 16)
            body += self.rfile.read(size)
            self.rfile.readline()
            if not size:
                break
        return bytes(body)

    def _send(self, status: int, document: t.Any) -> None:
        if isinstance(document, Stream):
            body = b"".join(json.dumps(message).encode() + b"\r\n" for message in document.messages)
        else:
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response_only(status)
        for name, value in t.cast(_Server, self.server).served.headers.items():
            self.send_header(name, value)
        if isinstance(document, Stream) and document.breaks:
            self._break(body)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def _break(self, body: bytes) -> None:
        """In chunks as engines do, for whose end the client waits in vain."""
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in body.splitlines(keepends=True)[:-1]:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        raise ConnectionAbortedError
