# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry's API, over a unix socket or TCP."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional
from urllib.parse import urljoin, urlsplit

from settings import Failure
from variants import Address

INDEX = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
IMAGE = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
ACCEPT = ", ".join(INDEX + IMAGE)
PAGE = 500
THREADS = 8


class Connection(http.client.HTTPConnection):
    """HTTP to an address; with TLS it takes whatever certificate comes: see ``certificate``."""

    def __init__(self, address: Address, tls: bool = False, timeout: float = 10) -> None:
        super().__init__(address.host or "localhost", address.port or None, timeout=timeout)
        self._address, self._tls = address, tls

    def connect(self) -> None:
        if self._address.path:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._address.path)
        else:
            self.sock = socket.create_connection((self.host, self.port), self.timeout)
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.sock = context.wrap_socket(self.sock)

    def certificate(self) -> Optional[bytes]:
        """What the server presented, as DER."""
        return self.sock.getpeercert(binary_form=True) if isinstance(self.sock, ssl.SSLSocket) else None


class Answer(NamedTuple):
    status: int
    headers: Any
    body: bytes

    def __str__(self) -> str:
        return "%d %s" % (self.status, self.body[:500].decode(errors="replace").strip())


class Api:
    """Raises Failure for whatever is neither an answer of the kind asked for nor its absence. Each thread keeps a connection."""

    def __init__(self, address: Address, timeout: float = 600) -> None:
        self._address, self._timeout = address, timeout
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(THREADS)

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_error: Any) -> None:
        self._pool.shutdown()

    def each(self, function: Callable[[Any], Any], items: Iterable[Any]) -> List[Any]:
        """The function's results for all items, several at a time: object stores are far away."""
        return list(self._pool.map(function, items))

    def ask(self, method: str, path: str, headers: Optional[Dict[str, str]] = None) -> Answer:
        for last in (False, True):
            connection = self._connection()
            try:
                connection.request(method, path, headers=headers or {})
                answer = connection.getresponse()
                return Answer(answer.status, answer.headers, answer.read())
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if last or method not in ("GET", "HEAD"):
                    raise Failure("%s %s at the registry: %s" % (method, path, error or type(error).__name__))
        raise AssertionError

    def _connection(self) -> Connection:
        if not hasattr(self._local, "connection"):
            self._local.connection = Connection(self._address, timeout=self._timeout)
        return self._local.connection

    def repositories(self) -> Iterator[str]:
        return self._pages("/v2/_catalog?n=%d" % PAGE, "repositories")

    def tags(self, repository: str) -> Iterator[str]:
        return self._pages("/v2/%s/tags/list" % repository, "tags")

    def resolve(self, repository: str, tag: str) -> Optional[str]:
        """The digest that a tag names."""
        answer = self.ask("HEAD", "/v2/%s/manifests/%s" % (repository, tag), {"Accept": ACCEPT})
        return answer.headers["Docker-Content-Digest"] if self._there(answer, repository, tag, 400, 404) else None

    def manifest(self, repository: str, digest: str) -> Optional[bytes]:
        """None where it is not there, or of a kind that is not served any more (schema 1)."""
        answer = self.ask("GET", "/v2/%s/manifests/%s" % (repository, digest), {"Accept": ACCEPT})
        if not self._there(answer, repository, digest, 400, 404):
            return None
        return proved(answer.body, repository, digest)

    def blob(self, repository: str, digest: str) -> Optional[bytes]:
        """A small one; None if it is not there."""
        answer = self.ask("GET", "/v2/%s/blobs/%s" % (repository, digest))
        return proved(answer.body, repository, digest) if self._there(answer, repository, digest, 404) else None

    def has_blob(self, repository: str, digest: str) -> bool:
        return self._there(self.ask("HEAD", "/v2/%s/blobs/%s" % (repository, digest)), repository, digest, 404)

    def delete(self, repository: str, digest: str) -> None:
        answer = self.ask("DELETE", "/v2/%s/manifests/%s" % (repository, digest))
        if answer.status not in (202, 404):
            raise Failure("%s@%s could not be deleted: %s" % (repository, digest, answer))

    def _pages(self, path: str, name: str) -> Iterator[str]:
        while path:
            answer = self.ask("GET", path)
            if not self._there(answer, path, name, 404):
                return
            yield from json.loads(answer.body.decode())[name] or ()
            found = re.match(r"<([^>]*)>", answer.headers.get("Link") or "")
            target = urlsplit(urljoin(path, found.group(1))) if found else None
            path = "%s?%s" % (target.path, target.query) if target else ""

    @staticmethod
    def _there(answer: Answer, repository: str, what: str, *absent: int) -> bool:
        if answer.status == 200:
            return True
        if answer.status in absent:
            return False
        raise Failure("The registry's storage does not give %s of %s: %s" % (what, repository, answer))


def proved(data: bytes, repository: str, digest: str) -> bytes:
    """The data, which has this digest."""
    algorithm, _colon, wanted = digest.partition(":")
    if hashlib.new(algorithm, data).hexdigest() != wanted:
        raise Failure("%s of %s is damaged in the registry's storage: its bytes have another digest." % (digest, repository))
    return data
