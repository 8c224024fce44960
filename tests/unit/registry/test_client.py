# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import (
    ArchiveError,
    InvalidInput,
    NotInRegistry,
    RegistryDenied,
    RegistryError,
)
from ansible_collections.stowage.oci.plugins.module_utils._oci import manifest, platform
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse
from ansible_collections.stowage.oci.plugins.module_utils._registry import trust
from ansible_collections.stowage.oci.plugins.module_utils._registry.client import Client
from ansible_collections.stowage.oci.tests.unit import images
from ansible_collections.stowage.oci.tests.unit.certificates import Authority
from ansible_collections.stowage.oci.tests.unit.fakes.registry import SCHEMA1, FakeRegistry
from ansible_collections.stowage.oci.tests.unit.sessions import session

pytestmark = pytest.mark.usefixtures("alone")

AMD64, ARM64 = platform.parse("linux/amd64"), platform.parse("linux/arm64")
BASE = images.layer({"etc/os-release": b"x"})
APP = images.image([BASE], config={"Cmd": ["/app"]})
DOCKER = images.image([BASE], docker=True)
ARM = images.image([BASE], platform="linux/arm64/v8")
MULTI = images.index([ARM, APP, images.attestation(APP)])


@pytest.fixture
def registry():
    with FakeRegistry() as found:
        yield found


def client(**options):
    return Client(session(**options))


def at(registry, name):
    return parse("%s/%s" % (registry.host, name))


def authorizations(registry, method="HEAD", pattern="/v2/.*"):
    return [call.headers.get("Authorization", "").partition(" ")[0] for call in registry.found(method, pattern)]


# What a reference names


@pytest.mark.parametrize(
    ("item", "media_type"),
    [
        (APP, manifest.OCI_MANIFEST),
        (DOCKER, manifest.DOCKER_MANIFEST),
        (MULTI, manifest.OCI_INDEX),
        (images.index([DOCKER], docker=True), manifest.DOCKER_LIST),
    ],
)
def test_one_head_tells_what_a_tag_names(registry, item, media_type):
    digest = registry.offer("team/app:1", item)
    found = client().resolve(at(registry, "team/app:1"))
    assert found == manifest.Descriptor(media_type, digest, item.descriptor()["size"])
    assert [(call.method, call.path) for call in registry.calls] == [("HEAD", "/v2/team/app/manifests/1")]
    assert registry.calls[0].headers["Accept"] == manifest.ACCEPT


def test_a_digest_is_asked_for_rather_than_the_tag_beside_it(registry):
    digest = registry.offer("app:1", APP)
    assert client().resolve(at(registry, "app:2@" + digest)).digest == digest
    assert registry.calls[0].path == "/v2/app/manifests/" + digest


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (405, {}),
        (501, {}),
        (200, {"Content-Type": manifest.OCI_MANIFEST, "Content-Length": "9"}),
        (200, {"Content-Type": "text/plain", "Docker-Content-Digest": APP.digest}),
        (200, {"Content-Type": manifest.OCI_MANIFEST, "Docker-Content-Digest": "md5:1"}),
    ],
)
def test_a_head_that_tells_too_little_is_followed_by_a_get(registry, status, headers):
    digest = registry.offer("app:1", APP)
    registry.answer("HEAD", "/v2/app/.*", status, headers)
    assert client().resolve(at(registry, "app:1")) == manifest.Descriptor(manifest.OCI_MANIFEST, digest, len(APP.manifest))
    assert [call.method for call in registry.calls] == ["HEAD", "GET"]


def test_a_head_that_answers_another_digest_is_no_answer(registry):
    digest = registry.offer("app:1", APP)
    headers = {"Content-Type": manifest.OCI_MANIFEST, "Docker-Content-Digest": ARM.digest, "Content-Length": "9"}
    registry.answer("HEAD", "/v2/app/.*", 200, headers)
    with pytest.raises(RegistryError, match="has the digest %s where %s is promised" % (ARM.digest, digest)):
        client().resolve(at(registry, "app@" + digest))


def test_the_manifest_is_the_bytes_as_received(registry):
    registry.offer("app:1", APP)
    assert client().manifest(at(registry, "app:1")) == (APP.manifest, manifest.OCI_MANIFEST)


def test_bytes_that_nobody_promises_are_taken_as_they_are(registry):
    registry.answer("GET", "/v2/app/.*", 200, {"Content-Type": manifest.OCI_MANIFEST + "; charset=utf-8"}, APP.manifest)
    assert client().manifest(at(registry, "app:1")) == (APP.manifest, manifest.OCI_MANIFEST)


@pytest.mark.parametrize(("name", "headers"), [("app@" + APP.digest, {}), ("app:1", {"Docker-Content-Digest": APP.digest})])
def test_other_bytes_than_promised_are_refused(registry, name, headers):
    registry.offer("app:1", APP)
    registry.answer("GET", "/v2/app/.*", 200, headers, ARM.manifest)
    with pytest.raises(RegistryError, match="has the digest %s where %s is promised: the registry, or what lies between" % (ARM.digest, APP.digest)):
        client().manifest(at(registry, name))


@pytest.mark.parametrize(("wanted", "image"), [(AMD64, APP), (ARM64, ARM)])
def test_finds_the_config_of_the_image_for_a_platform(registry, wanted, image):
    registry.offer("app:1", MULTI)
    assert client().config_digest(at(registry, "app:1"), wanted) == image.config_digest
    found = client().config(at(registry, "app:1"), wanted)
    assert (found.digest, found.platform, list(found.diff_ids)) == (image.config_digest, wanted, image.diff_ids)


def test_an_image_of_one_platform_is_taken_as_it_is(registry):
    registry.offer("app:1", ARM)
    assert client().config_digest(at(registry, "app:1"), AMD64) == ARM.config_digest


def test_says_which_platforms_there_are(registry):
    registry.offer("app:1", images.index([ARM, images.attestation(ARM)]))
    message = "%s/app:1 is not there for linux/amd64: name one of these with platform: linux/arm64" % registry.host
    with pytest.raises(NotInRegistry, match=message):
        client().config_digest(at(registry, "app:1"), AMD64)
    with pytest.raises(NotInRegistry, match="with platform, or leave it away: linux/arm64$"):
        client().config(at(registry, "app:1"), AMD64, named=True)


@pytest.mark.parametrize(
    ("media_type", "raw", "why"),
    [
        (SCHEMA1, b'{"schemaVersion": 1}', "not an image manifest of schema version 2"),
        (manifest.OCI_MANIFEST, images.artifact().manifest, "is no image, but application/vnd.cncf.helm.config.v1"),
        (manifest.OCI_MANIFEST, b"<html>", "not JSON"),
        (manifest.OCI_MANIFEST, b'{"schemaVersion": 2}', "neither an image manifest nor an index"),
    ],
)
def test_says_what_is_no_image(registry, media_type, raw, why):
    registry.put("app:1", media_type, raw)
    with pytest.raises(ArchiveError, match="%s/app:1.* %s" % (registry.host, why)):
        client().config_digest(at(registry, "app:1"), AMD64)


def test_an_index_of_indexes_is_refused(registry):
    inner = dict(MULTI.descriptor(), platform={"os": "linux", "architecture": "amd64"})
    registry.offer("app:inner", MULTI)
    registry.put("app:1", manifest.OCI_INDEX, images.dump({"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": [inner]}))
    with pytest.raises(ArchiveError, match="app:1 is an index of indexes, which no engine reads"):
        client().config_digest(at(registry, "app:1"), AMD64)


def test_a_config_with_other_bytes_is_refused(registry):
    registry.offer("app:1", APP)
    registry.answer("GET", "/v2/app/blobs/.*", 200, {}, ARM.config)
    with pytest.raises(RegistryError, match="has the digest %s where %s is promised" % (ARM.config_digest, APP.config_digest)):
        client().config(at(registry, "app:1"), AMD64)


def test_one_connection_serves_many_requests():
    with FakeRegistry("bearer") as registry:
        registry.offer("app:1", MULTI)
        asking = client(username="ann", password="secret")
        for _time in range(3):
            asking.resolve(at(registry, "app:1"))
        asking.config(at(registry, "app:1"), AMD64)
        assert (len(registry.calls), registry.connections) == (8, 1)


# What goes wrong


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_says_what_is_not_there(registry, method):
    registry.offer("app:1", APP)
    call = client().resolve if method == "HEAD" else client().manifest
    why = "HTTP 404" if method == "HEAD" else "MANIFEST_UNKNOWN: manifest unknown"
    with pytest.raises(NotInRegistry, match=r"app:2: %s has no such image \(%s\): look at its repository and tag" % (registry.host, why)):
        call(at(registry, "app:2"))
    assert len(registry.calls) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_asks_again_what_may_pass(registry, status):
    digest = registry.offer("app:1", APP)
    registry.answer("HEAD", "/v2/.*", status, times=2)
    assert client().resolve(at(registry, "app:1")).digest == digest
    assert len(registry.calls) == 3


def test_gives_up_when_it_has_asked_often_enough(registry):
    registry.answer("HEAD", "/v2/.*", 503, times=9)
    with pytest.raises(RegistryError, match=r"app:1: %s failed \(HTTP 503\): look at its log, or try again later" % registry.host):
        client().resolve(at(registry, "app:1"))
    assert len(registry.calls) == 3


@pytest.mark.parametrize("stated", ["soon", "\u00b2", "", "Mon, 01 Jan 99999 00:00:00 GMT"])
def test_does_not_wait_for_nonsense(registry, stated):
    digest = registry.offer("app:1", APP)
    registry.answer("HEAD", "/v2/.*", 429, {"Retry-After": stated})
    assert client().resolve(at(registry, "app:1")).digest == digest


@pytest.mark.parametrize("stated", ["1", "date"])
def test_waits_as_long_as_it_is_told(registry, stated):
    digest = registry.offer("app:1", APP)
    moment = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 2))
    registry.answer("HEAD", "/v2/.*", 429, {"Retry-After": moment if stated == "date" else stated})
    begun = time.monotonic()
    assert client().resolve(at(registry, "app:1")).digest == digest
    assert time.monotonic() - begun >= 0.9


def test_does_not_wait_for_hours(registry):
    registry.answer("HEAD", "/v2/.*", 429, {"Retry-After": "7200"})
    message = r"takes no more requests for now \(HTTP 429\): try again in 7200 seconds; logging in often raises the limit"
    with pytest.raises(RegistryError, match=message):
        client().resolve(at(registry, "app:1"))
    assert len(registry.calls) == 1


def test_an_answer_that_is_cut_is_asked_for_again(registry):
    registry.offer("app:1", APP)
    registry.cut("GET", "/v2/.*", after=10, times=2)
    assert client().manifest(at(registry, "app:1"))[0] == APP.manifest
    registry.cut("GET", "/v2/.*", after=10, times=9)
    with pytest.raises(RegistryError, match=r"no answer from %s in 3 tries \(.+\): see whether it runs" % registry.url):
        client().manifest(at(registry, "app:1"))


def test_an_answer_without_end_is_not_read_to_its_end(registry):
    registry.answer("GET", "/v2/.*", 200, {}, b" " * (manifest.LIMIT + 1))
    with pytest.raises(RegistryError, match="answers more than 4194304 bytes: no manifest or config is that large"):
        client().manifest(at(registry, "app:1"))


def test_says_that_nobody_listens():
    with FakeRegistry() as gone:
        pass
    with pytest.raises(RegistryError, match=r"app:1: no answer from %s in 3 tries \(Connection refused\): see whether it runs" % gone.url):
        client().resolve(at(gone, "app:1"))


@pytest.mark.parametrize(
    ("number", "message", "asked"),
    [
        (socket.EAI_NONAME, r"cannot ask http://registry.invalid \(.*unknown.*\): see how its name is written", 1),
        (socket.EAI_AGAIN, r"no answer from http://registry.invalid in 3 tries \(.*unknown.*\): see whether it runs", 3),
    ],
)
def test_a_name_that_nobody_knows_is_asked_for_once(monkeypatch, number, message, asked):
    names = []

    def resolve(host, *args, **kwargs):
        names.append(host)
        raise socket.gaierror(number, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(RegistryError, match=message):
        client(retries=2).resolve(parse("registry.invalid/app:1"))
    assert names == ["registry.invalid"] * asked


def test_says_that_a_registry_is_silent():
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        host = "127.0.0.1:%d" % silent.getsockname()[1]
        with pytest.raises(RegistryError, match=r"no answer from http://%s \(silent for too long, see registry_timeout\)" % host):
            client(retries=0, registry_timeout=0.2).resolve(parse(host + "/app:1"))


def test_says_how_tls_failed():
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        threading.Thread(target=alert, args=(server,), daemon=True).start()
        host = "127.0.0.1:%d" % server.getsockname()[1]
        with pytest.raises(RegistryError, match="app:1: %s refuses TLS with us .*alert handshake failure" % host):
            client(plain_http=False, retries=0).resolve(parse(host + "/app:1"))


def alert(server):
    """Answer a greeting in TLS with the alert handshake_failure."""
    with server.accept()[0] as connection:
        connection.recv(5)
        connection.sendall(b"\x15\x03\x03\x00\x02\x02\x28")
        connection.recv(1 << 16)


def test_says_which_python_lacks_requests(registry, monkeypatch):
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(RegistryError, match="needs the Python library requests, and %s has none: install python3-requests" % sys.executable):
        client().resolve(at(registry, "app:1"))


# Redirects


def test_follows_a_redirect_within_the_registry_with_its_credential():
    with FakeRegistry("basic") as registry:
        registry.offer("new/app:1", APP)
        registry.answer("HEAD", "/v2/old/.*", 401, {"WWW-Authenticate": 'Basic realm="fleet"'})
        registry.answer("HEAD", "/v2/old/.*", 307, {"Location": "/v2/new/app/manifests/1"})
        assert client(username="ann", password="secret").resolve(at(registry, "old/app:1")).digest == APP.digest
        assert authorizations(registry) == ["", "Basic", "Basic"]


def test_shows_no_credential_to_another_host(registry):
    registry.offer("app:1", APP)
    with FakeRegistry("basic") as first:
        first.answer("HEAD", "/v2/.*", 401, {"WWW-Authenticate": 'Basic realm="fleet"'})
        first.answer("HEAD", "/v2/.*", 307, {"Location": registry.url + "/v2/app/manifests/1"})
        assert client(username="ann", password="secret").resolve(at(first, "app:1")).digest == APP.digest
        assert authorizations(first) == ["", "Basic"]
    assert authorizations(registry) == [""]


def test_gives_up_on_redirects_without_end(registry):
    registry.answer("HEAD", "/v2/.*", 302, {"Location": "/v2/app/manifests/1"}, times=9)
    with pytest.raises(RegistryError, match="redirects more than 5 times"):
        client().resolve(at(registry, "app:1"))
    assert len(registry.calls) == 6


@pytest.mark.parametrize(
    ("location", "why"), [("http://[::/", r"redirects to no address: http://\[::/"), ("http://.example/", "cannot ask http://.example")]
)
def test_says_that_a_redirect_leads_nowhere(registry, location, why):
    registry.answer("HEAD", "/v2/.*", 302, {"Location": location})
    with pytest.raises(RegistryError, match="app:1: .*" + why):
        client().resolve(at(registry, "app:1"))


# Basic


def test_shows_a_password_when_it_is_asked_for_and_not_before():
    with FakeRegistry("basic") as registry:
        registry.offer("app:1", APP)
        registry.offer("other:1", APP)
        asking = client(username="ann", password="secret")
        asking.resolve(at(registry, "app:1"))
        asking.resolve(at(registry, "other:1"))
        assert authorizations(registry) == ["", "Basic", "Basic"]


def test_says_that_a_password_is_wrong():
    with FakeRegistry("basic") as registry:
        registry.offer("app:1", APP)
        message = r"app:1: %s refuses the credentials from username and password \(HTTP 401\): they are wrong, or give no access to app$" % registry.host
        with pytest.raises(RegistryDenied, match=message) as error:
            client(username="ann", password="guess").resolve(at(registry, "app:1"))
        assert "guess" not in str(error.value)
        assert len(registry.calls) == 2


def test_says_where_it_looked_for_a_password(tmp_path):
    with FakeRegistry("basic") as registry:
        registry.offer("app:1", APP)
        files = "%s/.docker/config.json, %s/containers/auth.json, .*: give username and password, or log in$" % (tmp_path, tmp_path)
        message = r"wants credentials, or has no such repository \(.*\): none were given, and there are none for it in " + files
        with pytest.raises(RegistryDenied, match=message):
            client().manifest(at(registry, "app:1"))
        assert len(registry.calls) == 1


def test_a_403_is_a_denial_too(registry):
    registry.answer("GET", "/v2/.*", 403, {}, b'{"errors": [{"code": "DENIED", "message": "not yours"}]}')
    with pytest.raises(RegistryDenied, match="DENIED: not yours"):
        client().manifest(at(registry, "app:1"))


def test_a_challenge_that_nobody_knows_is_a_denial(registry):
    registry.answer("HEAD", "/v2/.*", 401, {"WWW-Authenticate": "Negotiate"})
    with pytest.raises(RegistryDenied, match="refuses the credentials"):
        client(username="ann", password="secret").resolve(at(registry, "app:1"))
    assert authorizations(registry) == [""]


def test_netrc_is_not_for_registries(tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ann password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    with FakeRegistry("basic") as registry:
        registry.offer("app:1", APP)
        with pytest.raises(RegistryDenied):
            client().resolve(at(registry, "app:1"))


# Bearer


def test_a_token_is_had_once_for_each_repository():
    with FakeRegistry("bearer") as registry:
        registry.offer("app:1", APP)
        registry.offer("other:1", APP)
        asking = client(username="ann", password="secret")
        for name in ("app:1", "app:1", "other:1", "other:1"):
            asking.resolve(at(registry, name))
        assert authorizations(registry) == ["", "Bearer", "Bearer", "Bearer", "Bearer"]
        tokens = registry.found("GET", "/token")
        assert [call.query for call in tokens] == [{"service": "fleet", "scope": "repository:%s:pull" % name} for name in ("app", "other")]
        assert authorizations(registry, "GET", "/token") == ["Basic", "Basic"]


def test_an_old_token_is_not_shown():
    with FakeRegistry("bearer") as registry:
        registry.expires_in = 5
        registry.offer("app:1", APP)
        asking = client(username="ann", password="secret")
        asking.resolve(at(registry, "app:1"))
        asking.resolve(at(registry, "app:1"))
        assert registry.count("GET", "/token") == 2
        assert authorizations(registry) == ["", "Bearer", "Bearer"]


def test_a_token_that_is_refused_is_renewed_once():
    with FakeRegistry("bearer") as registry:
        registry.offer("app:1", APP)
        asking = client(username="ann", password="secret")
        asking.resolve(at(registry, "app:1"))
        registry.forget_tokens()
        assert asking.resolve(at(registry, "app:1")).digest == APP.digest
        registry.answer("HEAD", "/v2/.*", 401, {"WWW-Authenticate": 'Bearer realm="%s"' % registry.realm}, times=2)
        with pytest.raises(RegistryDenied, match="refuses the credentials"):
            asking.resolve(at(registry, "app:1"))
        assert registry.count("GET", "/token") == 3


def test_an_identity_token_is_exchanged(tmp_path):
    with FakeRegistry("bearer") as registry:
        registry.offer("app:1", APP)
        (tmp_path / "auth.json").write_text(json.dumps({"auths": {registry.host: {"identitytoken": registry.identity}}}))
        assert client(auth_file=str(tmp_path / "auth.json")).resolve(at(registry, "app:1")).digest == APP.digest
        assert [call.method for call in registry.calls] == ["HEAD", "POST", "HEAD"]


def test_says_that_a_repository_is_not_for_everyone():
    with FakeRegistry("bearer") as registry:
        registry.offer("app:1", APP)
        with pytest.raises(RegistryDenied, match="wants credentials, or has no such repository"):
            client().resolve(at(registry, "app:1"))
        assert authorizations(registry, "GET", "/token") == [""]


def test_says_that_the_token_server_knows_another_password():
    with FakeRegistry("bearer") as registry:
        registry.offer("app:1", APP)
        message = r"refuses the credentials from username and password \(UNAUTHORIZED: incorrect username or password\)"
        with pytest.raises(RegistryDenied, match=message):
            client(username="ann", password="guess").resolve(at(registry, "app:1"))


@pytest.mark.parametrize("body", [b"{}", b"[]", b"<html>", b'{"token": "x", "expires_in": "soon"}', b'{"token": 7}'])
def test_says_that_a_token_server_answers_nonsense(body):
    with FakeRegistry("bearer") as registry:
        registry.answer("GET", "/token", 200, {}, body)
        with pytest.raises(RegistryError, match=r"%s, the token server of %s, answers no token \(HTTP 200\)" % (registry.host, registry.host)):
            client().resolve(at(registry, "app:1"))


@pytest.mark.parametrize("realm", ["http://[::/", "/token", "ftp://token.example/x"])
def test_says_that_a_token_server_has_no_address(realm):
    with FakeRegistry("bearer") as registry:
        registry.realm = realm
        with pytest.raises(RegistryError, match="the token server of %s, is not asked, as %s is no https" % (registry.host, re.escape(realm))):
            client().resolve(at(registry, "app:1"))


def test_waits_for_a_token_server_too():
    with FakeRegistry("bearer") as registry:
        registry.offer("app:1", APP)
        registry.answer("GET", "/token", 503)
        assert client(username="ann", password="secret").resolve(at(registry, "app:1")).digest == APP.digest


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Paths of a certificate for 127.0.0.1 that signs itself, and of its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=registry"]
    subprocess.run(command + ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, stderr=subprocess.DEVNULL)
    return cert, key


@pytest.fixture
def secure(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with FakeRegistry("basic", context) as found:
        found.offer("app:1", APP)
        yield found


def test_trusts_the_ca_that_is_named(secure, certificate):
    asking = client(plain_http=False, ca_cert=certificate[0], username="ann", password="secret")
    assert asking.resolve(at(secure, "app:1")).digest == APP.digest


def test_trusts_what_the_engines_trust_for_that_host(secure, certificate, tmp_path, monkeypatch):
    monkeypatch.setattr(trust, "FOLDERS", ("~/.config/containers/certs.d",))
    folder = tmp_path / ".config/containers/certs.d"
    for host in (secure.host, "another.example"):
        (folder / host).mkdir(parents=True)
    (folder / "another.example/ca.crt").write_text("no certificate, and not read")
    with open(certificate[0]) as stream:
        (folder / secure.host / "ca.crt").write_text(stream.read())
    asking = client(plain_http=False, username="ann", password="secret")
    assert asking.resolve(at(secure, "app:1")).digest == APP.digest


def test_does_not_trust_anyone_else(secure, certificate):
    message = r"app:1: the certificate of %s does not verify \(.+\): give its CA as ca_cert, or as /etc/docker/certs.d/%s/ca.crt"
    with pytest.raises(RegistryError, match=message % (secure.host, secure.host)):
        client(plain_http=False, username="ann", password="secret").resolve(at(secure, "app:1"))
    assert secure.calls == []


def test_a_certificate_is_for_its_names_alone(secure, certificate):
    other = parse("localhost:%s/app:1" % secure.host.rpartition(":")[2])
    with pytest.raises(RegistryError, match="the certificate of localhost:.* does not verify"):
        client(plain_http=False, ca_cert=certificate[0]).resolve(other)


def test_trusts_anyone_if_that_is_asked(secure):
    asking = client(plain_http=False, validate_certs=False, username="ann", password="secret")
    assert asking.resolve(at(secure, "app:1")).digest == APP.digest


@pytest.fixture
def mutual(tmp_path):
    """A registry with mutual TLS, its authority, and a client's certificate."""
    ca = Authority(tmp_path / "ca")
    server = ca.issue("server", "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ca.cert))
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_cert_chain(str(server.cert), str(server.key))
    with FakeRegistry(tls=context) as found:
        found.offer("app:1", APP)
        yield found, str(ca.cert), ca.issue("client")


def test_shows_the_client_certificate_that_is_named(mutual):
    registry, ca, pair = mutual
    asking = client(plain_http=False, ca_cert=ca, client_cert=str(pair.cert), client_key=str(pair.key))
    assert asking.resolve(at(registry, "app:1")).digest == APP.digest


def test_shows_the_client_certificate_that_the_engines_show(mutual, tmp_path, monkeypatch):
    registry, ca, pair = mutual
    monkeypatch.setattr(trust, "FOLDERS", (str(tmp_path),))
    folder = tmp_path / registry.host
    folder.mkdir()
    (folder / "client.cert").write_bytes(pair.cert.read_bytes())
    (folder / "client.key").write_bytes(pair.key.read_bytes())
    assert client(plain_http=False, ca_cert=ca).resolve(at(registry, "app:1")).digest == APP.digest


def test_says_that_a_client_certificate_is_wanted(mutual):
    registry, ca, _pair = mutual
    with pytest.raises(RegistryError, match="app:1: %s refuses TLS with us .*: if it wants a client's certificate, give client_cert" % registry.host):
        client(plain_http=False, ca_cert=ca).resolve(at(registry, "app:1"))


def test_shows_the_client_certificate_to_nobody_else(mutual, registry):
    other, ca, pair = mutual
    plain = at(registry, "app:1")
    registry.answer("GET", "/v2/app/manifests/1", 307, {"Location": "%s/v2/app/manifests/1" % other.url})
    asking = session(ca_cert=ca, client_cert=str(pair.cert), client_key=str(pair.key))
    with pytest.raises(RegistryError, match="%s refuses TLS with us" % other.host):
        Client(asking).manifest(plain)


def test_a_client_certificate_must_be_one(mutual, tmp_path):
    registry, ca, _pair = mutual
    (tmp_path / "empty").write_text("")
    with pytest.raises(InvalidInput, match="empty: cannot use it as a client's certificate and key in PEM"):
        client(plain_http=False, ca_cert=ca, client_cert=str(tmp_path / "empty")).resolve(at(registry, "app:1"))


def test_says_that_a_registry_speaks_no_tls(registry):
    with pytest.raises(RegistryError, match="app:1: %s speaks no TLS: set plain_http if it is meant to be asked without" % registry.host):
        client(plain_http=False).resolve(at(registry, "app:1"))
    assert registry.calls == []


def test_says_that_a_registry_refuses_plain_http(registry):
    registry.answer("HEAD", "/v2/.*", 400)
    with pytest.raises(RegistryError, match=r"refuses to be asked without TLS \(HTTP 400\): leave plain_http away if it speaks TLS"):
        client().resolve(at(registry, "app:1"))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_says_which_file_is_no_ca(registry, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    with pytest.raises(InvalidInput, match="ca.pem: cannot use it as CA certificates in PEM"):
        client(ca_cert=str(path), plain_http=False).resolve(at(registry, "app:1"))


def test_does_not_leave_tls_for_a_redirect(secure, certificate, registry):
    secure.answer("HEAD", "/v2/.*", 307, {"Location": registry.url + "/v2/app/manifests/1"})
    with pytest.raises(RegistryError, match="%s redirects to %s, which is no TLS: refused" % (secure.url, registry.url)):
        client(plain_http=False, ca_cert=certificate[0]).resolve(at(secure, "app:1"))
    assert registry.calls == []


def test_does_not_leave_tls_for_a_token(secure, certificate, registry):
    secure.auth, secure.realm = "bearer", registry.realm
    with pytest.raises(RegistryError, match="the token server of %s, is not asked, as %s is no https address" % (secure.host, registry.realm)):
        client(plain_http=False, ca_cert=certificate[0], username="ann", password="secret").resolve(at(secure, "app:1"))
    assert registry.calls == []


# Where requests go


def test_docker_hub_has_a_host_of_its_own_and_is_never_asked_in_the_clear(registry, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", registry.url)
    monkeypatch.setenv("HTTP_PROXY", registry.url)
    with pytest.raises(RegistryError, match=r"nginx: no answer from https://registry-1.docker.io \(through a proxy: .*501"):
        client(retries=0).resolve(parse("nginx"))


def test_a_proxy_of_the_environment_is_used_except_for_the_loopback(registry, monkeypatch):
    with FakeRegistry() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "direct.invalid")
        proxy.offer("app:1", APP)
        registry.offer("app:1", APP)
        assert client().resolve(parse("registry.invalid/app:1")).digest == APP.digest
        assert proxy.calls[0].headers["Host"] == "registry.invalid"
        assert client().resolve(at(registry, "app:1")).digest == APP.digest
        assert client().resolve(parse("localhost:%s/app:1" % registry.host.rpartition(":")[2])).digest == APP.digest
        with pytest.raises(RegistryError, match="(no answer from|cannot ask) http://direct.invalid"):
            client(retries=0).resolve(parse("direct.invalid/app:1"))
        assert len(proxy.calls) == 1
