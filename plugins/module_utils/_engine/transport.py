# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP to an engine: over its unix socket or tcp, with the standard library alone.

One connection a request: engines answer over a local socket in a fraction of a millisecond, and any number of threads may
ask at once.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import typing as t
import urllib.parse

from .._errors import EngineDenied, EngineError, EngineNotFound, masked, shown

CONNECT_SECONDS = 10


class Tls(t.NamedTuple):
    """Paths of PEM files, or None; ``verify`` is whether the engine must prove its name."""

    ca: t.Optional[str] = None
    cert: t.Optional[str] = None
    key: t.Optional[str] = None
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca)
            # An authority made as Docker's guide says has no key usage, and Python 3.13 would refuse it for that.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if not self.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.cert:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(filter(None, self[:3]))
            raise EngineDenied("cannot use the TLS files %s for the engine: %s" % (files, error)) from None
        return context


class _Connection(http.client.HTTPConnection):
    """An HTTP connection whose socket somebody else opens."""

    def __init__(self, host: str, opener: t.Callable[[], socket.socket]) -> None:
        super().__init__(host)
        self._opener = opener

    def connect(self) -> None:
        self.sock = self._opener()


class Response:
    """Status, headers and a body that is read once: whole, by line, or as a stream."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, where: str) -> None:
        self._connection = connection
        self._response = response
        self._where = where
        self.status = response.status
        self.headers = response.headers

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *exc: t.Any) -> None:
        self._response.close()
        self._connection.close()

    def read(self, n: int = -1) -> bytes:
        try:
            return self._response.read() if n < 0 else self._response.read(n)
        except (OSError, http.client.HTTPException) as error:
            raise EngineError("the engine at %s broke off its answer (%s): look at its log and run again" % (self._where, _why(error))) from None

    def json(self) -> t.Any:
        body = self.read()
        try:
            return json.loads(body.decode("utf-8"))
        except ValueError:
            raise EngineError("the engine at %s answered something that is not JSON: %r" % (self._where, body[:80])) from None

    def messages(self) -> t.Iterator[t.Dict[str, t.Any]]:
        """The objects of a stream of JSON documents, one a line."""
        rest = b""
        while True:
            data = self.read(1 << 16)
            lines = (rest + data).split(b"\n")
            rest = lines.pop() if data else b""
            for line in lines:
                try:
                    message = json.loads(line.decode("utf-8")) if line.strip() else None
                except ValueError:
                    message = {"stream": line.decode("utf-8", "replace")}
                if isinstance(message, dict):
                    yield message
            if not data:
                return

    def reason(self) -> str:
        """What an answer of 400 or more says went wrong, in the engine's words."""
        text = self.read().decode("utf-8", "replace").strip()
        try:
            document = json.loads(text)
            return str(document.get("message") or document.get("cause") or text)
        except (ValueError, AttributeError):
            return text or "HTTP %d" % self.status


class Transport:
    """Where an engine listens. ``url`` is ``unix:///path``, ``tcp://host:port`` or ``https://host:port``.

    ``timeout`` is in seconds of silence; connecting has a bound of its own. ``tls`` is what was asked for, if anything was.
    """

    def __init__(self, url: str, timeout: float, tls: t.Optional[Tls] = None) -> None:
        self.url = url
        self.tls = tls
        self._timeout = timeout
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in ("unix", "tcp", "http", "https"):
            raise EngineNotFound("%r is not an engine's address: write unix:///path/to/socket or tcp://host:port" % masked(url))
        self._path: t.Optional[str] = None
        self._context = None
        if scheme == "unix":
            self._path, self._host = rest, "localhost"
            return
        if "@" in rest:
            raise EngineNotFound(
                "%r is not an engine's address: engines know no user and password, so leave out what is before the @; "
                "one that wants to know us takes a certificate, see engine_client_cert" % masked(url)
            )
        try:
            parts = urllib.parse.urlsplit("//" + rest)
            secure = scheme == "https" or tls is not None or parts.port == 2376
            self._host, port = parts.hostname or "", parts.port or (2376 if secure else 2375)
        except ValueError as error:
            raise EngineNotFound("%r is not an engine's address (%s): write tcp://host:port" % (url, error)) from None
        if not self._host:
            raise EngineNotFound("%r names no host: write tcp://host:port" % url)
        self._address = (self._host, port)
        self._context = (tls or Tls()).context() if secure else None

    @property
    def near(self) -> bool:
        """Whether the engine is on this machine, as far as its address tells."""
        return self._path is not None or self._host in ("localhost", "127.0.0.1", "::1")

    def request(
        self,
        method: str,
        path: str,
        query: t.Optional[t.Mapping[str, t.Any]] = None,
        headers: t.Optional[t.Mapping[str, str]] = None,
        body: t.Union[None, bytes, t.Iterable[bytes]] = None,
    ) -> Response:
        """Send; a body that is not bytes goes out in chunks as it is made.

        Raises EngineNotFound or EngineDenied if nothing lets us in, EngineError if the connection breaks. Any status is
        returned, and is the caller's to judge.
        """
        if query:
            path += "?" + urllib.parse.urlencode(query, doseq=True)
        headers = dict(headers or {})
        chunked = body is not None and not isinstance(body, bytes)
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
        connection = _Connection(self._host, self._open)
        try:
            try:
                connection.request(method, path, body=body, headers=headers, encode_chunked=chunked)
            except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
                # An engine that refuses a body, or our certificate, says so and closes before it has read all: that is what counts.
                pass
            return Response(connection, connection.getresponse(), self.url)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
                # With TLS 1.3 an engine refuses a client's certificate only after the handshake.
                raise self._no_tls(error) from None
            raise EngineError(
                "the engine at %s broke off during %s %s (%s): see whether it still runs, and run again"
                % (self.url, method, path.partition("?")[0], _why(error))
            ) from None
        except BaseException:
            connection.close()
            raise

    def _open(self) -> socket.socket:
        try:
            if self._path is not None:
                sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                sock.settimeout(CONNECT_SECONDS)
                sock.connect(self._path)
            else:
                sock = socket.create_connection(self._address, CONNECT_SECONDS)
                if self._context is not None:
                    sock = self._context.wrap_socket(sock, server_hostname=self._host)
        except PermissionError:
            raise EngineDenied(
                "permission denied on the engine's socket %s: use become, or add the user to the socket's group" % (self._path or self.url)
            ) from None
        except ssl.SSLError as error:
            raise self._no_tls(error) from None
        except socket.gaierror as error:
            raise EngineNotFound(
                "no engine answers at %s: the name %s is not known here (%s): see how it is written, or name another with engine_host"
                % (self.url, self._host, _why(error))
            ) from None
        except OSError as error:
            raise EngineNotFound("no engine answers at %s (%s): start it, or name another with engine_host" % (self.url, _why(error))) from None
        sock.settimeout(self._timeout)
        return sock

    def _no_tls(self, error: ssl.SSLError) -> EngineDenied:
        return EngineDenied(
            "TLS with the engine at %s failed (%s): look at engine_ca_cert, engine_client_cert and engine_client_key" % (self.url, error)
        )


def _why(error: BaseException) -> str:
    if isinstance(error, socket.timeout):
        return "silent for too long, see engine_timeout"
    return getattr(error, "strerror", None) or shown(" ".join(str(error).split()) or type(error).__name__)
