# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry in memory on a real socket of the loopback, for whole modules in process.

    with FakeRegistry() as registry:
        digest = registry.offer("app:1", image([layer({"app": b"1"})]))
        ...                                                        # a module with plain_http=True and registry.host + "/app:1"
        assert registry.count("HEAD", "/v2/app/manifests/1") == 1

It answers as docker-registry 2.8 was measured to, errors and the rules of Accept included. ``auth`` is ``basic`` or ``bearer``;
then ``username`` and ``password`` open it, and for bearer ``identity`` is a refresh token that does too. What a test wants to go
wrong it says before:

    registry.answer("HEAD", "/v2/.*", 429, {"Retry-After": "1"}, times=2)
    registry.cut("GET", "/v2/.*/manifests/.*", after=10)
    registry.drop("PUT", "/v2/.*/uploads/.*", after=10)
"""

from __future__ import annotations

import base64
import http.server
import itertools
import json
import re
import ssl
import threading
import typing as t
import urllib.parse

from ansible_collections.stowage.oci.plugins.module_utils._oci import manifest as _manifest
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import Digest

Headers = t.Mapping[str, str]


class Call(t.NamedTuple):
    """A request as it came, with ``size`` bytes of body; ``path`` is without its query, of which a key given twice has both values."""

    method: str
    path: str
    query: t.Dict[str, str]
    headers: Headers
    size: int = 0


class Answer(t.NamedTuple):
    status: int
    headers: Headers = {}
    body: bytes = b""


class Rule(t.NamedTuple):
    """The next call of this method whose path is matched whole is answered so, or its answer is cut after so many bytes, or of its
    body so many are read and nothing is answered.
    """

    method: str
    pattern: str
    answer: t.Optional[Answer]
    cut: t.Optional[int]
    drop: t.Optional[int] = None


class FakeRegistry:
    """``calls`` are the requests so far, over so many ``connections``.

    ``realm`` is where bearer tokens are to be had: here, unless a test says otherwise. Without ``monolithic`` a blob is taken by PATCH
    alone, without ``mounts`` no other repository's; ``uploads_at`` is put before the path of an upload's Location.
    """

    username, password, identity = "ann", "secret", "refresh-me"
    expires_in = 300
    monolithic = mounts = True
    uploads_at = ""

    def __init__(self, auth: str = "", tls: t.Optional[ssl.SSLContext] = None) -> None:
        self.auth = auth
        self.calls: t.List[Call] = []
        self.connections = 0
        self._manifests: t.Dict[str, t.Tuple[str, bytes]] = {}
        self._blobs: t.Dict[str, bytes] = {}
        self._uploads: t.Dict[str, bytes] = {}
        self._tokens: t.Dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._rules: t.List[Rule] = []
        self._lock = threading.RLock()
        self._server = _Server(("127.0.0.1", 0), self)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.host = "127.0.0.1:%d" % self._server.server_address[1]
        self.url = "%s://%s" % ("https" if tls else "http", self.host)
        self.realm = self.url + "/token"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def __enter__(self) -> FakeRegistry:
        return self

    def __exit__(self, *exc: t.Any) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering: connections are refused from now on."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # What a test sets up

    def offer(self, name: str, item: t.Any) -> str:
        """Have an image or index of tests/unit/images.py, with all it holds, as ``repository:tag``; its digest."""
        repository, _colon, tag = name.rpartition(":")
        for one in [item] + list(getattr(item, "children", ())):
            descriptor = one.descriptor()
            self._manifests["%s@%s" % (repository, one.digest)] = (descriptor["mediaType"], item.blobs[one.digest])
        self._manifests["%s@%s" % (repository, tag)] = self._manifests["%s@%s" % (repository, item.digest)]
        self._blobs.update(("%s@%s" % (repository, digest), data) for digest, data in item.blobs.items())
        return item.digest

    def put(self, name: str, media_type: str, raw: bytes) -> str:
        """Have these bytes as a manifest, whatever they are."""
        repository, _colon, tag = name.rpartition(":")
        for key in (tag, Digest.of(raw)):
            self._manifests["%s@%s" % (repository, key)] = (media_type, raw)
        return Digest.of(raw)

    def take(self, repository: str, tag: str, media_type: str, raw: bytes, blobs: t.Mapping[str, bytes]) -> None:
        """Have what an engine pushes: its blobs, those that are manifests too, and the manifest or index itself."""
        with self._lock:
            self._blobs.update(("%s@%s" % (repository, digest), data) for digest, data in blobs.items())
            for digest, data in blobs.items():
                if data.startswith(b"{") and "mediaType" in json.loads(data.decode()):
                    self._manifests["%s@%s" % (repository, digest)] = (json.loads(data.decode())["mediaType"], data)
            self.put("%s:%s" % (repository, tag), media_type, raw)

    def answer(self, method: str, pattern: str, status: int, headers: t.Optional[Headers] = None, body: bytes = b"", times: int = 1) -> None:
        with self._lock:
            self._rules += [Rule(method, pattern, Answer(status, headers or {}, body), None)] * times

    def cut(self, method: str, pattern: str, after: int, times: int = 1) -> None:
        with self._lock:
            self._rules += [Rule(method, pattern, None, after)] * times

    def drop(self, method: str, pattern: str, after: int, times: int = 1) -> None:
        with self._lock:
            self._rules += [Rule(method, pattern, None, None, after)] * times

    def forget_tokens(self) -> None:
        """Let all tokens have ended."""
        self._tokens.clear()

    # What a test asks

    def count(self, method: str, pattern: str) -> int:
        return len(self.found(method, pattern))

    def found(self, method: str, pattern: str) -> t.List[Call]:
        with self._lock:
            return [call for call in self.calls if call.method == method and re.fullmatch(pattern, call.path)]

    def has_blob(self, repository: str, digest: str) -> bool:
        return "%s@%s" % (repository, digest) in self._blobs

    def manifest(self, repository: str, key: str) -> bytes:
        """The bytes behind a tag or digest."""
        return self._manifests["%s@%s" % (repository, key)][1]

    def digest(self, repository: str, tag: str) -> t.Optional[str]:
        """What a tag names now, or None."""
        held = self._manifests.get("%s@%s" % (repository, tag))
        return Digest.of(held[1]) if held else None

    # What it does

    def limit(self, method: str, path: str) -> t.Optional[int]:
        """After how many bytes of the body this call is dropped."""
        with self._lock:
            rule = next((rule for rule in self._rules if rule.method == method and re.fullmatch(rule.pattern, path)), None)
            if rule is None or rule.drop is None:
                return None
            self._rules.remove(rule)
            return rule.drop

    def dropped(self, call: Call, body: bytes) -> None:
        """Keep of a broken upload what came of it."""
        with self._lock:
            self.calls.append(call)
            upload = call.path.rpartition("/")[2]
            if upload in self._uploads:
                self._uploads[upload] += body

    def serve(self, call: Call, body: bytes) -> t.Tuple[Answer, t.Optional[int]]:
        """The answer, and after how many bytes of its body the connection breaks."""
        with self._lock:
            self.calls.append(call)
            rule = next((rule for rule in self._rules if rule.method == call.method and re.fullmatch(rule.pattern, call.path)), None)
            if rule:
                self._rules.remove(rule)
                if rule.answer:
                    return rule.answer, None
            return self._route(call, body), rule.cut if rule else None

    def _route(self, call: Call, body: bytes) -> Answer:
        if call.path == "/token":
            return self._token(call, dict(urllib.parse.parse_qsl(body.decode())))
        match = re.fullmatch("/v2/(.+)/(manifests|blobs|blobs/uploads)/([^/]*)", call.path)
        if not match:
            return Answer(404, {"Content-Type": "text/plain; charset=utf-8"}, b"404 page not found\n")
        repository, kind, name = match.groups()
        if kind == "blobs/uploads":
            return self._challenge(call, "repository:%s:pull,push" % repository) or self._upload(call, repository, name, body)
        if call.method == "PUT":
            return self._challenge(call, "repository:%s:pull,push" % repository) or self._put(call, repository, name, body)
        if call.method == "DELETE":
            return self._challenge(call, "repository:%s:delete" % repository) or self._delete(repository, name)
        return self._challenge(call, "repository:%s:pull" % repository) or getattr(self, "_%s_at" % kind)(call, "%s@%s" % (repository, name))

    # Who may

    def _challenge(self, call: Call, scope: str) -> t.Optional[Answer]:
        shown = call.headers.get("Authorization", "")
        if self.auth == "basic":
            return None if self._known(shown) else _error(401, "UNAUTHORIZED", "authentication required", 'Basic realm="fleet"')
        if self.auth == "bearer":
            granted = self._tokens.get(shown[len("Bearer "):]) if shown.startswith("Bearer ") else None
            if not _grants(granted or "", scope):
                error = "" if not shown else ',error="insufficient_scope"' if granted is not None else ',error="invalid_token"'
                challenge = 'Bearer realm="%s",service="fleet",scope="%s"%s' % (self.realm, scope, error)
                return _error(401, "UNAUTHORIZED", "authentication required", challenge)
        return None

    def _known(self, header: str) -> bool:
        return header == "Basic " + base64.b64encode(("%s:%s" % (self.username, self.password)).encode()).decode()

    def _token(self, call: Call, form: t.Mapping[str, str]) -> Answer:
        """Whoever shows nothing gets a token that opens nothing."""
        shown = call.headers.get("Authorization", "")
        refreshed = call.method == "POST" and form.get("grant_type") == "refresh_token" and form.get("refresh_token") == self.identity
        if (call.method == "POST" or shown) and not refreshed and not self._known(shown):
            return _error(401, "UNAUTHORIZED", "incorrect username or password")
        token = "token-%d" % next(self._numbers)
        self._tokens[token] = (form if refreshed else call.query)["scope"] if refreshed or shown else ""
        key = "access_token" if refreshed else "token"
        return Answer(200, {"Content-Type": "application/json"}, json.dumps({key: token, "expires_in": self.expires_in}).encode())

    # What is there

    def _manifests_at(self, call: Call, key: str) -> Answer:
        if key not in self._manifests:
            return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        media_type, raw = self._manifests[key]
        accept = call.headers.get("Accept", "")
        if media_type in (_manifest.OCI_INDEX, _manifest.OCI_MANIFEST) and media_type not in accept:
            word = "index" if media_type == _manifest.OCI_INDEX else "manifest"
            words = "OCI %s found, but accept header does not support OCI %s" % (word, "indexes" if word == "index" else "manifests")
            return _error(404, "MANIFEST_UNKNOWN", words)
        if media_type == _manifest.DOCKER_LIST and media_type not in accept:
            amd64 = [entry for entry in json.loads(raw.decode())["manifests"] if entry["platform"]["architecture"] == "amd64"]
            media_type, raw = self._manifests["%s@%s" % (key.partition("@")[0], amd64[0]["digest"])]
        if media_type == _manifest.DOCKER_MANIFEST and media_type not in accept:
            media_type, raw = SCHEMA1, b'{"schemaVersion":1}'
        return _content(media_type, raw)

    def _blobs_at(self, call: Call, key: str) -> Answer:
        if key not in self._blobs:
            return _error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        return _content("application/octet-stream", self._blobs[key])

    # What is put there

    def _upload(self, call: Call, repository: str, name: str, body: bytes) -> Answer:
        if call.method == "POST":
            mounted = "%s@%s" % (call.query.get("from"), call.query.get("mount"))
            if self.mounts and mounted in self._blobs and self._may_pull(call, call.query["from"]):
                return self._stored(repository, call.query["mount"], self._blobs[mounted])
            name = "upload-%d" % next(self._numbers)
            self._uploads[name] = b""
            return self._under_way(repository, name, 202)
        if name not in self._uploads:
            return _error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if call.method == "GET":
            return self._under_way(repository, name, 204)
        if call.method == "PATCH":
            start = call.headers.get("Content-Range", "0-").partition("-")[0]
            if int(start) != len(self._uploads[name]):
                return Answer(416)
            self._uploads[name] += body
            return self._under_way(repository, name, 202)
        if body and not self.monolithic:
            return _error(405, "UNSUPPORTED", "The operation is unsupported.")
        data = self._uploads.pop(name) + body
        if Digest.of(data) != call.query["digest"]:
            return _error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        return self._stored(repository, call.query["digest"], data)

    def _under_way(self, repository: str, name: str, status: int) -> Answer:
        location = "%s/v2/%s/blobs/uploads/%s?_state=x%%3D" % (self.uploads_at, repository, name)
        return Answer(status, {"Location": location, "Range": "0-%d" % max(0, len(self._uploads[name]) - 1)})

    def _stored(self, repository: str, digest: str, data: bytes) -> Answer:
        self._blobs["%s@%s" % (repository, digest)] = data
        return Answer(201, {"Location": "/v2/%s/blobs/%s" % (repository, digest), "Docker-Content-Digest": digest})

    def _may_pull(self, call: Call, repository: str) -> bool:
        token = call.headers.get("Authorization", "")[len("Bearer "):]
        return self.auth != "bearer" or _grants(self._tokens.get(token, ""), "repository:%s:pull" % repository)

    def _put(self, call: Call, repository: str, name: str, body: bytes) -> Answer:
        document = json.loads(body.decode())
        blobs = [document["config"]] + document["layers"] if "layers" in document else []
        lacking = [one["digest"] for one in blobs if "%s@%s" % (repository, one["digest"]) not in self._blobs]
        lacking += [one["digest"] for one in document.get("manifests", ()) if "%s@%s" % (repository, one["digest"]) not in self._manifests]
        if lacking:
            return _error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
        digest = Digest.of(body)
        if ":" in name and name != digest:
            return _error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        for key in (name, digest):
            self._manifests["%s@%s" % (repository, key)] = (call.headers["Content-Type"], body)
        return Answer(201, {"Docker-Content-Digest": digest})

    def _delete(self, repository: str, name: str) -> Answer:
        if ":" not in name:
            return _error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        found = [key for key, (_type, raw) in self._manifests.items() if key.startswith(repository + "@") and Digest.of(raw) == name]
        for key in found:
            del self._manifests[key]
        return Answer(202) if found else _error(404, "MANIFEST_UNKNOWN", "manifest unknown")


SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"


def _grants(granted: str, scope: str) -> bool:
    """Whether one of a token's scopes covers this one."""
    what, _colon, actions = scope.rpartition(":")
    pairs = [one.rpartition(":") for one in granted.split()]
    return any(have == what and set(actions.split(",")) <= set(may.split(",")) for have, _colon, may in pairs)


def _content(media_type: str, body: bytes) -> Answer:
    digest = Digest.of(body)
    return Answer(200, {"Content-Type": media_type, "Docker-Content-Digest": digest, "Etag": '"%s"' % digest}, body)


def _error(status: int, code: str, message: str, challenge: str = "") -> Answer:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if challenge:
        headers["Www-Authenticate"] = challenge
    return Answer(status, headers, json.dumps({"errors": [{"code": code, "message": message}]}).encode())


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: t.Tuple[str, int], registry: FakeRegistry) -> None:
        super().__init__(address, _Handler)
        self.registry = registry

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """A client that hangs up, or that we hang up on, is part of the play."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        t.cast(_Server, self.server).registry.connections += 1

    def log_message(self, *args: t.Any) -> None:
        pass

    def _serve(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        query: t.Dict[str, str] = {}
        for key, value in urllib.parse.parse_qsl(parts.query):
            query[key] = "%s %s" % (query[key], value) if key in query else value
        registry = t.cast(_Server, self.server).registry
        limit = registry.limit(self.command, parts.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length if limit is None else min(length, limit))
        call = Call(self.command, parts.path, query, self.headers, len(body))
        if limit is not None:
            self.close_connection = True
            return registry.dropped(call, body)
        answer, cut = registry.serve(call, body)
        self.send_response_only(answer.status)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        for name, value in dict({"Content-Length": str(len(answer.body))}, **answer.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else answer.body[:cut])
        self.close_connection = self.close_connection or cut is not None

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve
