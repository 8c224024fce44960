# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import io

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import BlobMismatch, InvalidInput
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import CHUNK, Digest, Verified, drain, hashing

DATA = b"x" * 1000
SHA256 = "sha256:" + hashlib.sha256(DATA).hexdigest()
SHA512 = "sha512:" + hashlib.sha512(DATA).hexdigest()


class Slowly:
    """A stream that gives few bytes at a time, and counts how many it was asked for."""

    def __init__(self, data, most):
        self.stream, self.most, self.asked = io.BytesIO(data), most, 0

    def read(self, n=-1):
        self.asked = max(self.asked, n)
        return self.stream.read(self.most if n < 0 else min(n, self.most))


@pytest.mark.parametrize("text", [SHA256, SHA512])
def test_a_digest_is_text_with_parts(text):
    digest = Digest.parse(text)
    assert digest == text
    assert "%s:%s" % (digest.algorithm, digest.hex) == text
    assert digest.short == text[: len("sha256:") + 12]
    assert hashing(digest).name == digest.algorithm


def test_of_is_the_sha256_of_bytes():
    assert Digest.of(DATA) == Digest.parse(SHA256)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' is not a digest: write algorithm:hex"),
        (None, "None is not a digest"),
        (7, "7 is not a digest"),
        ("sha256", "is not a digest"),
        (SHA256 + "\n", "is not a digest"),
        ("md5:" + "0" * 32, "digest algorithm md5 is not supported: use sha256 or sha512"),
        ("sha256:abc", "a sha256 digest has 64 lower-case hex digits"),
        (SHA256.replace("sha256:", "sha512:"), "a sha512 digest has 128 lower-case hex digits"),
        ("sha256:" + "A" * 64, "a sha256 digest has 64 lower-case hex digits"),
        ("sha256:../../../etc/passwd", "is not a digest"),
    ],
)
def test_says_what_is_no_digest(text, why):
    with pytest.raises(InvalidInput) as caught:
        Digest.parse(text)
    assert why in str(caught.value)


def test_does_not_repeat_a_megabyte_that_is_no_digest():
    with pytest.raises(InvalidInput) as caught:
        Digest.parse("sha256:" + "!" * 1000000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("digest", [SHA256, SHA512])
@pytest.mark.parametrize("n", [-1, 7, 1000, 5000])
def test_verified_hands_on_what_is_right(digest, n):
    reader = Verified(io.BytesIO(DATA), digest, len(DATA), "layer 1 of app:1")
    assert b"".join(iter(lambda: reader.read(n), b"")) == DATA
    assert reader.read(n) == b""


def test_verified_takes_a_stream_that_gives_less_than_it_was_asked_for():
    assert drain(Verified(Slowly(DATA, 3), SHA256, len(DATA), "layer")) == len(DATA)


def test_verified_knows_the_empty_blob():
    assert drain(Verified(io.BytesIO(), Digest.of(b""), 0, "layer")) == 0


@pytest.mark.parametrize("n", [-1, 7, 1000, CHUNK])
@pytest.mark.parametrize(
    ("data", "size", "why"),
    [
        (DATA[:-1], 1000, "layer 1 of app:1: %s has only 999 bytes where its descriptor says 1000: the archive is damaged" % SHA256),
        (b"", 1000, "has only 0 bytes where its descriptor says 1000"),
        (DATA + b"x", 1000, "has more bytes where its descriptor says 1000"),
        (DATA, 999, "its bytes are sha256:"),
        (DATA[:-1] + b"y", 1000, "not %s as promised: the archive is damaged, make or copy it again" % SHA256),
    ],
)
def test_verified_refuses_what_is_not_the_blob(data, size, why, n):
    reader = Verified(io.BytesIO(data), SHA256, size, "layer 1 of app:1")
    with pytest.raises(BlobMismatch) as caught:
        while reader.read(n):
            pass
    assert why in str(caught.value) or (len(data) > size and "has more bytes" in str(caught.value))


@pytest.mark.parametrize("n", [-1, 1 << 62])
@pytest.mark.parametrize("size", [len(DATA), 1 << 40])
def test_verified_asks_for_no_more_than_one_byte_too_many_nor_for_more_than_it_needs(n, size):
    stream = Slowly(DATA * 2, 1 << 40)
    with pytest.raises(BlobMismatch, match="has more bytes" if size == len(DATA) else "has only 2000 bytes"):
        reader = Verified(stream, SHA256, size, "layer")
        while reader.read(n):
            pass
    assert stream.asked <= size + 1


def test_drain_counts():
    assert drain(io.BytesIO(b"x" * (CHUNK + 1))) == CHUNK + 1
