# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How engines push to a registry on the loopback: ask for each blob, send what is missing, then the manifest."""

from __future__ import annotations

import http.client
import json
import socket
import typing as t
import urllib.parse

from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import Reference
from ansible_collections.stowage.oci.tests.unit.images import sha256

CLIENT_HELLO = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"


def push(reference: Reference, manifest: bytes, blobs: t.Mapping[str, bytes], tls_first: bool) -> None:
    """Raises OSError with the engine's words. ``tls_first``: containerd speaks HTTP only after an answer in HTTP to TLS."""
    host, _colon, port = reference.registry.rpartition(":")
    if host not in ("127.0.0.1", "localhost"):
        raise OSError("dial tcp: lookup %s: no such host" % reference.registry)
    if tls_first:
        _fall_back(host, int(port))
    for digest, data in blobs.items():
        path = "/v2/%s/blobs/%s" % (reference.repository, digest)
        status, headers = _call(reference, "HEAD", path)
        if status == 200 and not headers.get("Content-Length"):
            raise OSError("failed to do request: HEAD of %s has no Content-Length" % digest)
        if status != 200:
            _upload(reference, digest, data)
    kind = json.loads(manifest.decode())["mediaType"]
    status, _headers = _call(reference, "PUT", "/v2/%s/manifests/%s" % (reference.repository, reference.tag), manifest, kind)
    if status != 201:
        raise OSError("failed to push %s: unexpected status %d of the manifest %s" % (reference, status, sha256(manifest)))


def _fall_back(host: str, port: int) -> None:
    with socket.create_connection((host, port), 10) as sock:
        sock.sendall(CLIENT_HELLO)
        if not sock.recv(5).startswith(b"HTTP/"):
            raise OSError("tls: first record does not look like a TLS handshake")


def _upload(reference: Reference, digest: str, data: bytes) -> None:
    status, headers = _call(reference, "POST", "/v2/%s/blobs/uploads/" % reference.repository)
    if status == 202:
        place = urllib.parse.urlsplit(headers["Location"])
        path = "%s?%s" % (place.path, "&".join(filter(None, [place.query, "digest=" + digest])))
        status, headers = _call(reference, "PUT", path, data, "application/octet-stream")
    if status != 201:
        raise OSError("unexpected status from POST request to blob uploads: %d" % status)


def _call(reference: Reference, method: str, path: str, body: t.Optional[bytes] = None, kind: str = "") -> t.Tuple[int, t.Mapping[str, str]]:
    connection = http.client.HTTPConnection(reference.registry, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": kind} if kind else {})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers
    finally:
        connection.close()
