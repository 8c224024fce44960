# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds through the engine's API: Docker's classic builder, its BuildKit, and Podman.

All are given a context as it is made, build without a name, and tell the ID of what came of it. None goes to a registry for
a base that the host has.
"""

from __future__ import annotations

import itertools
import json
import re
import typing as t

from .._oci.tar import member, padding
from . import buildkit as _buildkit
from .buildlog import Log
from .engine import Engine


class Order(t.NamedTuple):
    """What to build. ``dockerfile`` is its name in the context, ``timestamp`` seconds for all times in the image, ``secrets`` are
    values by ID. ``ssh``, ``cache_from`` and ``cache_to`` are for programs, in their words.
    """

    dockerfile: str = "Dockerfile"
    target: t.Optional[str] = None
    args: t.Mapping[str, str] = {}
    labels: t.Mapping[str, str] = {}
    platform: t.Optional[str] = None
    network: t.Optional[str] = None
    cache: bool = True
    timestamp: t.Optional[int] = None
    secrets: t.Mapping[str, bytes] = {}
    ssh: t.Sequence[str] = ()
    cache_from: t.Sequence[str] = ()
    cache_to: t.Sequence[str] = ()


class Built(t.NamedTuple):
    """What a build came to: an image that inspect finds, or the builder's own error."""

    image_id: t.Optional[str]
    error: t.Optional[str]
    log: Log


Reader = t.Callable[[Log, t.Mapping[str, t.Any]], None]

_CLASSIC_STEP = re.compile(r"Step \d+/\d+ : ")
_CLASSIC_NOTE = re.compile(r" ---> (?!Using cache)|Remov(?:ing|ed) intermediate container |Successfully built ")
_PODMAN_STEP = re.compile(r"(?:\[\d+/\d+\] )?STEP \d+/\d+: ")
_WRAPPING = re.compile(
    r"^(?:failed to build: |failed to solve: |failed to solve with frontend dockerfile\.v0: |rpc error: code = Unknown desc = "
    r"|failed to create LLB definition: )+"
)
"""What BuildKit and its clients put before an error as they hand it on."""
_BARE_ID = re.compile(r"([0-9a-f]{64})\n$")
_PODMAN_NOTE = re.compile(r"(?:COMMIT|--> [0-9a-f]{11}|[0-9a-f]{64}|Successfully built [0-9a-f]+)\n$")


def classic(engine: Engine, order: Order, chunks: t.Iterable[bytes]) -> Built:
    """By the builder that Docker had first. Raises EngineError if the connection breaks, and whatever ``chunks`` raises."""
    query = dict(_query(order), version="1", rm="1", forcerm="1")
    return _built(engine, order, query, chunks, classic_steps())


def podman(engine: Engine, order: Order, chunks: t.Iterable[bytes]) -> Built:
    """By Podman, in Docker's format: OCI's has no HEALTHCHECK and no SHELL. But Docker's has the container's ID in it, and so
    it is OCI's for who wants a ``timestamp``. Raises as ``classic`` does.
    """
    # Without layers it caches nothing. The compatible call takes a short name of a base for one of Docker Hub; it has but one format.
    query = dict(_query(order._replace(network=None)), layers="1", rm="1", forcerm="1", **_podman_network(order.network))
    path = "/build"
    if order.timestamp is not None:
        path = "/v4.0.0/libpod/build"
        query.update(timestamp=str(order.timestamp), outputformat="application/vnd.oci.image.manifest.v1+json")
    if order.secrets:
        # Files at the top of the tar, which the service takes away before it builds: no COPY sees them.
        names = {key: "podman-build-secret-%d" % number for number, key in enumerate(order.secrets)}
        query["secrets"] = json.dumps(["id=%s,src=%s" % pair for pair in names.items()])
        files = [member(names[key].encode("ascii"), b"0", len(value), 0o600) + value + padding(len(value)) for key, value in order.secrets.items()]
        chunks = itertools.chain(files, chunks)
    return _built(engine, order, query, chunks, podman_steps(), path)


def buildkit(engine: Engine, order: Order, chunks: t.Iterable[bytes]) -> Built:
    """By BuildKit inside of Docker, without a session: no secrets, no credentials. Raises as ``classic`` does."""
    query = dict(_query(order), version="2")
    if order.timestamp is not None:
        query["buildargs"] = json.dumps(dict(order.args, SOURCE_DATE_EPOCH=str(order.timestamp)))
        # What the engine exports to its store by default it unpacks at once, and that excludes new times. So it unpacks later; a graph
        # driver's store has no such export.
        image = {"rewrite-timestamp": "true", "unpack": "false", "dangling-name-prefix": "moby-dangling"}
        query["outputs"] = json.dumps([{"Type": "image", "Attrs": image}])
    return _built(engine, order, query, chunks, traced)


def _query(order: Order) -> t.Dict[str, str]:
    query = {"dockerfile": order.dockerfile, "buildargs": json.dumps(order.args), "labels": json.dumps(order.labels)}
    if not order.cache:
        query["nocache"] = "1"
    more = {"target": order.target, "platform": order.platform, "networkmode": order.network}
    query.update((name, value) for name, value in more.items() if value)
    return query


def _podman_network(network: t.Optional[str]) -> t.Dict[str, str]:
    """Podman takes no network by its name where Docker does, and says nothing."""
    if network in (None, "default"):
        return {}
    if network == "none":
        return {"networkmode": "NetworkDisabled"}
    where = {"Host": True} if network == "host" else {"Path": network}
    return {"nsoptions": json.dumps([dict(where, Name="network")])}


def _built(
    engine: Engine, order: Order, query: t.Mapping[str, str], chunks: t.Iterable[bytes], read: Reader, path: str = "/build"
) -> Built:
    log = Log()
    headers = {"Content-Type": "application/x-tar"}
    image_id = error = None
    with engine.transport.request("POST", path, query, headers, chunks) as answer:
        if answer.status >= 400:
            return Built(None, answer.reason(), log)
        for message in answer.messages():
            read(log, message)
            error = error or message.get("error")
            image_id = _image_id(message) or image_id
    return verified(engine, image_id, str(error).strip() if error else None, log)


def _image_id(message: t.Mapping[str, t.Any]) -> t.Optional[str]:
    aux = message.get("aux")
    if isinstance(aux, dict):
        return aux.get("ID")
    # Podman's own call names it in its last line alone.
    bare = _BARE_ID.match(str(message.get("stream") or ""))
    return "sha256:" + bare.group(1) if bare else None


def verified(engine: Engine, image_id: t.Optional[str], error: t.Optional[str], log: Log) -> Built:
    """An ID is believed when the engine finds an image under it."""
    if error:
        return Built(None, _WRAPPING.sub("", error), log)
    if not image_id:
        return Built(None, "the builder ended without an image", log)
    found = engine.inspect(image_id)
    if not found:
        return Built(None, "the builder says that it made %s, and the engine has no such image" % image_id, log)
    return Built(str(found["Id"]), None, log)


def classic_steps() -> Reader:
    """Reads Docker's first builder."""
    return _Steps(_CLASSIC_STEP, _CLASSIC_NOTE)


def podman_steps() -> Reader:
    """Reads Podman."""
    return _Steps(_PODMAN_STEP, _PODMAN_NOTE)


class _Steps:
    """Reads a builder that runs one step after the other, and announces each in a message of its own."""

    def __init__(self, step: t.Pattern[str], note: t.Pattern[str]) -> None:
        self._step = step
        self._note = note
        self._now = ""
        self._headed = True

    def __call__(self, log: Log, message: t.Mapping[str, t.Any]) -> None:
        text = str(message.get("stream") or "")
        headed, self._headed = self._headed, True
        if self._step.match(text):
            self._now = text.strip()
            self._headed = text.endswith("\n")
            log.step(self._now, self._now)
        elif self._note.match(text):
            log.end(self._now)
        elif headed or text != "\n":
            log.write(self._now, text.encode())
        if message.get("error"):
            log.fail(self._now)


def traced(log: Log, message: t.Mapping[str, t.Any]) -> None:
    """Reads BuildKit."""
    if message.get("id") != "moby.buildkit.trace":
        return
    status = _buildkit.decode(str(message.get("aux")))
    for vertex in status.vertexes:
        if vertex.started:
            log.step(vertex.digest, ("CACHED " if vertex.cached else "") + vertex.name)
        # Who is stopped because another failed says so too.
        if vertex.error and "context canceled" not in vertex.error:
            log.fail(vertex.digest)
    for output in status.logs:
        log.write(output.vertex, output.data)
    for warning in status.warnings:
        log.write("", b"WARNING: %s\n" % warning.encode())
