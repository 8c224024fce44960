# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loopback registry of the push probe: has every blob, keeps manifests, and takes no harm from strangers."""

from __future__ import annotations

import http.client
import socket
import threading

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._engine import probe
from ansible_collections.stowage.oci.plugins.module_utils._oci.manifest import OCI_INDEX, OCI_MANIFEST
from ansible_collections.stowage.oci.tests.unit import images

BASE = images.image([images.layer({"a": b"1"}, "gzip"), images.layer({"b": b"1"})])
OTHER = images.image([images.layer({"c": b"1"})], platform="linux/arm64")


@pytest.fixture(name="server")
def _server():
    server = probe._Registry()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def ask(server, method, path, body=None, **headers):
    connection = http.client.HTTPConnection(*server.server_address)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/", 200),
        ("GET", "/v2/x/tags/list", 404),
        ("HEAD", "/v2/x/blobs/sha256:ab", 200),
        ("HEAD", "/v2/x/manifests/1", 404),
        ("PUT", "/v2/x/blobs/uploads/1", 405),
        ("POST", "/v2/x/blobs/uploads/", 501),
    ],
)
def test_answers_as_one_who_has_all_blobs(server, method, path, status):
    assert ask(server, method, path).status == status
    assert server.manifests == []


def test_says_of_a_blob_how_long_it_is(server):
    """Some number: an engine wants one."""
    answer = ask(server, "HEAD", "/v2/x/blobs/sha256:ab")
    assert (answer.headers["Content-Length"], answer.headers["Docker-Content-Digest"]) == ("1", "sha256:ab")


def test_keeps_a_manifest_and_names_it(server):
    answer = ask(server, "PUT", "/v2/x/manifests/1", BASE.manifest, **{"Content-Type": OCI_MANIFEST})
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, BASE.digest)
    assert server.manifests == [(BASE.manifest, OCI_MANIFEST)]


def test_who_tries_tls_is_answered_in_http(server):
    with socket.create_connection(server.server_address, 10) as sock:
        sock.sendall(b"\x16\x03\x01\x00\x05hello")
        assert sock.recv(100).startswith(b"HTTP/1.0 400 ")


@pytest.mark.parametrize("nonsense", [b"", b"\0\1\2\r\n\r\n", b"PUT /v2/x/manifests/1 HTTP/1.1\r\nContent-Length: many\r\n\r\n"])
def test_nonsense_does_no_harm_and_is_not_printed(server, capfd, nonsense):
    with socket.create_connection(server.server_address, 10) as sock:
        sock.sendall(nonsense)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1000):
            pass
    assert ask(server, "GET", "/v2/").status == 200
    assert capfd.readouterr() == ("", "")


def put(*items):
    return [(item.raw if isinstance(item, images.MadeIndex) else item.manifest, "") for item in items]


INDEX = images.index([BASE, OTHER])


@pytest.mark.parametrize(
    ("manifests", "layers"),
    [
        ([], []),
        (put(BASE), BASE.layers),
        (put(BASE, INDEX), BASE.layers),
        (put(images.attestation(BASE)._replace(manifest=images.artifact().manifest), BASE), BASE.layers),
        (put(OTHER, BASE, INDEX), []),
        ([(b"not JSON", "")] + put(BASE), BASE.layers),
        ([(INDEX.raw, OCI_INDEX)], []),
    ],
)
def test_believes_the_one_image_that_was_pushed(manifests, layers):
    assert [layer.json() for layer in probe._layers(manifests)] == [layer.descriptor() for layer in layers]
