# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_copy with real registries: open, guarded, read-only, of another maker, behind a bad line; skopeo reads what it wrote."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import threading
import urllib.parse
from pathlib import Path
from typing import Any, Callable, Iterator

import debs
import engines
import pytest
import requests
from ansible_collections.stowage.oci.plugins.module_utils._oci.archive import Archive
from ansible_collections.stowage.oci.plugins.module_utils._registry import transport
from ansible_collections.stowage.oci.plugins.modules import image_archive, image_copy
from ansible_collections.stowage.oci.tests import faults
from ansible_collections.stowage.oci.tests.faults import Proxy
from ansible_collections.stowage.oci.tests.real import Guarded
from ansible_collections.stowage.oci.tests.unit import images
from ansible_collections.stowage.oci.tests.unit.fakes.registry import FakeRegistry
from ansible_collections.stowage.oci.tests.unit.images import image, index, layer, write_layout
from ansible_collections.stowage.oci.tests.unit.running import fail, four_times, run

BIG = layer({"noise": b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(100000))}, "gzip")
APP = image([BIG, layer({"app": b"1"}, "gzip")], names=["quay.io/team/app:1"], config={"Cmd": ["/app"]})
NEXT = image([BIG, layer({"app": b"2"}, "gzip")], names=["quay.io/team/app:1"], config={"Cmd": ["/app"]})
ARM = image([layer({"app": b"3"}, "gzip")], config={"Cmd": ["/app"]}, platform="linux/arm64/v8")
MULTI = index([APP, ARM, images.attestation(APP)], names=["nginx:1"])
DOCKER = index([image([BIG], docker=True)], names=["quay.io/team/docker:1"], docker=True)
SIZE = sum(len(data) for digest, data in APP.blobs.items() if digest != APP.digest)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home without credentials, and short pauses between tries."""
    monkeypatch.setattr(transport, "_PAUSE_SECONDS", 0.01)
    for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path))


@pytest.fixture
def bundle(tmp_path: Path) -> Callable[..., str]:
    """Writes a bundle of these images."""
    return lambda *items, **how: str(write_layout(tmp_path / "bundle.tar", items, **how))


def skopeo(registry: engines.Registry, name: str, *options: str) -> bytes:
    """What skopeo inspect prints of an image of an open registry."""
    debs.ensure(["skopeo"])
    command = ["skopeo", "inspect", "--tls-verify=false", *options, f"docker://{registry.host}/{name}"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def stored(registry: engines.Registry, name: str) -> str:
    """The digest behind a name."""
    return images.sha256(skopeo(registry, name, "--raw"))


class Relay:
    """Passes bytes to and fro and counts them; `host` is where it listens."""

    def __init__(self, upstream: str) -> None:
        self.bytes = 0
        self._upstream = upstream.split(":")
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near = self._server.accept()[0]
            except OSError:
                return
            far = socket.create_connection((self._upstream[0], int(self._upstream[1])))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(1 << 16):
                with self._lock:
                    self.bytes += len(data)
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:  # somebody hung up
            pass

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def relay(registry: engines.Registry) -> Iterator[Relay]:
    found = Relay(registry.host)
    yield found
    found.close()


# From a bundle


def test_a_bundle_fills_a_registry_with_the_same_digests(registry: engines.Registry, bundle: Callable[..., str]) -> None:
    into = f"{registry.host}/filled"
    real, again = four_times(image_copy, src=bundle(APP, MULTI, DOCKER), destination=into, plain_http=True)
    assert [(one["reference"], one["destination"], one["digest"], one["action"]) for one in real["images"]] == [
        ("quay.io/team/app:1", f"{into}/team/app:1", APP.digest, "copied"),
        ("nginx:1", f"{into}/library/nginx:1", MULTI.digest, "copied"),
        ("quay.io/team/docker:1", f"{into}/team/docker:1", DOCKER.digest, "copied"),
    ]
    for name, item in (("team/app", APP), ("library/nginx", MULTI), ("team/docker", DOCKER)):
        assert stored(registry, f"filled/{name}:1") == item.digest
    assert json.loads(skopeo(registry, "filled/team/app:1"))["Layers"] == [one.digest for one in APP.layers]
    assert again["sent_bytes"] == again["sent_blobs"] == 0 and [one["action"] for one in again["images"]] == ["kept"] * 3


def test_an_update_sends_what_is_new(registry: engines.Registry, bundle: Callable[..., str]) -> None:
    params = {"destination": f"{registry.host}/updated", "plain_http": True}
    run(image_copy, src=bundle(APP), **params)
    real, _again = four_times(image_copy, src=bundle(NEXT, without=[BIG.digest]), **params)
    assert (real["sent_bytes"], real["held_bytes"]) == (len(NEXT.layers[1].blob) + len(NEXT.config), len(BIG.blob))
    assert stored(registry, "updated/team/app:1") == NEXT.digest


def test_an_index_keeps_its_digest_through_a_bundle(registry: engines.Registry, bundle: Callable[..., str], tmp_path: Path) -> None:
    run(image_copy, src=bundle(MULTI), destination=f"{registry.host}/kept", plain_http=True)
    made = {name: str(tmp_path / name) for name in ("whole.tar", "some.tar")}
    run(image_archive, path=made["whole.tar"], images=[f"{registry.host}/kept/library/nginx:1"], plain_http=True)
    run(image_archive, path=made["some.tar"], images=[f"{registry.host}/kept/library/nginx:1"], platform=["linux/arm64"], plain_http=True)
    for name, item in (("whole.tar", MULTI), ("some.tar", ARM)):
        four_times(image_copy, src=made[name], destination=f"{registry.host}/{name[:-4]}", plain_http=True)
        assert stored(registry, f"{name[:-4]}/kept/library/nginx:1") == item.digest


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("form", ["oci-archive", "oci-layout"])
def test_two_of_three_platforms_have_one_digest_however_they_are_moved(
    registry: engines.Registry, crane_registry: engines.Registry, tmp_path: Path, docker: bool, form: str
) -> None:
    children = [image([BIG, layer({"app": one.encode()})], platform=one, docker=docker) for one in ("linux/arm/v6", "linux/amd64", "linux/arm64")]
    own = f"{registry.host}/subset-{form}-{docker}".lower()
    whole = index(children + [images.attestation(children[1])], names=[f"{own}/source/multi:1"], docker=docker)
    run(image_copy, src=str(write_layout(tmp_path / "source.tar", [whole])), destination=registry.host, plain_http=True)
    some: dict[str, Any] = {"platform": ["arm64", "linux/arm/v6"], "plain_http": True}
    straight = {"src": f"{own}/source", "images": ["multi:1"], "destination": f"{own}/straight", **some}
    digest = four_times(image_copy, **straight)[0]["images"][0]["digest"]
    document = json.loads(whole.raw)
    kept = json.dumps(dict(document, manifests=[document["manifests"][0], document["manifests"][2]]), separators=(",", ":"))
    assert digest == images.sha256(kept.encode()) == stored(registry, f"{own.partition('/')[2]}/straight/multi:1")

    path = str(tmp_path / "bundle")
    four_times(image_archive, path=path, images=[f"{own}/source/multi:1"], format=form, **some)
    bundled = {"src": path, "plain_http": True}
    for where in (registry.host, crane_registry.host):
        real, _again = four_times(image_copy, destination=f"{where}/bundled", **bundled)
        assert real["images"][0]["digest"] == digest
    back = {"src": real["images"][0]["destination"].rpartition("/")[0], "images": ["multi:1"], "destination": f"{own}/straight"}
    for more in ({"plain_http": True}, some):
        assert not run(image_copy, **back, **more)["changed"]
    four_times(image_archive, path=path, images=[f"{own}/straight/multi:1"], format=form, **some)
    assert Archive(path, "").entries[0].targets == (digest,)


@pytest.mark.parametrize("base", [[], ["bundle"]])
def test_a_bundle_and_what_was_left_out_of_it_come_from_a_registry_and_go_to_one(registry: engines.Registry, tmp_path: Path, base: list[str]) -> None:
    whole, thin = str(tmp_path / "whole.tar"), str(tmp_path / "thin.tar")
    first, second = f"{registry.host}/round{len(base)}/app:1", f"{registry.host}/round{len(base)}/app:2"
    for name, item in ((first, APP), (second, NEXT)):
        source = write_layout(tmp_path / "source.tar", [item._replace(names=(name,))])
        run(image_copy, src=str(source), destination=registry.host, plain_http=True)
    run(image_archive, path=whole, images=[first], plain_http=True)
    run(image_archive, path=thin, images=[second], base=[whole], plain_http=True)
    params = {"src": thin, "destination": f"{registry.host}/again{len(base)}", "plain_http": True}
    if not base:
        failed = fail(image_copy, **params)
        assert f"({BIG.digest}) is neither in {thin} nor in {registry.host}/again0/round0/app: give the earlier bundle" in failed["msg"]
        return
    four_times(image_copy, base=[whole], **params)
    assert stored(registry, "again1/round1/app:2") == NEXT.digest


# From registry to registry


@pytest.fixture
def filled(registry: engines.Registry, bundle: Callable[..., str]) -> engines.Registry:
    run(image_copy, src=bundle(APP, MULTI), destination=f"{registry.host}/source", plain_http=True)
    return registry


def test_images_go_from_one_registry_to_another(filled: engines.Registry, crane_registry: engines.Registry) -> None:
    names = ["team/app:1", f"library/nginx:1@{MULTI.digest}"]
    params = {"src": f"{filled.host}/source", "images": names, "destination": f"{crane_registry.host}/mirror", "plain_http": True}
    real, again = four_times(image_copy, **params)
    assert [one["digest"] for one in real["images"]] == [APP.digest, MULTI.digest] and again["sent_bytes"] == 0
    assert stored(crane_registry, "mirror/team/app:1") == APP.digest and stored(crane_registry, "mirror/library/nginx:1") == MULTI.digest

    back = {"src": f"{crane_registry.host}/mirror", "destination": f"{filled.host}/back", "images": ["library/nginx:1"], "plain_http": True}
    four_times(image_copy, platform=["linux/arm64"], **back)
    assert stored(filled, "back/library/nginx:1") == ARM.digest


def test_a_copy_within_a_registry_costs_next_to_nothing(filled: engines.Registry, relay: Relay) -> None:
    params = {"src": f"{relay.host}/source", "images": ["library/nginx:1"], "destination": f"{relay.host}/production", "plain_http": True}
    real = run(image_copy, **params)
    assert (real["sent_bytes"], real["mounted_blobs"]) == (0, 7)
    assert 0 < relay.bytes < 64 << 10
    assert stored(filled, "production/library/nginx:1") == MULTI.digest
    before = relay.bytes
    assert not run(image_copy, **params)["changed"] and relay.bytes - before < 4 << 10


# Who may


def test_basic_over_tls_with_an_authority_of_its_own(secured: Guarded, registry: engines.Registry, bundle: Callable[..., str]) -> None:
    into = {"src": bundle(APP), "destination": f"{secured.host}/secured"}
    four_times(image_copy, **into, **secured.options)
    assert stored(registry, "secured/team/app:1") == APP.digest
    failed = fail(image_copy, **into, ca_cert=secured.options["ca_cert"])
    assert f"{secured.host}/secured/team/app:1: {secured.host} wants credentials" in failed["msg"]
    assert "does not verify" in fail(image_copy, **into)["msg"]


def test_bearer_tokens_are_for_both_repositories_of_a_mount(bearer: Guarded, filled: engines.Registry) -> None:
    real = run(image_copy, src=f"{bearer.host}/source", images=["team/app:1"], destination=f"{bearer.host}/promoted", **bearer.options)
    assert real["mounted_blobs"] == 3 and stored(filled, "promoted/team/app:1") == APP.digest


def test_who_may_pull_alone_is_told_so(bearer: Guarded, filled: engines.Registry) -> None:
    params = {**bearer.options, "username": "bob", "password": "secret-bob"}
    failed = fail(image_copy, src=f"{bearer.host}/source", images=["team/app:1"], destination=f"{bearer.host}/denied", **params)
    assert "refuses the credentials from username and password" in failed["msg"]
    assert "; to push takes the right to write to denied/team/app" in failed["msg"]


def test_a_read_only_registry_is_called_so(read_only: engines.Registry, bundle: Callable[..., str]) -> None:
    failed = fail(image_copy, src=bundle(APP), destination=f"{read_only.host}/nothing", plain_http=True)
    assert "(HTTP 405): it is read-only, so push to the registry that it mirrors" in failed["msg"]


# Bad lines


@pytest.mark.parametrize("fault", [faults.hang_up(1 << 20), faults.says(503), faults.says(405)])
def test_an_upload_that_breaks_is_made_again(
    faulty: Proxy, registry: engines.Registry, bundle: Callable[..., str], fault: faults.Fault, request: Any
) -> None:
    faulty.on("PUT", BIG.digest, fault)
    name = f"broken{request.node.callspec.indices['fault']}"
    run(image_copy, src=bundle(APP), destination=f"{faulty.host}/{name}", plain_http=True)
    assert stored(registry, f"{name}/team/app:1") == APP.digest


def test_a_source_that_breaks_goes_on(faulty: Proxy, filled: engines.Registry) -> None:
    faulty.on("GET", f"blobs/{BIG.digest}", faults.cut(1 << 20), times=2)
    params = {"src": f"{faulty.host}/source", "images": ["team/app:1"], "destination": f"{filled.host}/gone-on", "plain_http": True}
    real = run(image_copy, **params)
    assert real["sent_bytes"] == SIZE and stored(filled, "gone-on/team/app:1") == APP.digest
    assert faulty.ranges(f"blobs/{BIG.digest}") == [None, *(f"bytes={place << 20}-{len(BIG.blob) - 1}" for place in (1, 2))]


def test_a_source_that_sends_something_else_is_refused(faulty: Proxy, filled: engines.Registry) -> None:
    faulty.on("GET", f"blobs/{BIG.digest}", faults.wrong(1 << 20), times=9)
    params = {"src": f"{faulty.host}/source", "images": ["team/app:1"], "destination": f"{filled.host}/refused", "plain_http": True}
    failed = fail(image_copy, **params)
    assert f"layer 1 of team/app:1 at {faulty.host}: its bytes are sha256:" in failed["msg"]
    assert failed["msg"].endswith("the registry, or what lies between, is damaged")


# The registry in memory that the unit tests push to


@pytest.fixture(params=["real", "fake"])
def either(request: pytest.FixtureRequest, registry: engines.Registry) -> Iterator[Any]:
    if request.param == "real":
        yield registry
        return
    with FakeRegistry() as fake:
        yield fake


def test_pushes_are_answered_alike(either: Any) -> None:
    here, data = f"{either.url}/v2/alike/app", b"some bytes"
    digest, other = images.sha256(data), images.sha256(b"other bytes")

    def ask(method: str, url: str, body: bytes = b"", **headers: str) -> tuple[int, str, requests.Response]:
        answer = requests.request(method, url, data=body, headers={name.replace("_", "-"): value for name, value in headers.items()}, timeout=30)
        code = answer.json()["errors"][0]["code"] if answer.status_code >= 400 and answer.content else ""
        return answer.status_code, code, answer

    def place(answer: requests.Response) -> str:
        return urllib.parse.urljoin(answer.url, answer.headers["Location"])

    status, _code, begun = ask("POST", f"{here}/blobs/uploads/")
    assert (status, begun.headers["Range"]) == (202, "0-0") and "?_state=" in begun.headers["Location"]
    status, _code, found = ask("GET", place(begun))
    assert (status, found.headers["Range"]) == (204, "0-0")
    assert ask("PUT", place(begun) + f"&digest={other}", data)[:2] == (400, "DIGEST_INVALID")
    begun = ask("POST", f"{here}/blobs/uploads/")[2]
    status, _code, patched = ask("PATCH", place(begun), data[:4], Content_Range="0-3")
    assert (status, patched.headers["Range"]) == (202, "0-3")
    status, _code, stored_at = ask("PUT", place(patched) + f"&digest={digest}", data[4:])
    assert (status, stored_at.headers["Docker-Content-Digest"]) == (201, digest)
    assert ask("GET", place(patched))[:2] == (404, "BLOB_UPLOAD_UNKNOWN")

    mount = f"{either.url}/v2/alike/second/blobs/uploads/?mount=%s&from=alike/app"
    status, _code, mounted = ask("POST", mount % digest)
    assert (status, mounted.headers["Docker-Content-Digest"]) == (201, digest)
    status, _code, begun = ask("POST", mount % other)
    assert (status, begun.headers["Range"]) == (202, "0-0")

    kind = APP.descriptor()["mediaType"]
    assert ask("PUT", f"{here}/manifests/1", APP.manifest, Content_Type=kind)[:2] == (400, "MANIFEST_BLOB_UNKNOWN")
    assert ask("PUT", f"{here}/manifests/1", MULTI.raw, Content_Type=MULTI.descriptor()["mediaType"])[:2] == (400, "MANIFEST_BLOB_UNKNOWN")
    for blob, content in APP.blobs.items():
        ask("PUT", place(ask("POST", f"{here}/blobs/uploads/")[2]) + f"&digest={blob}", content)
    assert ask("PUT", f"{here}/manifests/{other}", APP.manifest, Content_Type=kind)[:2] == (400, "DIGEST_INVALID")
    status, _code, stored_at = ask("PUT", f"{here}/manifests/1", APP.manifest, Content_Type=kind)
    assert (status, stored_at.headers["Docker-Content-Digest"]) == (201, APP.digest)
    assert ask("DELETE", f"{here}/manifests/1")[:2] == (400, "DIGEST_INVALID")
    assert ask("DELETE", f"{here}/manifests/{APP.digest}")[0] == 202
    assert ask("DELETE", f"{here}/manifests/{APP.digest}")[:2] == (404, "MANIFEST_UNKNOWN")
    assert ask("GET", f"{here}/manifests/1", Accept=kind)[:2] == (404, "MANIFEST_UNKNOWN")
