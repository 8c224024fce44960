# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an engine answers to each call, over whichever store it has."""

from __future__ import annotations

import base64
import json
import re
import threading
import typing as t

from ansible_collections.stowage.oci.plugins.module_utils._oci import manifest as _manifest
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse as parse_reference
from ansible_collections.stowage.oci.tests.unit.images import sha256

from . import build, push
from .classic import Classic
from .containerd import Containerd
from .podman import Podman
from .server import Call, Stream
from .store import Document, Record, Refused, Unreadable

Answer = t.Tuple[int, t.Any]


class Daemon:
    """``store`` is ``classic``, ``containerd`` or ``podman``; ``old`` makes the classic one Docker 20.10 instead of 28.

    ``remotes`` are the registries that it can reach: media type and bytes of a manifest or index by reference. What it pushes goes to
    the ``registries`` of ours, by host, and over HTTP to any other.
    ``credentials`` is the (user, password) without which none of them answers; ``info`` is said instead of its own.
    """

    def __init__(self, store: str, old: bool) -> None:
        self.store: t.Any = {"classic": lambda: Classic(old), "containerd": Containerd, "podman": Podman}[store]()
        self.old = old
        self.lock = threading.RLock()
        self.credentials: t.Optional[t.Tuple[str, str]] = None
        self.remotes: t.Dict[str, t.Tuple[str, bytes]] = {}
        self.remote_blobs: t.Dict[str, bytes] = {}
        self.registries: t.Dict[str, t.Any] = {}
        self.info: Document = {}
        self.memory = build.Memory()

    def answer(self, call: Call, body: bytes) -> Answer:
        """Never raises: what is refused is an answer too."""
        try:
            return self._route(call, body)
        except Refused as refused:
            cause = {"cause": refused.message, "response": refused.status} if self.store.name == "podman" else {}
            return refused.status, dict(cause, message=refused.message)

    def _route(self, call: Call, body: bytes) -> Answer:
        if call.path.startswith("/libpod/") and self.store.name != "podman":
            raise Refused(404, "page not found")
        for method, pattern, handler in self._ROUTES:
            match = re.fullmatch(pattern, call.path)
            if method == call.method and match:
                if handler is Daemon._push:
                    return handler(self, call, body, *match.groups())
                with self.lock:
                    return handler(self, call, body, *match.groups())
        raise Refused(404, "page not found" if self.store.name != "podman" else "Not Found")

    def _ping(self, call: Call, body: bytes) -> Answer:
        return 200, b"OK"

    @property
    def headers(self) -> t.Dict[str, str]:
        if self.store.name == "podman":
            return {"Api-Version": "1.41", "Libpod-Api-Version": "4.3.1", "Server": "Libpod/4.3.1 (linux)"}
        return {"Api-Version": "1.41" if self.old else "1.51", "Server": "Docker/%s (linux)" % self.version}

    @property
    def version(self) -> str:
        return "4.3.1" if self.store.name == "podman" else "20.10.24+dfsg1" if self.old else "28.5.2+dfsg4"

    def _info(self, call: Call, body: bytes) -> Answer:
        details = [["Backing Filesystem", "extfs"], ["Supports d_type", "true"], ["Native Overlay Diff", "true"]]
        driver, status, root = {
            "classic": ("overlay2", details, "/var/lib/docker"),
            "containerd": ("overlayfs", [["driver-type", "io.containerd.snapshotter.v1"]], "/var/lib/docker"),
            "podman": ("overlay", details, "/var/lib/containers/storage"),
        }[self.store.name]
        document = {"Driver": driver, "DriverStatus": status, "DockerRootDir": root, "OSType": "linux", "Architecture": "x86_64"}
        return 200, dict(document, Images=len(self.store.records), ServerVersion=self.version, **self.info)

    def _version(self, call: Call, body: bytes) -> Answer:
        name = "Podman Engine" if self.store.name == "podman" else "Engine"
        component = {"Name": name, "Version": self.version, "Details": {}}
        return 200, {"Components": [component], "Version": self.version, "ApiVersion": self.headers["Api-Version"]}

    def _list(self, call: Call, body: bytes) -> Answer:
        return 200, self.store.summaries(call.query.get("all") in ("1", "true"))

    def _inspect(self, call: Call, body: bytes, name: str) -> Answer:
        record = self.store.known(name)
        document = self.store.inspect(record, *_architecture(call)) if self.store.name == "containerd" else self.store.inspect(record)
        if self.store.name == "containerd" and call.query.get("manifests") in ("1", "true"):
            document["Manifests"] = self.store.manifests(record)
        return 200, document

    def _libpod_inspect(self, call: Call, body: bytes, name: str) -> Answer:
        return 200, dict(self.store.summary(self.store.known(name)), Id=self.store.known(name).id[7:])

    def _history(self, call: Call, body: bytes, name: str) -> Answer:
        return 200, self.store.past(self.store.known(name))

    def _tag(self, call: Call, body: bytes, name: str) -> Answer:
        self.store.tag(name, parse_reference("%s:%s" % (call.query["repo"], call.query.get("tag") or "latest")).tagged)
        return 201, b""

    def _remove(self, call: Call, body: bytes, name: str) -> Answer:
        return 200, self.store.remove(name, call.query.get("force") in ("1", "true"))

    def _load(self, call: Call, body: bytes) -> Answer:
        try:
            return 200, Stream(self.store.load(body))
        except Unreadable as error:
            return 200, Stream([_error(str(error))])

    def _export(self, call: Call, body: bytes) -> Answer:
        return 200, self.store.export([self.store.known(name) for name in call.names])

    def _export_one(self, call: Call, body: bytes, name: str) -> Answer:
        return 200, self.store.export([self.store.known(name)])

    # Containers

    def contain(self, document: Document, name: str, state: str) -> str:
        record = self.store.known(document["Image"])
        identity = sha256(name.encode())[7:]
        self.store.containers.append(
            {"Id": identity, "Names": ["/" + name], "Image": document["Image"], "ImageID": record.id, "State": state, "chains": record.chain_ids}
        )
        return identity

    def _create(self, call: Call, body: bytes) -> Answer:
        return 201, {"Id": self.contain(json.loads(body.decode()), call.query["name"], "created"), "Warnings": []}

    def _containers(self, call: Call, body: bytes) -> Answer:
        shown = [one for one in self.store.containers if one["State"] == "running" or call.query.get("all") in ("1", "true")]
        return 200, [{key: value for key, value in one.items() if key != "chains"} for one in shown]

    def _discard(self, call: Call, body: bytes, name: str) -> Answer:
        found = [one for one in self.store.containers if name in (one["Id"], one["Names"][0][1:])]
        if not found:
            raise Refused(404, "No such container: %s" % name)
        self.store.containers.remove(found[0])
        self.store.sweep()
        return 204, b""

    # Registries

    def _authorised(self, call: Call) -> None:
        if self.credentials is None:
            return
        header = call.headers.get("X-Registry-Auth")
        if not header or header == "e30=":
            raise Refused(500, "Head: no basic auth credentials")
        given = json.loads(base64.urlsafe_b64decode(header.replace("+", "-").replace("/", "_") + "=" * (-len(header) % 4)).decode())
        if (given.get("username"), given.get("password")) != self.credentials:
            raise Refused(401, "unauthorized: authentication required")

    def _remote(self, name: str) -> t.Tuple[str, bytes]:
        reference = parse_reference(name)
        key = "%s@%s" % (reference.name, reference.digest) if reference.digest else reference.tagged
        if key not in self.remotes:
            raise Refused(404, "manifest for %s not found: manifest unknown: manifest unknown" % name)
        return self.remotes[key]

    def _distribution(self, call: Call, body: bytes, name: str) -> Answer:
        if self.store.name == "podman":
            raise Refused(404, "Not Found")
        self._authorised(call)
        media_type, raw = self._remote(name)
        document = json.loads(raw.decode())
        platforms = [entry["platform"] for entry in document.get("manifests") or []]
        if media_type == _manifest.DOCKER_MANIFEST:
            config = json.loads(self.remote_blobs[document["config"]["digest"]].decode())
            platforms = [{key: config[key] for key in ("architecture", "os", "variant") if key in config}]
        return 200, {"Descriptor": {"mediaType": media_type, "digest": sha256(raw), "size": len(raw)}, "Platforms": platforms or None}

    def choose(self, name: str, query: t.Mapping[str, str]) -> t.Tuple[str, bytes, bytes]:
        """Media type and bytes of what a registry has under a name, and the manifest that fits the query."""
        media_type, target = self._remote(name)
        manifest = target
        wanted = query.get("Arch") or (query.get("platform") or "linux/amd64").split("/")[1]
        if media_type in _manifest.INDEXES:
            entries = json.loads(target.decode())["manifests"]
            fit = [entry["digest"] for entry in entries if entry["platform"]["architecture"] == wanted]
            if not fit:
                if self.store.name == "containerd":
                    raise Refused(404, "no match for platform in manifest: not found")
                raise Unreadable("no matching manifest for linux/%s in the manifest list entries" % wanted)
            manifest = self.remote_blobs[fit[0]]
        return media_type, target, manifest

    def pull(self, name: str, query: t.Mapping[str, str]) -> Record:
        media_type, target, manifest = self.choose(name, query)
        self.store.pulled(parse_reference(name), target, media_type, manifest, self.remote_blobs)
        return self.store.known(name)

    def _create_image(self, call: Call, body: bytes) -> Answer:
        tag = call.query.get("tag") or "latest"
        name = "%s%s%s" % (call.query["fromImage"], "@" if tag.startswith("sha256:") else ":", tag)
        podman = self.store.name == "podman"
        try:
            self._authorised(call)
            record = self.pull(name, call.query)
        except (Refused, Unreadable) as error:
            if isinstance(error, Refused) and not podman:
                raise
            return 200, Stream([_error(str(error))])
        done = {"status": "Download complete", "progressDetail": {}, "id": record.id[7:19]}
        return 200, Stream([done] if podman else [done, {"status": "Digest: " + sha256(self._remote(name)[1])}])

    def _libpod_pull(self, call: Call, body: bytes) -> Answer:
        try:
            self._authorised(call)
            record = self.pull(call.query["reference"], call.query)
        except (Refused, Unreadable) as error:
            return 200, Stream([{"error": str(error)}])
        return 200, Stream([{"images": [record.id[7:]], "id": record.id[7:]}])

    def _build(self, call: Call, body: bytes) -> Answer:
        return 200, Stream(build.builder(self, build.Sent(call, body)).messages())

    def _push(self, call: Call, body: bytes, name: str) -> Answer:
        """Outside the lock: whoever serves that registry may ask the engine meanwhile."""
        reference = parse_reference("%s:%s" % (name, call.query.get("tag") or "latest"))
        with self.lock:
            record = self.store.find(str(reference))
            if record is None and self.store.name != "podman":
                return 200, Stream([_error("An image does not exist locally with the tag: %s" % name)])
            whole = self.store.name == "containerd" and "platform" not in call.query
            pushed = self.store.pushed_whole if whole else self.store.pushed
            manifest, blobs = pushed(self.store.known(str(reference)), reference)
        try:
            self._authorised(call)
            if reference.registry in self.registries:
                self._take(reference, manifest, blobs)
            else:
                push.push(reference, manifest, blobs, tls_first=self.store.name == "containerd")
        except (OSError, Refused) as error:
            return 200, Stream([_error(str(error))])
        return 200, Stream([{"status": "%s: digest: %s size: %d" % (reference.tag, sha256(manifest), len(manifest))}])

    def _take(self, reference: t.Any, manifest: bytes, blobs: t.Mapping[str, bytes]) -> None:
        """A registry of ours has it now."""
        kind = json.loads(manifest.decode())["mediaType"]
        self.remote_blobs.update(blobs)
        for key in (reference.tagged, "%s@%s" % (reference.name, sha256(manifest))):
            self.remotes[key] = (kind, manifest)
        self.registries[reference.registry].take(reference.repository, reference.tag, kind, manifest, blobs)

    _ROUTES: t.Sequence[t.Tuple[str, str, t.Any]] = (
        ("GET", "/_ping", _ping),
        ("GET", "/info", _info),
        ("GET", "/version", _version),
        ("GET", "/images/json", _list),
        ("GET", "/libpod/images/(.+)/json", _libpod_inspect),
        ("GET", "/images/get", _export),
        ("GET", "/images/(.+)/get", _export_one),
        ("GET", "/images/(.+)/json", _inspect),
        ("GET", "/images/(.+)/history", _history),
        ("POST", "/images/load", _load),
        ("POST", "/images/create", _create_image),
        ("POST", "/libpod/images/pull", _libpod_pull),
        ("POST", "(?:/libpod)?/build", _build),
        ("POST", "/images/(.+)/tag", _tag),
        ("POST", "/images/(.+)/push", _push),
        ("DELETE", "/images/(.+)", _remove),
        ("GET", "/containers/json", _containers),
        ("POST", "/containers/create", _create),
        ("DELETE", "/containers/(.+)", _discard),
        ("GET", "/distribution/(.+)/json", _distribution),
    )


def _architecture(call: Call) -> t.List[str]:
    """That which a query asks for, if any."""
    return [json.loads(call.query["platform"])["architecture"]] if "platform" in call.query else []


def _error(message: str) -> Document:
    return {"errorDetail": {"message": message}, "error": message}
