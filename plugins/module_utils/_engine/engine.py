# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine: who holds, loads, tags, pulls and removes images on a host.

The same calls serve Docker and Podman's compatible API; what differs between their stores is in ``stores.py``.
"""

from __future__ import annotations

import json
import threading
import typing as t
import urllib.parse

from .._errors import EngineError
from .._oci import platform as _platform
from .._oci.reference import Reference
from . import refusals
from .transport import Response, Transport

CLASSIC, CONTAINERD, PODMAN = "classic", "containerd", "podman"


class Loaded(t.NamedTuple):
    """What ``load`` came to: the engine's own error, or None if it reported none. Success is what inspect says."""

    error: t.Optional[str]


class Engine:
    """Connected on creation; raises EngineNotFound or EngineDenied.

    ``store`` is ``classic`` (graph driver), ``containerd`` or ``podman``; ``api`` the (major, minor) of its API,
    ``libpod`` that of Podman, else (0, 0).
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.url = transport.url
        self._naming = threading.Lock()
        with self._checked("GET", "/_ping") as answer:
            answer.read()
            libpod = answer.headers.get("Libpod-Api-Version")
            self.libpod = _version(libpod or "0")
            self.api = _version(answer.headers.get("Api-Version") or "1.41")
        self.info: t.Dict[str, t.Any] = self._json("GET", "/info")
        status = dict((pair[0], pair[1]) for pair in self.info.get("DriverStatus") or [] if len(pair) == 2)
        if libpod:
            self.store = PODMAN
        else:
            self.store = CONTAINERD if status.get("driver-type") == "io.containerd.snapshotter.v1" else CLASSIC
        self.driver_status = status

    @property
    def platform(self) -> _platform.Platform:
        """What this engine's host runs."""
        return _platform.normalise(self.info.get("OSType") or "linux", self.info.get("Architecture") or "")

    # Looking

    def inspect(self, name: str, platform: t.Optional[_platform.Platform] = None) -> t.Optional[t.Dict[str, t.Any]]:
        """The document of an image by ID, or by a fully normalised name; None where the host has none.

        ``platform`` wants that of an index which the containerd store has (Docker 28 and later, API 1.49).
        """
        query = {"platform": _platform_query(platform)} if platform else None
        with self.transport.request("GET", "/images/%s/json" % _quoted(name), query) as answer:
            if answer.status == 404:
                return None
            return self._ok(answer).json()

    def manifests(self, name: str) -> t.Optional[t.List[t.Dict[str, t.Any]]]:
        """The platforms of an image that the containerd store has or knows of, as Docker 28 and later (API 1.48) list them.

        None where the engine does not tell, or has no such image.
        """
        if self.store != CONTAINERD or self.api < (1, 48):
            return None
        with self.transport.request("GET", "/images/%s/json" % _quoted(name), {"manifests": "1"}) as answer:
            return None if answer.status == 404 else self._ok(answer).json().get("Manifests")

    def images(self, every: bool = False) -> t.List[t.Dict[str, t.Any]]:
        """Summaries of all images; ``every`` adds the intermediate ones of the classic builder."""
        return self._json("GET", "/images/json", {"all": "1"} if every else None) or []

    def history(self, name: str) -> t.List[t.Dict[str, t.Any]]:
        return self._json("GET", "/images/%s/history" % _quoted(name)) or []

    def digest(self, image_id: str) -> t.Optional[str]:
        """Of an image that Podman has, the digest of the manifest or index as which it came: inspect lists all, and not which it
        was. None where the engine has no such call (Docker), or no such image.
        """
        if self.store != PODMAN:
            return None
        with self.transport.request("GET", "/v4.0.0/libpod/images/%s/json" % _quoted(image_id.partition(":")[2])) as answer:
            return self._ok(answer).json().get("Digest") if answer.status != 404 else None

    def containers(self) -> t.List[t.Dict[str, t.Any]]:
        """Summaries of all containers, running or not."""
        return self._json("GET", "/containers/json", {"all": "1"}) or []

    # Changing

    def tag(self, image_id: str, reference: Reference) -> None:
        query = {"repo": reference.name, "tag": reference.tag}
        # Of two names that an image gets at the same time Podman forgets one.
        with self._naming, self._checked("POST", "/images/%s/tag" % _quoted(image_id), query) as answer:
            answer.read()

    def remove(self, name: str, force: bool = False) -> t.List[t.Dict[str, str]]:
        """Remove a name, or an image by ID; what was untagged and deleted, as the engine lists it."""
        return self._json("DELETE", "/images/%s" % _quoted(name), {"force": "1"} if force else None) or []

    def load(self, archive: t.Iterable[bytes]) -> Loaded:
        """Send an archive as it is made. Raises EngineError only if the connection breaks or the archive itself fails."""
        headers = {"Content-Type": "application/x-tar"}
        # Not quiet: so the classic store says every moment that it still works, and silence means something.
        with self.transport.request("POST", "/images/load", None, headers, archive) as answer:
            if answer.status >= 400:
                return Loaded(answer.reason())
            error = None
            for message in answer.messages():
                stream = str(message.get("stream") or "")
                # Docker 28.5's containerd store reports a layer that it lacks as ordinary output.
                error = error or message.get("error") or (stream if "Error unpacking" in stream else None)
            return Loaded(error)

    def export(self, names: t.Sequence[str]) -> Response:
        """A tar stream of these images, to be read and closed by the caller; raises EngineError."""
        return self._checked("GET", "/images/get", {"names": list(names)})

    # Registries, as this engine reaches them

    def distribution(self, reference: Reference, auth: t.Optional[str] = None) -> t.Optional[t.Dict[str, t.Any]]:
        """``Descriptor`` and ``Platforms`` of what a registry has; None where the engine has no such call (Podman).

        ``auth`` is an X-Registry-Auth header. Raises NotInRegistry, RegistryDenied or EngineError.
        """
        if self.store == PODMAN:
            return None
        headers = {"X-Registry-Auth": auth} if auth else {}
        with self.transport.request("GET", "/distribution/%s/json" % _quoted(str(reference)), headers=headers) as answer:
            if answer.status < 400:
                return answer.json()
            raise refusals.of_asking(self.url, self.store == PODMAN, reference, answer.status, answer.reason())

    def pull(self, reference: Reference, platform: t.Optional[str] = None, auth: t.Optional[str] = None, tls_verify: bool = True) -> None:
        """Pull, and say only what failed; whether it worked is what inspect says afterwards.

        ``tls_verify`` false reaches Podman alone: a Docker engine takes that from its own configuration. Raises
        NotInRegistry, RegistryDenied or EngineError.
        """
        headers = {"X-Registry-Auth": auth} if auth else {}
        if self.store == PODMAN:
            path = "/v4.0.0/libpod/images/pull"
            query = {"reference": str(reference), "policy": "always", "tlsVerify": "true" if tls_verify else "false"}
            if platform:
                wanted = _platform.parse(platform)
                query.update(OS=wanted.os, Arch=wanted.architecture, Variant=wanted.variant)
        else:
            path = "/images/create"
            query = {"fromImage": reference.name, "tag": str(reference.digest or reference.tag)}
            if platform:
                query["platform"] = platform
        with self.transport.request("POST", path, query, headers) as answer:
            if answer.status >= 400:
                raise refusals.of_pulling(self.url, self.store == PODMAN, reference, answer.status, answer.reason())
            for message in answer.messages():
                if message.get("error"):
                    raise refusals.of_pulling(self.url, self.store == PODMAN, reference, 0, str(message["error"]))

    def push(
        self, reference: Reference, platform: t.Optional[_platform.Platform] = None, auth: t.Optional[str] = None, tls_verify: bool = True
    ) -> None:
        """Push a name that the host has, and say only what failed; what came of it is for the registry to say.

        ``platform`` counts on Docker 28 and later, ``tls_verify`` with Podman. Raises NotInRegistry, RegistryDenied or EngineError.
        """
        query: t.Dict[str, t.Any] = {"tag": reference.tag}
        if self.store == PODMAN:
            query["tlsVerify"] = "true" if tls_verify else "false"
        elif platform and self.api >= (1, 46):
            query["platform"] = _platform_query(platform)
        # Docker before 28 refuses a push that has no such header at all; to Podman it would say that there is no login.
        headers = {} if self.store == PODMAN and not auth else {"X-Registry-Auth": auth or "e30="}
        with self.transport.request("POST", "/images/%s/push" % _quoted(reference.name), query, headers) as answer:
            if answer.status >= 400:
                raise refusals.of_pushing(self.url, self.store == PODMAN, reference, answer.reason())
            for message in answer.messages():
                if message.get("error"):
                    raise refusals.of_pushing(self.url, self.store == PODMAN, reference, str(message["error"]))

    # Plumbing

    def _json(self, method: str, path: str, query: t.Optional[t.Mapping[str, t.Any]] = None) -> t.Any:
        with self._checked(method, path, query) as answer:
            return answer.json()

    def _checked(self, method: str, path: str, query: t.Optional[t.Mapping[str, t.Any]] = None) -> Response:
        return self._ok(self.transport.request(method, path, query))

    def _ok(self, answer: Response) -> Response:
        if answer.status < 400:
            return answer
        with answer:
            raise EngineError("the engine at %s refused (HTTP %d): %s" % (self.url, answer.status, answer.reason()))


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="/:@")


def _platform_query(platform: _platform.Platform) -> str:
    return json.dumps({key: value for key, value in platform._asdict().items() if value})


def _version(text: str) -> t.Tuple[int, int]:
    major, minor = (text + ".0").split(".")[:2]
    return int(major), int(minor)
