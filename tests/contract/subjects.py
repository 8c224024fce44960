# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine in memory or a real one, under the same hands: see test_fakes_hold.py."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import socket
import tarfile
import urllib.parse
from dataclasses import dataclass
from typing import Any, Callable

import pytest

from ansible_collections.stowage.oci.plugins.module_utils._engine.engine import Engine
from ansible_collections.stowage.oci.plugins.module_utils._engine.transport import Transport
from ansible_collections.stowage.oci.tests.real import spread
from ansible_collections.stowage.oci.tests.unit.fakes.engine import FakeEngine
from ansible_collections.stowage.oci.tests.unit.fakes.registry import FakeRegistry
from ansible_collections.stowage.oci.tests.unit.images import Made, MadeIndex, image, layer, layout, tar

KINDS = {
    "docker-20.10": ("classic", True), "docker-28": ("classic", False), "docker-28-containerd": ("containerd", False), "podman-4": ("podman", False)
}
MISSING = "sha256:" + 64 * "0"

BASE = layer({"etc/os": b"base" * 1000}, "gzip")
LIB, ONE, TWO = (layer({name: name.encode() * 500}, "gzip") for name in ("lib", "one", "two"))
TIME = {"created": "2024-05-01T10:00:00Z"}
HISTORY = [dict(TIME, created_by="COPY os"), dict(TIME, created_by="ENV a=b", empty_layer=True), dict(TIME, created_by="COPY app", comment="last")]
APP = image([BASE, ONE], names=["docker.io/library/app:1"], history=HISTORY, config={"Labels": {"who": "me"}, "Cmd": ["/app"]})
NEXT = image([BASE, TWO], names=["docker.io/library/app:1"], history=HISTORY)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass
class Subject:
    """An engine, real or not: what it answers, raw. ``offer`` puts an image into a registry that it reaches; its reference."""

    url: str
    store: str
    old: bool
    offer: Callable[[str, Made | MadeIndex], str]

    def call(self, method: str, path: str, body: Any = None, **query: str) -> tuple[int, Any]:
        """Status, and the document, list of messages, or bytes that came."""
        headers = {"Content-Type": "application/json" if isinstance(body, dict) else "application/x-tar"}
        if path.endswith("/push"):
            headers["X-Registry-Auth"] = "e30="
        body = json.dumps(body) if isinstance(body, dict) else body
        connection = _Connection(self.url.partition("://")[2])
        try:
            connection.request(method, path + ("?" + urllib.parse.urlencode(query) if query else ""), body, headers)
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        try:
            lines = [json.loads(line) for line in raw.splitlines() if line.strip()]
        except ValueError:
            return answer.status, raw
        return answer.status, lines[0] if len(lines) == 1 else lines

    def load(self, *made: Made, without: tuple[str, ...] = ()) -> tuple[int, str]:
        """Status and text of what was said."""
        return self.send(tar(layout(made, docker=True, without=without)))

    def send(self, archive: bytes) -> tuple[int, str]:
        status, said = self.call("POST", "/images/load", archive, quiet="1")
        return status, json.dumps(said)

    def inspect(self, name: str) -> Any:
        status, document = self.call("GET", f"/images/{name}/json")
        return document if status == 200 else None

    def identity(self, made: Made) -> str:
        return made.digest if self.store == "containerd" else made.config_digest

    def listed(self, image_id: str, every: bool = True) -> Any:
        found = [one for one in self.call("GET", "/images/json", **({"all": "1"} if every else {}))[1] or [] if one["Id"] == image_id]
        return found[0] if found else None

    def client(self) -> Engine:
        return Engine(Transport(self.url, 60))


@pytest.fixture(name="subject", params=[spread(kind, f"{which} {kind}") for kind in KINDS for which in ("fake", "real")])
def subject_(request):
    which, kind = request.param.split()
    store, old = KINDS[kind]
    if which == "real":
        engine, registry = request.getfixturevalue("running")(kind), request.getfixturevalue("registry")
        engine.wipe()
        yield Subject(engine.url, store, old, lambda name, made: _pushed(registry.host, f"{kind}/{name}", made))
        return
    with FakeEngine(store, old) as engine, FakeRegistry() as taker:
        engine.daemon.registries["127.0.0.1:5000"] = taker

        def offer(name: str, made: Made | MadeIndex) -> str:
            reference = f"127.0.0.1:5000/{kind}/{name}"
            engine.offer(reference, made)
            return reference

        yield Subject(engine.url, store, old, offer)


def _pushed(host: str, name: str, made: Made | MadeIndex) -> str:
    repository, _colon, tag = name.rpartition(":")
    for child in getattr(made, "children", ()):
        _put(host, repository, child, child.digest)
    _put(host, repository, made, tag)
    return f"{host}/{name}"


def _put(host: str, repository: str, made: Made | MadeIndex, tag: str) -> None:
    connection = http.client.HTTPConnection(host, timeout=60)

    def call(method: str, path: str, body: bytes = b"", kind: str = "application/octet-stream") -> Any:
        connection.request(method, path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        answer.read()
        assert answer.status < 300, (method, path, answer.status)
        return answer

    blobs = {one: data for one, data in made.blobs.items() if one != made.digest} if isinstance(made, Made) else {}
    for digest, data in blobs.items():
        place = call("POST", f"/v2/{repository}/blobs/uploads/").getheader("Location").partition(host)[2]
        call("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", data)
    raw = made.manifest if isinstance(made, Made) else made.raw
    call("PUT", f"/v2/{repository}/manifests/{tag}", raw, made.descriptor()["mediaType"])
    connection.close()


def layer_tars(raw: bytes) -> list[bytes]:
    """Those layers, lowest first."""
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        files = {member.name: member for member in archive}

        def read(name: str) -> bytes:
            member = files[name]
            stream = archive.extractfile(files[member.linkname.lstrip("./")] if member.issym() else member)
            assert stream
            return stream.read()

        item = json.loads(read("manifest.json"))[0]
        config = json.loads(read(item["Config"]))
        layers = [read(name) for name in item["Layers"]]
    assert len(layers) == len(config["rootfs"]["diff_ids"])
    return [_unpacked(data) for data in layers]


def _unpacked(data: bytes) -> bytes:
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
