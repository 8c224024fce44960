# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The redis in which distribution remembers blobs: a few commands of RESP, and forgetting what it remembers."""

from __future__ import annotations

import socket
import ssl
from typing import Any, Dict, Iterator, List, Tuple, Union

from settings import Failure
from variants import Address, tcp

KEYS = ("blobs::*", "repository::*")  # distribution's own; a redis may serve others too
COUNT = 1000
SECONDS = 10
Reply = Union[None, int, bytes, List[Any], "Refused"]


class Refused(Exception):
    """An error that redis answers."""


class Redis:
    """A connection."""

    def __init__(self, address: Address, tls: Dict[str, Any]) -> None:
        self._socket = socket.create_connection((address.host, address.port), SECONDS)
        if tls.get("enabled") or tls.get("certificate") or tls.get("rootcas") or tls.get("clientcas"):
            context = ssl.create_default_context()
            for path in tls.get("rootcas") or tls.get("clientcas") or ():
                context.load_verify_locations(path)
            if tls.get("certificate"):
                context.load_cert_chain(tls["certificate"], tls.get("key"))
            self._socket = context.wrap_socket(self._socket, server_hostname=address.host)
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, *words: Union[str, bytes, int]) -> Any:
        self._socket.sendall(command(*words))
        found = reply(self._file)
        if isinstance(found, Refused):
            raise found
        return found


def command(*words: Union[str, bytes, int]) -> bytes:
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def reply(file: Any) -> Reply:
    line = file.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("redis closed the connection")
    kind, rest = line[:1], line[1:-2]
    if kind == b"+":
        return rest
    if kind == b"-":
        return Refused(rest.decode(errors="replace"))
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == b"-1" else file.read(int(rest) + 2)[:-2]
    if kind == b"*":
        return None if rest == b"-1" else [reply(file) for each in range(int(rest))]
    raise ConnectionError("what answers is no redis")


def reach(settings: Dict[str, Any]) -> None:
    """Failure if it does not let us in."""
    for redis in _each(settings):
        redis.ask("PING")


def flush(settings: Dict[str, Any]) -> int:
    """Forget all that distribution remembers; how many keys that was."""
    gone = 0
    for redis in _each(settings):
        for pattern in KEYS:
            cursor = b"0"
            while True:
                cursor, keys = redis.ask("SCAN", cursor, "MATCH", pattern, "COUNT", COUNT)
                if keys:
                    gone += _forget(redis, keys)
                if cursor == b"0":
                    break
    return gone


def _forget(redis: Redis, keys: List[bytes]) -> int:
    try:
        return redis.ask("UNLINK", *keys)
    except Refused as error:
        if "unknown command" not in str(error):
            raise
        return redis.ask("DEL", *keys)


def addresses(settings: Dict[str, Any]) -> Tuple[str, ...]:
    """Version 2.8 names one, 3 a list."""
    return tuple(settings.get("addrs") or ()) or (str(settings.get("addr")),)


def _each(settings: Dict[str, Any]) -> Iterator[Redis]:
    for given in addresses(settings):
        redis = None
        try:
            redis = Redis(tcp(given if ":" in given else given + ":6379"), settings.get("tls") or {})
            if settings.get("password"):
                redis.ask("AUTH", *([settings["username"]] if settings.get("username") else []), settings["password"])
            if settings.get("db"):
                redis.ask("SELECT", settings["db"])
            yield redis
        except (OSError, Refused) as error:
            raise Failure("The redis at %s, which registry_redis names: %s" % (given, error))
        finally:
            if redis:
                redis.close()
