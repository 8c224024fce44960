# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry client against real registries: open, guarded, restricted, of another maker, and behind a line that breaks."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Iterator

import debs
import engines
import pytest
import requests
from ansible_collections.stowage.oci.plugins.module_utils._errors import ArchiveError, InvalidInput, NotInRegistry, RegistryDenied, RegistryError
from ansible_collections.stowage.oci.plugins.module_utils._oci import manifest, platform
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import Digest
from ansible_collections.stowage.oci.plugins.module_utils._oci.manifest import Descriptor
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import Reference, parse
from ansible_collections.stowage.oci.plugins.module_utils._options import REGISTRY
from ansible_collections.stowage.oci.plugins.module_utils._registry import transport
from ansible_collections.stowage.oci.plugins.module_utils._registry.client import Client
from ansible_collections.stowage.oci.plugins.module_utils._registry.keychain import Keychain
from ansible_collections.stowage.oci.plugins.module_utils._registry.session import Session
from ansible_collections.stowage.oci.plugins.modules import image_archive
from ansible_collections.stowage.oci.tests import faults
from ansible_collections.stowage.oci.tests.faults import Proxy
from ansible_collections.stowage.oci.tests.real import Guarded
from ansible_collections.stowage.oci.tests.tokens import Account
from ansible_collections.stowage.oci.tests.unit import images
from ansible_collections.stowage.oci.tests.unit.running import fail, run

AMD64 = platform.parse("linux/amd64")
BIG = images.layer({"noise": b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(100000))}, "gzip")
APP = images.image([images.layer({"app": b"app"}), BIG], config={"Cmd": ["/app"]})
DOCKER = images.image([images.layer({"app": b"docker"}, "gzip")], docker=True)
ARM = images.image([images.layer({"app": b"arm"})], platform="linux/arm64")
MULTI = images.index([ARM, APP, images.attestation(APP)])
LIST = images.index([DOCKER], docker=True)
CHART = images.artifact()
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
GUARDS = {"anonymous": {"username": None, "password": None}, "stranger": {"username": "ann", "password": "secret-wrong"}}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home without credentials, no proxy, and short pauses between tries. The home's path."""
    monkeypatch.setattr(transport, "_PAUSE_SECONDS", 0.01)
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(home))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def own(request: pytest.FixtureRequest) -> str:
    """The beginning of this test's own repositories."""
    return "client/" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:10]


def client(**options: Any) -> Client:
    given = {name: spec.get("default") for name, spec in REGISTRY.items()}
    given.update({"registry_timeout": 10, "retries": 2, **options})
    return Client(Session(given, Keychain.of(given, [])))


def offer(registry: engines.Registry, name: str, item: Any) -> None:
    """Push as the distribution-spec says, with nothing of the collection's own."""
    repository, _colon, tag = name.rpartition(":")
    children = getattr(item, "children", ())
    manifests = {one.digest for one in (item, *children)}
    url = f"{registry.url}/v2/{repository}"
    for digest, data in item.blobs.items():
        if digest not in manifests:
            upload = requests.post(f"{url}/blobs/uploads/", timeout=10)
            where = requests.compat.urljoin(url, upload.headers["Location"])
            requests.put(where, params={"digest": digest}, data=data, timeout=10).raise_for_status()
    for key, one in [*((child.digest, child) for child in children), (tag, item)]:
        put(registry, f"{repository}:{key}", one.descriptor()["mediaType"], item.blobs[one.digest])


def put(registry: engines.Registry, name: str, media_type: str, raw: bytes) -> None:
    repository, _colon, key = name.partition(":")
    url = f"{registry.url}/v2/{repository}/manifests/{key}"
    requests.put(url, data=raw, headers={"Content-Type": media_type}, timeout=10).raise_for_status()


def at(host: str, name: str) -> Reference:
    return parse(f"{host}/{name}")


def described(blob: bytes) -> Descriptor:
    return Descriptor("application/octet-stream", Digest.of(blob), len(blob))


def read(asked: Client, reference: Reference, blob: bytes, offset: int = 0, piece: int = 100000) -> bytes:
    """The blob from `offset` on, as a caller reads it: a piece after the other."""
    found = b""
    with asked.blob(reference, described(blob), "a layer", offset) as stream:
        while data := stream.read(piece):
            found += data
    return found


def rest(start: int) -> str:
    """How the rest of BIG is asked for."""
    return f"bytes={start}-{len(BIG.blob) - 1}"


@pytest.fixture(params=["registry", "crane_registry", "secured", "bearer", "read_only", "delete_off"])
def source(request: pytest.FixtureRequest, own: str) -> tuple[str, dict[str, Any]]:
    """Every registry in turn, with all images in it: its host, and the options that it takes."""
    registry = request.getfixturevalue(request.param)
    options = registry.options if isinstance(registry, Guarded) else {"plain_http": True}
    writable = registry if request.param == "crane_registry" else request.getfixturevalue("registry")
    for tag, item in {"app": APP, "docker": DOCKER, "multi": MULTI, "list": LIST, "chart": CHART}.items():
        offer(writable, f"{own}:{tag}", item)
    return registry.host, options


# What every registry answers


@pytest.mark.parametrize(
    ("tag", "item", "media_type"),
    [("app", APP, manifest.OCI_MANIFEST), ("docker", DOCKER, manifest.DOCKER_MANIFEST), ("multi", MULTI, manifest.OCI_INDEX),
     ("list", LIST, manifest.DOCKER_LIST)],
)
def test_tells_what_a_reference_names(source, own, tag, item, media_type):
    host, options = source
    asked = client(**options)
    raw = item.blobs[item.digest]
    for name in (f"{own}:{tag}", f"{own}@{item.digest}", f"{own}:{tag}@{item.digest}"):
        assert asked.resolve(at(host, name)) == Descriptor(media_type, Digest.parse(item.digest), len(raw))
        assert asked.manifest(at(host, name)) == (raw, media_type)


def test_finds_the_config_for_a_platform(source, own):
    host, options = source
    asked = client(**options)
    assert asked.config_digest(at(host, f"{own}:multi"), AMD64) == APP.config_digest
    assert asked.config(at(host, f"{own}:multi"), AMD64).diff_ids == tuple(APP.diff_ids)
    with pytest.raises(ArchiveError, match=f"{own}:chart is no image, but application/vnd.cncf.helm.config.v1"):
        asked.config_digest(at(host, f"{own}:chart"), AMD64)


@pytest.mark.parametrize("offset", [0, 1, 1000000, len(BIG.blob) - 1, len(BIG.blob)])
def test_reads_a_blob_from_anywhere(source, own, offset):
    host, options = source
    assert read(client(**options), at(host, f"{own}:app"), BIG.blob, offset) == BIG.blob[offset:]


def test_says_what_is_not_there(source, own):
    host, options = source
    asked = client(**options)
    for name in (f"{own}:none", f"{own}/none:app", f"{own}@sha256:{'0' * 64}"):
        with pytest.raises(NotInRegistry, match=rf"{name}: {host} has no such image \(.*\): look at its repository and tag"):
            asked.resolve(at(host, name))
    with pytest.raises(NotInRegistry, match=r"has not a layer \(.*\), which its manifest names: push the image again"):
        read(asked, at(host, f"{own}:app"), b"another blob")


def test_many_ask_at_once(source, own):
    host, options = source
    asked = client(**options)
    tags = ["app", "docker", "multi", "list"] * 10
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda tag: asked.resolve(at(host, f"{own}:{tag}")).digest, tags))
    assert found == [item.digest for item in (APP, DOCKER, MULTI, LIST)] * 10


def test_a_blob_of_nothing(registry, own):
    upload = requests.post(f"{registry.url}/v2/{own}/blobs/uploads/", timeout=10)
    requests.put(upload.headers["Location"], params={"digest": images.sha256(b"")}, timeout=10).raise_for_status()
    assert read(client(plain_http=True), at(registry.host, f"{own}:1"), b"") == b""


def test_says_that_schema_1_is_no_image(crane_registry, own):
    """docker-registry takes none any more; other makers' registries keep what they have."""
    raw = json.dumps({"schemaVersion": 1, "name": own, "tag": "1", "fsLayers": [], "history": [], "signatures": []}).encode()
    put(crane_registry, f"{own}:1", SCHEMA1, raw)
    with pytest.raises(ArchiveError, match="schema 1"):
        client(plain_http=True).resolve(at(crane_registry.host, f"{own}:1"))


# Who we are


@pytest.mark.parametrize("guard", ["secured", "bearer"])
@pytest.mark.parametrize(
    ("who", "why"),
    [
        ("anonymous", r"wants credentials, or has no such repository \(.*\): none were given, and there are none for it in .*config.json.*: give username"),
        ("stranger", r"refuses the credentials from username and password \(.*\): they are wrong, or give no access to "),
    ],
)
def test_says_who_may_not(request, registry, own, guard, who, why):
    guarded = request.getfixturevalue(guard)
    offer(registry, f"{own}:1", DOCKER)
    with pytest.raises(RegistryDenied, match=f"{guarded.host}/{own}:1: {guarded.host} {why}") as error:
        client(**{**guarded.options, **GUARDS[who]}).resolve(at(guarded.host, f"{own}:1"))
    assert "secret" not in str(error.value)


def test_an_account_without_the_right_is_refused(bearer, registry, own, monkeypatch):
    monkeypatch.setitem(bearer.tokens.accounts, "eve", Account("secret-eve", frozenset()))
    offer(registry, f"{own}:1", DOCKER)
    with pytest.raises(RegistryDenied, match="refuses the credentials from username and password .*UNAUTHORIZED"):
        client(**{**bearer.options, "username": "eve", "password": "secret-eve"}).manifest(at(bearer.host, f"{own}:1"))


def test_one_token_for_each_repository(bearer, registry, own):
    for name in ("one", "two"):
        offer(registry, f"{own}/{name}:1", APP)
    before = len(bearer.tokens.issued)
    asked = client(**bearer.options)
    for name in ("one", "two", "one", "two"):
        asked.resolve(at(bearer.host, f"{own}/{name}:1"))
        assert read(asked, at(bearer.host, f"{own}/{name}:1"), BIG.blob) == BIG.blob
    scopes = [f"repository:{own}/{name}:pull" for name in ("one", "two")]
    assert [(one.how, one.account, one.scopes, one.granted) for one in bearer.tokens.issued[before:]] == [
        ("basic", "ann", (scope,), (scope,)) for scope in scopes
    ]


def test_everybody_may_pull_what_is_public(bearer, registry, own):
    offer(registry, f"public/{own}:1", DOCKER)
    assert client(plain_http=True).resolve(at(bearer.host, f"public/{own}:1")).digest == DOCKER.digest
    assert bearer.tokens.issued[-1].how == "anonymous"


@pytest.fixture
def lifetime(bearer: Guarded) -> Iterator[None]:
    yield
    bearer.tokens.lifetime = bearer.tokens.stated = 300


@pytest.mark.usefixtures("lifetime")
def test_a_token_that_the_registry_takes_no_more_is_renewed(bearer, registry, own):
    """In the middle of a blob too: what is asked for again is the rest alone."""
    offer(registry, f"{own}:1", APP)
    with Proxy(bearer.host) as proxy:
        proxy.on("GET", "/blobs/", faults.cut(1000))
        asked = client(**bearer.options)
        bearer.tokens.lifetime = -50  # the registry's own patience makes that 10 seconds
        asked.resolve(at(proxy.host, f"{own}:1"))
        asked_before = len(bearer.tokens.issued)
        with asked.blob(at(proxy.host, f"{own}:1"), described(BIG.blob), "a layer") as stream:
            found = stream.read(1000)
            bearer.tokens.lifetime = 300
            proxy.on("GET", "/blobs/", faults.says(401, WWW_Authenticate=_challenge(bearer, own)))
            while data := stream.read(1 << 20):
                found += data
        assert found == BIG.blob
        assert len(bearer.tokens.issued) == asked_before + 1
        assert proxy.ranges("/blobs/") == [None, rest(1000), rest(1000)]


@pytest.mark.usefixtures("lifetime")
def test_a_token_that_is_late_is_refused_and_asked_for_once_more(bearer, registry, own):
    offer(registry, f"{own}:1", DOCKER)
    bearer.tokens.lifetime = -3600
    before = len(bearer.tokens.issued)
    with pytest.raises(RegistryDenied, match="refuses the credentials"):
        client(**bearer.options).resolve(at(bearer.host, f"{own}:1"))
    assert len(bearer.tokens.issued) == before + 1


@pytest.mark.usefixtures("lifetime")
def test_a_token_that_ends_soon_is_not_shown_again(bearer, registry, own):
    offer(registry, f"{own}:1", DOCKER)
    bearer.tokens.stated = 1
    before = len(bearer.tokens.issued)
    asked = client(**bearer.options)
    for _time in range(3):
        asked.resolve(at(bearer.host, f"{own}:1"))
    assert len(bearer.tokens.issued) == before + 3


def test_an_identity_token_is_exchanged(bearer, registry, own, tmp_path):
    offer(registry, f"{own}:1", APP)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": {bearer.host: {"identitytoken": bearer.tokens.identity("bob")}}}))
    asked = client(auth_file=str(file), plain_http=True)
    assert read(asked, at(bearer.host, f"{own}:1"), BIG.blob) == BIG.blob
    assert bearer.tokens.issued[-1][:2] == ("refresh_token", "bob")


def test_an_identity_token_that_nobody_knows_is_refused(bearer, own, tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": {bearer.host: {"identitytoken": "forgotten"}}}))
    with pytest.raises(RegistryDenied, match=f"refuses the credentials from {file}") as error:
        client(auth_file=str(file), plain_http=True).resolve(at(bearer.host, f"{own}:1"))
    assert "forgotten" not in str(error.value)


@pytest.mark.parametrize("guard", ["secured", "bearer"])
@pytest.mark.parametrize("tool", ["skopeo", "podman", "crane"])
def test_reads_what_a_login_wrote(request, registry, own, alone, tmp_path, guard, tool):
    guarded = request.getfixturevalue(guard)
    offer(registry, f"{own}:1", DOCKER)
    file = tmp_path / "auth.json"
    if tool == "crane":
        file = alone / ".docker/config.json"
        command = [debs.crane(), "auth", "login", guarded.host, "--username", "ann", "--password-stdin"]
    else:
        debs.ensure([tool])
        command = [tool, "login", "--authfile", file, "--tls-verify=false", "--username", "ann", "--password-stdin", guarded.host]
    done = subprocess.run(command, input=b"secret-ann", capture_output=True, check=False)
    assert not done.returncode, done.stderr
    options = {"auth_file": None if tool == "crane" else str(file), **{name: guarded.options.get(name) for name in ("ca_cert", "plain_http")}}
    assert client(**options).resolve(at(guarded.host, f"{own}:1")).digest == DOCKER.digest


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("""printf '{"ServerURL": "", "Username": "ann", "Secret": "secret-ann"}'""", ""),
        ("echo no keyring >&2; exit 1", r"failed \(no keyring\)"),
        ("exec sleep 30", "did not answer for 1 seconds"),
    ],
)
def test_a_credential_helper(secured, registry, own, tmp_path, monkeypatch, script, why):
    offer(registry, f"{own}:1", DOCKER)
    program = tmp_path / "docker-credential-own"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"credHelpers": {secured.host: "own"}}))
    asked = client(auth_file=str(file), ca_cert=secured.options["ca_cert"], registry_timeout=1 if "sleep" in script else 10)
    if why:
        with pytest.raises(RegistryError, match=f"the credential helper docker-credential-own, which {file} names for {secured.host}, {why}"):
            asked.resolve(at(secured.host, f"{own}:1"))
    else:
        assert asked.resolve(at(secured.host, f"{own}:1")).digest == DOCKER.digest


def test_a_malformed_entry_is_not_shown_to_anybody(secured, own, tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": {secured.host: {"auth": base64.b64encode(b"no-colon").decode()}}}))
    with pytest.raises(InvalidInput, match=f"{file}: the entry of {secured.host} is not base64 of user:password"):
        client(auth_file=str(file), ca_cert=secured.options["ca_cert"]).resolve(at(secured.host, f"{own}:1"))


# Whom we trust


def test_the_ca_in_an_engines_own_place_is_trusted(secured, registry, own, alone):
    offer(registry, f"{own}:1", DOCKER)
    folder = alone / ".config/docker/certs.d" / secured.host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(Path(secured.options["ca_cert"]).read_bytes())
    given = {**secured.options, "ca_cert": None}
    assert client(**given).resolve(at(secured.host, f"{own}:1")).digest == DOCKER.digest


def test_an_unknown_ca_is_not_trusted_unless_that_is_asked(secured, registry, own):
    offer(registry, f"{own}:1", DOCKER)
    given = {**secured.options, "ca_cert": None}
    where = f"{secured.host} does not verify .*: give its CA as ca_cert, or as /etc/docker/certs.d/{secured.host}/ca.crt"
    with pytest.raises(RegistryError, match=f"{own}:1: the certificate of {where}"):
        client(**given).resolve(at(secured.host, f"{own}:1"))
    assert client(**given, validate_certs=False).resolve(at(secured.host, f"{own}:1")).digest == DOCKER.digest


def test_tls_is_neither_guessed_nor_left_away(secured, registry, own):
    with pytest.raises(RegistryError, match=f"{own}:1: {registry.host} speaks no TLS: set plain_http if it is meant to be asked without"):
        client().resolve(at(registry.host, f"{own}:1"))
    with pytest.raises(RegistryError, match=rf"{own}:1: {secured.host} refuses to be asked without TLS \(HTTP 400\): leave plain_http away"):
        client(plain_http=True).resolve(at(secured.host, f"{own}:1"))


def test_says_that_nobody_listens(own):
    host = f"127.0.0.1:{engines.free_port()}"
    with pytest.raises(RegistryError, match=f"{own}:1: no answer from http://{host} in 3 tries .Connection refused.: see whether it runs"):
        client(plain_http=True).resolve(at(host, f"{own}:1"))


def test_says_that_a_host_is_not_known(own):
    with pytest.raises(RegistryError, match=f"{own}:1: (cannot ask https://registry.invalid |no answer from https://registry.invalid in 3 tries)"):
        client().resolve(at("registry.invalid", f"{own}:1"))


# A line that breaks


@pytest.fixture
def line(registry: engines.Registry, faulty: Proxy, own: str) -> Reference:
    """The image APP behind the faulty line."""
    offer(registry, f"{own}:1", APP)
    return at(faulty.host, f"{own}:1")


@pytest.mark.parametrize("piece", [700, 1 << 20])
def test_a_blob_goes_on_where_it_broke(faulty, line, piece):
    faulty.on("GET", "/blobs/", faults.cut(1000))
    faulty.on("GET", "/blobs/", faults.cut(500))
    assert read(client(plain_http=True), line, BIG.blob, piece=piece) == BIG.blob
    assert faulty.ranges("/blobs/") == [None, rest(1000), rest(1500)]


def test_a_blob_that_goes_on_from_an_offset_goes_on_again(faulty, line):
    faulty.on("GET", "/blobs/", faults.cut(1000))
    assert read(client(plain_http=True), line, BIG.blob, 5000) == BIG.blob[5000:]
    assert faulty.ranges("/blobs/") == [rest(5000), rest(6000)]


def test_a_line_that_breaks_often_and_gets_on_is_good_enough(faulty, line):
    """Each break after a MiB counts as the first."""
    step = (1 << 20) + 1
    faulty.on("GET", "/blobs/", faults.cut(step), times=3)
    assert read(client(plain_http=True, retries=1), line, BIG.blob) == BIG.blob
    assert faulty.ranges("/blobs/") == [None, rest(step), rest(2 * step), rest(3 * step)]


def test_a_line_that_gets_nowhere_is_given_up(faulty, line):
    faulty.on("GET", "/blobs/", faults.cut(10), times=9)
    with pytest.raises(RegistryError, match=f"{line.spelling}, a layer: no answer from http://{faulty.host} in 3 tries .*: see whether it runs"):
        read(client(plain_http=True), line, BIG.blob)
    assert faulty.ranges("/blobs/") == [None, rest(10), rest(20)]


def test_a_registry_that_knows_no_ranges_sends_all_of_it_again(faulty, line):
    faulty.on("GET", "/blobs/", faults.cut(1000))
    faulty.on("GET", "/blobs/", faults.whole())
    assert read(client(plain_http=True), line, BIG.blob) == BIG.blob
    assert faulty.ranges("/blobs/") == [None, rest(1000)]


@pytest.mark.parametrize(
    "fault",
    [
        faults.hang_up(), faults.says(429, Retry_After="0"), faults.says(500), faults.says(503, b"<html>down</html>"), faults.silent(100),
        faults.cut(10),
    ],
    ids=["hangs up", "429", "500", "503", "silent", "cut"],
)
def test_asks_again_what_may_pass(faulty, line, fault):
    for path in ("/manifests/", "/blobs/"):
        faulty.on("GET", path, fault, times=2)
    asked = client(plain_http=True, registry_timeout=1)
    assert asked.manifest(line)[0] == APP.manifest
    assert read(asked, line, BIG.blob) == BIG.blob
    assert [len(faulty.found(path)) for path in ("/manifests/", "/blobs/")] == [3, 3]


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (faults.hang_up(), "no answer from http://HOST in 3 tries .*: see whether it runs and can be reached"),
        (faults.silent(), r"no answer from http://HOST in 3 tries \(silent for too long, see registry_timeout\)"),
        (faults.says(429, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}', Retry_After="0"),
         r"HOST takes no more requests for now \(TOOMANYREQUESTS: slow down\): try again in 0 seconds; logging in often raises the limit"),
        (faults.says(500), r"HOST failed \(HTTP 500\): look at its log, or try again later"),
    ],
    ids=["hangs up", "silent", "429", "500"],
)
def test_gives_up_when_it_does_not_pass(faulty, line, fault, why):
    for path in ("/manifests/", "/blobs/"):
        faulty.on("GET", path, fault, times=9)
    asked = client(plain_http=True, registry_timeout=1)
    why = why.replace("HOST", faulty.host)
    with pytest.raises(RegistryError, match=f"{line.spelling}: {why}"):
        asked.manifest(line)
    with pytest.raises(RegistryError, match=f"{line.spelling}(, a layer)?: {why}"):
        read(asked, line, BIG.blob)
    assert [len(faulty.found(path)) for path in ("/manifests/", "/blobs/")] == [3, 3]


def test_does_not_wait_for_hours(faulty, line):
    faulty.on("HEAD", "/manifests/", faults.says(429, Retry_After="3600"))
    with pytest.raises(RegistryError, match="takes no more requests for now .*: try again in 3600 seconds"):
        client(plain_http=True).resolve(line)


def test_slow_is_not_silent(faulty, line):
    """Two seconds of work are more than a second of silence."""
    small = APP.layers[0].blob
    faulty.on("GET", "/blobs/", faults.drip(len(small) // 20, 0.1))
    assert read(client(plain_http=True, registry_timeout=1, retries=0), line, small) == small


def test_says_that_a_manifest_is_damaged(faulty, line):
    faulty.on("GET", "/manifests/", faults.wrong(5), times=3)
    why = f"{line.spelling} answers something else than was asked for: .* the registry, or what lies between, is damaged"
    with pytest.raises(RegistryError, match=why):
        client(plain_http=True).manifest(line)
    with pytest.raises(RegistryError, match=why):
        client(plain_http=True).manifest(line._replace(tag=None, digest=Digest.parse(APP.digest)))


def test_a_damaged_blob_is_in_no_bundle(faulty, line, tmp_path):
    wish = {"path": str(tmp_path / "bundle"), "images": [line.spelling], "plain_http": True, "retries": 0}
    faulty.on("GET", BIG.digest, faults.wrong(50000))
    message = fail(image_archive, **wish)["msg"]
    assert line.spelling in message and BIG.digest in message
    assert not (tmp_path / "bundle").exists()
    result = run(image_archive, **wish)
    assert (result["fetched_bytes"], result["reused_bytes"]) == (len(BIG.blob), len(APP.layers[0].blob))


@pytest.mark.parametrize("more", [5, -5])
def test_a_manifest_of_another_length_than_promised_is_not_taken(faulty, line, more):
    faulty.on("GET", "/manifests/", faults.promises(more), times=9)
    why = "no answer from .* cut after [0-9]+ of [0-9]+ bytes|bytes.*more expected" if more > 0 else "answers something else than was asked for"
    with pytest.raises(RegistryError, match=why):
        client(plain_http=True).manifest(line)


def test_a_blob_that_is_longer_than_its_manifest_says_is_refused(faulty, line):
    faulty.on("GET", "/blobs/", faults.promises(5), times=2)
    size = len(BIG.blob)
    sends = f"{faulty.host} sends {size + 5} bytes as a layer where the manifest says {size}: the registry, or what lies between, is damaged"
    with pytest.raises(RegistryError, match=f"{line.spelling}: {sends}"):
        read(client(plain_http=True), line, BIG.blob)


def test_a_blob_that_promises_too_little_is_asked_for_the_rest(faulty, line):
    faulty.on("GET", "/blobs/", faults.promises(-5))
    assert read(client(plain_http=True), line, BIG.blob) == BIG.blob
    assert faulty.ranges("/blobs/") == [None, rest(len(BIG.blob) - 5)]


def test_a_blob_without_end_is_read_to_one_byte_too_many(faulty, line):
    faulty.on("GET", "/blobs/", faults.endless())
    assert read(client(plain_http=True), line, BIG.blob) == BIG.blob + b"\0"


def test_a_manifest_without_end_is_not_read_to_its_end(faulty, line):
    faulty.on("GET", "/manifests/", faults.endless())
    why = "answers more than 4194304 bytes: no manifest or config is that large"
    with pytest.raises(RegistryError, match=f"{line.spelling}: http://{faulty.host} {why}"):
        client(plain_http=True).manifest(line)


def test_an_answer_without_a_length_is_as_good(faulty, line):
    for path in ("/manifests/", "/blobs/"):
        faulty.on("GET", path, faults.chunked())
    asked = client(plain_http=True)
    assert asked.manifest(line)[0] == APP.manifest
    assert read(asked, line, BIG.blob) == BIG.blob


# Another host


@pytest.fixture
def guarded_line(bearer: Guarded, registry: engines.Registry, own: str) -> Iterator[tuple[Proxy, Reference]]:
    """The registry with tokens behind a line that redirects to a storage without."""
    offer(registry, f"{own}:1", APP)
    with Proxy(bearer.host, behind=registry.host) as proxy:
        yield proxy, at(proxy.host, f"{own}:1")


def test_no_credential_goes_where_a_redirect_leads(guarded_line, bearer):
    proxy, reference = guarded_line
    proxy.storage.on("GET", "/blobs/", faults.cut(1000))
    proxy.on("GET", "/", faults.elsewhere(), times=9)
    asked = client(**bearer.options)
    asked.resolve(reference)
    assert asked.manifest(reference)[0] == APP.manifest
    assert read(asked, reference, BIG.blob) == BIG.blob
    assert proxy.storage.ranges("/blobs/") == [None, rest(1000)]
    assert [call.headers["authorization"][:7] for call in proxy.found("/v2/")] == ["Bearer "] * 3
    assert proxy.storage.calls and not [call for call in proxy.storage.calls if "authorization" in call.headers]


def test_a_challenge_of_another_host_is_not_the_registrys(guarded_line, bearer):
    """A storage that asks who we are does not learn it, nor sends us to a token server of its own."""
    proxy, reference = guarded_line
    realm = f"http://{proxy.storage.host}/token"
    proxy.storage.on("GET", "/blobs/", faults.says(401, WWW_Authenticate=f'Bearer realm="{realm}",service="x"'), times=9)
    proxy.on("GET", "/blobs/", faults.elsewhere(), times=9)
    asked = client(**bearer.options)
    asked.resolve(reference)
    why = rf"sends us on to {proxy.storage.host}, which refuses \(HTTP 401\): look at the registry's storage, and at the clocks of both"
    with pytest.raises(RegistryError, match=f"{reference.spelling}: {proxy.host} {why}"):
        read(asked, reference, BIG.blob)
    assert not proxy.storage.found("/token") and not proxy.storage.found("/token", "POST")
    assert not [call for call in proxy.storage.calls if "authorization" in call.headers]


def test_leaves_nothing_running(registry):
    before = threading.active_count()
    with Proxy(registry.host) as proxy:
        proxy.on("GET", "/v2/", faults.silent())
        with pytest.raises(requests.exceptions.RequestException):
            requests.get(f"http://{proxy.host}/v2/", timeout=0.2)
        with requests.Session() as kept:
            assert kept.get(f"http://{proxy.host}/v2/", timeout=5).ok
            assert kept.get(f"http://{proxy.storage.host}/v2/", timeout=5).ok
    assert threading.active_count() == before


def _challenge(bearer: Guarded, repository: str) -> str:
    return f'Bearer realm="{bearer.tokens.settings.realm}",service="stowage",scope="repository:{repository}:pull",error="invalid_token"'
