# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pushing blobs and manifests, against a registry in memory."""

from __future__ import annotations

import io

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import BlobMismatch, RegistryDenied, RegistryError
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import Digest
from ansible_collections.stowage.oci.plugins.module_utils._oci.manifest import OCI_MANIFEST, Descriptor
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse
from ansible_collections.stowage.oci.plugins.module_utils._registry.upload import Writer
from ansible_collections.stowage.oci.tests.unit import images
from ansible_collections.stowage.oci.tests.unit.fakes.registry import FakeRegistry
from ansible_collections.stowage.oci.tests.unit.sessions import session

pytestmark = pytest.mark.usefixtures("alone")

DATA = bytes(range(256)) * 12000
APP = images.image([images.layer({"app": b"1"})])
UPLOADS = "/v2/team/app/blobs/uploads/"
EACH = UPLOADS + "[^/]+"


@pytest.fixture
def registry():
    with FakeRegistry() as found:
        yield found


def writer(**options):
    return Writer(session(**options))


def at(registry, name="team/app:1"):
    return parse("%s/%s" % (registry.host, name))


def described(data):
    return Descriptor("application/octet-stream", Digest.of(data), len(data))


def upload(registry, data=DATA, sent=None, begun="", **options):
    """Push data; what the source gives is the same unless a test says otherwise."""
    writer(**options).upload(at(registry), described(data), lambda: io.BytesIO(data if sent is None else sent), "layer 1 of app:1", begun)
    assert registry.has_blob("team/app", Digest.of(data))


def methods(registry):
    return [call.method for call in registry.calls]


# Blobs


def test_a_blob_is_sent_in_two_requests_and_is_there_afterwards(registry):
    assert not writer().has_blob(at(registry), Digest.of(DATA))
    upload(registry)
    assert methods(registry) == ["HEAD", "POST", "PUT"]
    assert registry.calls[-1].query == {"_state": "x=", "digest": Digest.of(DATA)} and registry.calls[-1].size == len(DATA)
    assert writer().has_blob(at(registry), Digest.of(DATA))


@pytest.mark.parametrize("status", [405, 501])
def test_a_registry_that_does_not_tell_of_blobs_is_sent_them(registry, status):
    registry.answer("HEAD", "/v2/team/app/blobs/.*", status)
    assert not writer().has_blob(at(registry), Digest.of(DATA))


def test_who_may_not_ask_for_a_blob_is_told_so(registry):
    registry.answer("HEAD", "/v2/team/app/blobs/.*", 403)
    with pytest.raises(RegistryDenied, match="wants credentials"):
        writer().has_blob(at(registry), Digest.of(DATA))


def test_an_empty_blob_is_sent(registry):
    upload(registry, b"")
    assert methods(registry) == ["POST", "PUT"]


def test_a_location_may_be_absolute(registry):
    registry.uploads_at = registry.url
    upload(registry)
    assert methods(registry) == ["POST", "PUT"]


def test_another_host_that_takes_uploads_sees_no_credential(registry):
    registry.auth = "basic"
    with FakeRegistry() as storage:
        registry.uploads_at = storage.url
        storage.answer("PUT", EACH, 201)
        known = writer(username="ann", password="secret")
        known.upload(at(registry), described(DATA), lambda: io.BytesIO(DATA), "layer 1 of app:1")
        assert [call.headers.get("Authorization") for call in storage.calls] == [None] and storage.calls[0].size == len(DATA)
    assert registry.calls[-1].headers["Authorization"].startswith("Basic ")


def test_a_registry_that_takes_no_blob_in_one_request_gets_it_by_patch(registry):
    registry.monolithic = False
    upload(registry)
    assert methods(registry) == ["POST", "PUT", "POST", "PATCH", "PUT"]
    assert registry.calls[3].headers["Content-Range"] == "0-%d" % (len(DATA) - 1)
    assert registry.calls[-1].size == 0 and registry.calls[-1].query["digest"] == Digest.of(DATA)


def test_a_broken_upload_goes_on_where_it_broke_off(registry):
    registry.drop("PUT", EACH, after=1 << 20)
    upload(registry)
    assert methods(registry) == ["POST", "PUT", "GET", "PATCH", "PUT"]
    assert registry.calls[3].headers["Content-Range"] == "%d-%d" % (1 << 20, len(DATA) - 1)
    assert registry.calls[3].size == len(DATA) - (1 << 20)


@pytest.mark.parametrize(
    ("status", "headers"), [(404, {}), (204, {"Range": "0-0"}), (204, {}), (204, {"Range": "0-99999999"}), (204, {"Range": "5-9"})]
)
def test_a_broken_upload_of_which_nothing_is_known_begins_again(registry, status, headers):
    registry.drop("PUT", EACH, after=1 << 20)
    registry.answer("GET", EACH, status, headers)
    upload(registry)
    assert methods(registry) == ["POST", "PUT", "GET", "POST", "PUT"]


def test_an_upload_that_cannot_be_resumed_begins_again(registry):
    registry.drop("PUT", EACH, after=1 << 20)
    registry.answer("PATCH", EACH, 416)
    upload(registry)
    assert methods(registry) == ["POST", "PUT", "GET", "PATCH", "POST", "PUT"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_upload_that_fails_for_now_is_tried_again(registry, status):
    registry.answer("PUT", EACH, status, {"Retry-After": "0"})
    upload(registry)
    assert methods(registry) == ["POST", "PUT", "GET", "POST", "PUT"]


def test_an_upload_that_always_breaks_is_given_up(registry):
    registry.drop("PUT", EACH, after=0, times=9)
    with pytest.raises(RegistryError, match="no answer from http://127.0.0.1:[0-9]+ in 3 tries"):
        upload(registry)
    assert registry.count("PUT", EACH) == 3


@pytest.mark.parametrize("sent", [DATA[:-1], DATA + b"x", DATA[:-1] + b"x"], ids=["less", "more", "other"])
def test_what_is_not_what_its_digest_says_is_never_stored(registry, sent):
    with pytest.raises(BlobMismatch, match="layer 1 of app:1: "):
        upload(registry, sent=sent)
    assert registry.count("POST", UPLOADS) == 1 and not registry.has_blob("team/app", Digest.of(DATA))


def test_an_upload_without_a_location_is_an_error(registry):
    registry.answer("POST", UPLOADS, 202)
    with pytest.raises(RegistryError, match="begins an upload and does not say where"):
        upload(registry)


@pytest.mark.parametrize(
    ("method", "status", "said"),
    [
        ("POST", 405, "does not take layer 1 of app:1 .HTTP 405.: it is read-only"),
        ("POST", 404, "does not take layer 1 of app:1 .HTTP 404.: make the repository first"),
        ("PUT", 413, "does not take layer 1 of app:1 .HTTP 413.: raise the limit"),
        ("PUT", 307, "does not take layer 1 of app:1 .HTTP 307.: look at its log"),
        ("POST", 403, "there are none for it in .*; to push takes the right to write to team/app"),
    ],
)
def test_a_refused_upload_says_what_to_do(registry, method, status, said):
    registry.answer(method, UPLOADS if method == "POST" else EACH, status)
    error = RegistryDenied if status == 403 else RegistryError
    with pytest.raises(error, match=said):
        upload(registry)


def test_a_registry_that_calls_a_blob_wrong_is_quoted(registry):
    registry.answer("PUT", EACH, 400, {}, b'{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match"}]}')
    with pytest.raises(RegistryError, match="DIGEST_INVALID: provided digest did not match"):
        upload(registry)


# Who may


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_credentials_are_learned_before_the_blob_is_sent(registry, auth):
    registry.auth = auth
    upload(registry, username="ann", password="secret")
    assert registry.count("PUT", EACH) == 1
    if auth == "bearer":
        assert [call.query["scope"] for call in registry.found("GET", "/token")] == ["repository:team/app:pull,push"]


def test_a_token_that_ended_during_an_upload_is_renewed_and_all_of_the_blob_is_sent_again(registry):
    registry.auth = "bearer"
    known = writer(username="ann", password="secret")
    known.upload(at(registry), described(b"1"), lambda: io.BytesIO(b"1"), "layer 1 of app:1")
    registry.forget_tokens()
    registry.answer("POST", UPLOADS, 202, {"Location": EACH.replace("[^/]+", "upload-9")})
    registry._uploads["upload-9"] = b""
    known.upload(at(registry), described(DATA), lambda: io.BytesIO(DATA), "layer 2 of app:1")
    assert [call.size for call in registry.found("PUT", EACH)] == [1, len(DATA), len(DATA)]


def test_who_may_not_push_is_told_so(registry):
    registry.auth = "bearer"
    with pytest.raises(RegistryDenied, match="wants credentials, .*; to push takes the right to write to team/app"):
        upload(registry)
    assert registry.count("PUT", EACH) == 0


# Mounts


def test_a_blob_of_another_repository_is_mounted(registry):
    registry.auth = "bearer"
    registry.offer("base:1", APP)
    digest = APP.layers[0].digest
    mounted = writer(username="ann", password="secret").mount(at(registry), digest, "base")
    assert mounted.done and registry.has_blob("team/app", digest)
    assert registry.calls[-1].query == {"mount": digest, "from": "base"}
    assert registry.found("GET", "/token")[0].query["scope"] == "repository:team/app:pull,push repository:base:pull"


def test_a_blob_that_is_not_mounted_is_sent_in_the_upload_that_was_begun(registry):
    mounted = writer().mount(at(registry), Digest.of(DATA), "base")
    assert not mounted.done
    upload(registry, begun=mounted.location)
    assert methods(registry) == ["POST", "PUT"]


def test_a_begun_upload_that_breaks_is_resumed(registry):
    begun = writer().mount(at(registry), Digest.of(DATA), "base").location
    registry.drop("PUT", EACH, after=1 << 20)
    upload(registry, begun=begun)
    assert methods(registry) == ["POST", "PUT", "GET", "PATCH", "PUT"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_a_mount_that_is_refused_is_no_error(registry, status):
    registry.answer("POST", UPLOADS, status)
    assert writer().mount(at(registry), Digest.of(DATA), "base") == (False, "")


# Manifests


@pytest.mark.parametrize(("name", "key"), [("team/app:1", "1"), ("team/app@" + APP.digest, APP.digest)])
def test_a_manifest_goes_byte_for_byte(registry, name, key):
    for digest, data in APP.blobs.items():
        if digest != APP.digest:
            writer().upload(at(registry), described(data), lambda data=data: io.BytesIO(data), "a blob")
    writer().put_manifest(at(registry, name), APP.manifest, OCI_MANIFEST)
    assert registry.manifest("team/app", key) == APP.manifest
    assert registry.found("PUT", "/v2/team/app/manifests/" + key)[0].headers["Content-Type"] == OCI_MANIFEST


def test_a_registry_that_lacks_a_blob_of_a_manifest_is_quoted(registry):
    with pytest.raises(RegistryError, match="does not take the manifest .MANIFEST_BLOB_UNKNOWN: blob unknown to registry."):
        writer().put_manifest(at(registry), APP.manifest, OCI_MANIFEST)


def test_a_registry_that_changes_manifests_is_found_out(registry):
    registry.answer("PUT", "/v2/team/app/manifests/1", 201, {"Docker-Content-Digest": Digest.of(b"other")})
    with pytest.raises(RegistryError, match="stored the manifest %s as %s: it changes" % (APP.digest, Digest.of(b"other"))):
        writer().put_manifest(at(registry), APP.manifest, OCI_MANIFEST)


def test_a_manifest_is_deleted_by_digest(registry):
    reference = at(registry, "team/app@" + registry.offer("team/app:1", APP))
    assert writer().delete(reference) and registry.digest("team/app", "1") is None
    assert not writer().delete(reference)


def test_a_registry_that_deletes_nothing_says_so(registry):
    registry.answer("DELETE", "/v2/team/app/manifests/.*", 405)
    with pytest.raises(RegistryError, match="deletes nothing .HTTP 405.: allow it"):
        writer().delete(at(registry, "team/app@" + APP.digest))
