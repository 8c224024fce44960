# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Digests: ``algorithm:hex`` of exact bytes (image-spec, descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re
import typing as t

from .._errors import BlobMismatch, InvalidInput, masked, shown

CHUNK = 1 << 20

_REGISTERED = {"sha256": 64, "sha512": 128}
_SHAPE = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)")


class Digest(str):
    """A checked digest; a plain ``str`` to JSON, dicts and messages."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Raise InvalidInput unless text is a sha256 or sha512 digest in lower-case hex."""
        match = _SHAPE.fullmatch(text) if isinstance(text, str) else None
        if not match:
            raise InvalidInput("%s is not a digest: write algorithm:hex, for example sha256: and 64 hex digits" % shown(repr(masked(text))))
        algorithm, encoded = match.groups()
        if algorithm not in _REGISTERED:
            raise InvalidInput("%s: digest algorithm %s is not supported: use sha256 or sha512" % (shown(text), shown(algorithm)))
        if not re.fullmatch("[0-9a-f]{%d}" % _REGISTERED[algorithm], encoded):
            raise InvalidInput("%s: a %s digest has %d lower-case hex digits" % (shown(text), algorithm, _REGISTERED[algorithm]))
        return cls(text)

    @classmethod
    def of(cls, data: bytes) -> Digest:
        return cls("sha256:" + hashlib.sha256(data).hexdigest())

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """For messages: the algorithm and 12 digits, as engines print it."""
        return "%s:%s" % (self.algorithm, self.hex[:12])


def hashing(digest: str) -> t.Any:
    """A fresh hashlib object of the algorithm that digest names."""
    return hashlib.new(digest.partition(":")[0])


class Verified:
    """A binary reader that proves digest and size when its end is reached.

    ``read(n)`` returns at most n bytes (all that is left for -1). Raises BlobMismatch as soon as more than ``size`` bytes
    come, or at the end if they are fewer or hash to something else. ``what`` names the blob in that message.
    """

    def __init__(self, stream: t.BinaryIO, digest: str, size: int, what: str) -> None:
        self._stream = stream
        self._hash = hashing(digest)
        self._digest = digest
        self._size = size
        self._seen = 0
        self._what = what

    def read(self, n: int = -1) -> bytes:
        if n < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        # One byte more than promised tells a longer blob, however long it is.
        data = self._stream.read(min(n, self._size - self._seen + 1))
        self._hash.update(data)
        self._seen += len(data)
        if self._seen > self._size or (self._seen < self._size and not data and n):
            found = "more" if self._seen > self._size else "only %d" % self._seen
            raise self._damaged("%s has %s bytes where its descriptor says %d" % (self._digest, found, self._size))
        if self._seen == self._size:
            digest = "%s:%s" % (self._hash.name, self._hash.hexdigest())
            if digest != self._digest:
                raise self._damaged("its bytes are %s, not %s as promised" % (digest, self._digest))
        return data

    def _damaged(self, why: str) -> BlobMismatch:
        return BlobMismatch("%s: %s: the archive is damaged, make or copy it again" % (self._what, why))


def drain(stream: t.Any) -> int:
    """Read a stream to its end, a megabyte at a time; return the number of bytes."""
    total = 0
    while True:
        data = stream.read(CHUNK)
        if not data:
            return total
        total += len(data)
