# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The push probe: make the engine name the blobs of an image that it has, without moving one.

The containerd store tells nobody the digests of its layers, except a registry to which it pushes. So it is asked to push to
one on the loopback that claims to have every blob already and keeps the manifest that comes at the end.
"""

from __future__ import annotations

import http.server
import secrets
import socket
import socketserver
import threading
import typing as t

from .._errors import ArchiveError, StowageError
from .._oci import manifest as _manifest
from .._oci import platform as _platform
from .._oci.digest import Digest
from .._oci.manifest import Descriptor, Manifest
from .._oci.reference import parse as parse_reference
from .engine import Engine


class _Registry(socketserver.ThreadingTCPServer):
    """Has every blob, keeps every manifest. Not an HTTPServer, which would look up the name of its address."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.manifests: t.List[t.Tuple[bytes, str]] = []

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """Who talks nonsense to us is no engine, and no business of the user's."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def handle(self) -> None:
        # containerd tries TLS first, and falls back to plain HTTP only if it is answered in HTTP.
        if self.connection.recv(1, socket.MSG_PEEK) == b"\x16":
            self.connection.sendall(b"HTTP/1.0 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
        super().handle()

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/v2/" else 404)

    def do_HEAD(self) -> None:
        if "/blobs/" in self.path:
            self._answer(200, Docker_Content_Digest=self.path.rpartition("/")[2], Content_Length="1")
        else:
            self._answer(404)

    def do_PUT(self) -> None:
        if "/manifests/" not in self.path:
            self._answer(405)
            return
        raw = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), _manifest.LIMIT))
        t.cast(_Registry, self.server).manifests.append((raw, self.headers.get("Content-Type") or ""))
        self._answer(201, Docker_Content_Digest=str(Digest.of(raw)))

    def log_message(self, *args: t.Any) -> None:
        pass


def blobs(engine: Engine, image_id: str, platform: _platform.Platform) -> t.List[Descriptor]:
    """The engine's own descriptors of an image's layers, lowest first; empty where it does not tell.

    It does not where the engine cannot reach our loopback (a rootless engine's own network), or where the image is
    incomplete; an engine on another machine is not asked, for there our port is somebody else's. Tags the image for a
    moment with a name of 127.0.0.1, and takes that tag away: an image that has no other name would go with it.
    """
    if not engine.transport.near:
        return []
    try:
        server = _Registry()
    except OSError:
        return []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        name = parse_reference("127.0.0.1:%d/stowage/probe:%s" % (server.server_address[1], secrets.token_hex(4)))
        engine.tag(image_id, name)
        try:
            engine.push(name, platform, tls_verify=False)
        finally:
            engine.remove(str(name))
        return _layers(server.manifests)
    except StowageError:
        return []
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _layers(manifests: t.Iterable[t.Tuple[bytes, str]]) -> t.List[Descriptor]:
    """Of the one image among them; Docker before 28 pushes every platform of an index, and then it is open which is meant."""
    found = []
    for raw, media_type in manifests:
        try:
            manifest = _manifest.parse(raw, "push probe", media_type)
        except ArchiveError:
            continue
        if isinstance(manifest, Manifest) and not manifest.artifact:
            found.append(list(manifest.layers))
    return found[0] if len(found) == 1 else []
