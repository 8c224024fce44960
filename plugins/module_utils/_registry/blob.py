# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs of a registry as streams that go on where they broke off (distribution-spec, "Pulling blobs")."""

from __future__ import annotations

import typing as t

from .._errors import NotInRegistry, RegistryError
from .._oci.manifest import Descriptor
from .._oci.reference import Reference
from .auth import reason
from .failures import Broken, unreachable
from .session import Session, pull
from .transport import Answer, Stream
from .urls import number

_PROGRESS = 1 << 20
"""Bytes after which a connection that broke counts as a new one, not as another try."""


class Blob:
    """A reader from ``offset`` on. A broken stream is asked for the rest; whoever reads it proves the digest.

    ``read`` never gives more than the descriptor's size, plus one byte where the registry would send more. It raises
    NotInRegistry, RegistryDenied or RegistryError.
    """

    def __init__(self, session: Session, reference: Reference, blob: Descriptor, what: str, offset: int = 0) -> None:
        self._session = session
        self._reference = reference
        self._blob = blob
        self._what = what
        self._url = session.api(reference, "blobs/%s" % blob.digest)
        self._at = offset
        self._broken = 0
        self._since = offset
        self._stream: t.Optional[Stream] = None

    def read(self, n: int = -1) -> bytes:
        left = self._blob.size + 1 - self._at
        n = left if n < 0 else min(n, left)
        while n > 0:
            if self._stream is None and self._at >= self._blob.size > 0:
                return b""
            try:
                if self._stream is None:
                    self._stream = self._open()
                data = self._stream.read(n)
                if not data and self._at < self._blob.size:
                    raise Broken("it ended after %d of %d bytes" % (self._at, self._blob.size))
                self._at += len(data)
                return data
            except Broken as error:
                self.close()
                self._broken = 1 if self._at - self._since > _PROGRESS else self._broken + 1
                self._since = self._at
                if self._broken > self._session.http.retries:
                    raise unreachable("%s, %s" % (self._reference.spelling, self._what), self._url, self._broken, error) from None
        return b""

    def close(self) -> None:
        if self._stream:
            self._stream.close()
            self._stream = None

    def _open(self) -> Stream:
        # To its last byte: crane's registry understands no range without an end.
        headers = {"Range": "bytes=%d-%d" % (self._at, self._blob.size - 1)} if self._at else {}
        answer = self._session.http.patiently(
            self._reference.spelling, self._url, lambda: self._session.open(self._reference, self._url, pull(self._reference), headers)
        )
        if isinstance(answer, Answer):
            if answer.status == 404:
                raise NotInRegistry(
                    "%s: %s has not %s (%s), which its manifest names: push the image again"
                    % (self._reference.spelling, self._reference.registry, self._what, reason(answer))
                )
            self._session.judge(self._reference, answer)
            raise RegistryError(
                "%s: %s answers HTTP %d for %s: look at its log" % (self._reference.spelling, self._reference.registry, answer.status, self._what)
            )
        size = number(answer.headers.get("Content-Length", ""))
        skip = self._at if self._at and answer.status == 200 else 0
        if size is not None and size + (self._at - skip) > self._blob.size:
            answer.close()
            raise RegistryError(
                "%s: %s sends %d bytes as %s where the manifest says %d: the registry, or what lies between, is damaged"
                % (self._reference.spelling, self._reference.registry, size + self._at - skip, self._what, self._blob.size)
            )
        while skip:
            # It knows no ranges, and sends all of it again.
            skip -= len(answer.read(min(skip, _PROGRESS))) or skip
        return answer
