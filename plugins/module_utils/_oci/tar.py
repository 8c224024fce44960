# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tars, read from front to back in the forms that writers use, ustar, GNU and pax (POSIX.1-2017, pax, "ustar Interchange Format"),
and the blocks of which one is written.

Python's tarfile takes a damaged header for the end of the archive, and lets a header ask for any amount of memory: it is
for the archives of friends.
"""

from __future__ import annotations

import posixpath
import re
import struct
import typing as t

from .._errors import ArchiveError, shown
from .digest import CHUNK

BLOCK = 512
_ZEROS = b"\0" * BLOCK
_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*")
_LENGTH = re.compile(rb"([0-9]{1,7}) ")
_HEADER = 1 << 20
"""Bytes of the longest name or pax header."""
_MEMBERS = 500000
"""More is no image archive: a layout of 10,000 images has fewer."""

_LONG_NAME, _LONG_TARGET, _PAX, _PAX_FOR_ALL = b"L", b"K", (b"x", b"X"), b"g"
_FILE, _HARD_LINK, _LINK, _FOLDER = (b"0", b"\0", b"7"), b"1", b"2", b"5"


class Member(t.NamedTuple):
    """A file of ``size`` bytes at ``offset``, or a link to the name ``target``, which is empty for files; names are clean."""

    name: str
    target: str
    offset: int
    size: int


class Tar:
    """Iterate for files and links, and ``read`` the bytes of the file that came last; nothing else is read but headers.

    ``length`` is that of a stream which can seek, None for any other. Raises ArchiveError, with ``where``, for a tar that is
    damaged or cut off, a name or link that leads out of it, and whatever is neither file, folder nor link.
    """

    def __init__(self, stream: t.Any, where: str, length: t.Optional[int] = None) -> None:
        self._stream = stream
        self._where = where
        self._length = length
        self._at = 0
        self._end = 0  # of the current member
        self._name = ""

    def read(self, n: int) -> bytes:
        """n bytes of the current file, fewer only where it ends."""
        return self._exactly(min(n, self._end - self._at))

    def __iter__(self) -> t.Iterator[Member]:
        count = 0
        extra: t.Dict[bytes, bytes] = {}
        while True:
            self._skip(self._end + -self._end % BLOCK)
            block = self._exactly(BLOCK)
            if block == _ZEROS:
                return
            kind, size = self._checked(block), self._number(block[124:136])
            if kind in (_LONG_NAME, _LONG_TARGET, _PAX_FOR_ALL, *_PAX):
                data = self._header(size)
                if kind in _PAX:
                    extra.update(self._records(data))
                elif kind != _PAX_FOR_ALL:
                    extra[b"path" if kind == _LONG_NAME else b"linkpath"] = data.partition(b"\0")[0]
                continue
            count += 1
            if count > _MEMBERS:
                raise self._refused("more than %d members: not an image archive" % _MEMBERS)
            self._name = _text(extra[b"path"] if b"path" in extra else _name(block))
            target = _text(extra[b"linkpath"] if b"linkpath" in extra else block[157:257].partition(b"\0")[0])
            if b"size" in extra:
                size = self._number(extra[b"size"], 10)
            extra = {}
            name = clean(self._name, self._where)
            if kind in _FILE and not self._name.endswith("/"):
                self._end = self._at + size
                yield Member(name, "", self._at, size)
            elif kind in (_LINK, _HARD_LINK):
                self._end = self._at
                yield Member(name, self._target(name, target, kind), self._at, 0)
            elif kind == _FOLDER or kind in _FILE:
                self._end = self._at
            else:
                raise self._refused(
                    "%s is a device node, a pipe or a sparse file: an image archive holds plain files, folders and links" % shown(self._name)
                )

    # Headers

    def _checked(self, block: bytes) -> bytes:
        """The type flag of a header whose checksum is right."""
        match = _OCTAL.fullmatch(block[148:156])
        if not match or sum(block) - sum(block[148:156]) + 8 * 32 != int(match.group(1) or b"0", 8):
            raise self._damaged("no header at byte %d" % (self._at - BLOCK))
        return block[156:157]

    def _number(self, field: bytes, base: int = 8) -> int:
        if base == 10:
            if re.fullmatch(b"[0-9]{1,18}", field):
                return int(field)
        elif field[0] == 0x80 and field[1:4] == b"\0\0\0":  # a number of base 256, which GNU writes from 8 GiB on
            return int.from_bytes(field[4:], "big")
        else:
            match = _OCTAL.fullmatch(field)
            if match:
                return int(match.group(1) or b"0", 8)
        raise self._damaged("a number at byte %d is none" % (self._at - BLOCK))

    def _header(self, size: int) -> bytes:
        if size > _HEADER:
            raise self._damaged("a header of %d bytes at byte %d" % (size, self._at))
        data = self._exactly(size)
        self._end = self._at
        return data

    def _records(self, data: bytes) -> t.Dict[bytes, bytes]:
        """``length key=value\\n``, as often as they come; the length is that of all of it."""
        found, at = {}, 0
        while at < len(data):
            match = _LENGTH.match(data, at)
            record = data[match.end():at + int(match.group(1))] if match else b""
            key, equals, value = record.partition(b"=")
            if not match or not equals or not record.endswith(b"\n") or match.end() + len(record) != at + int(match.group(1)):
                raise self._damaged("a pax header before byte %d" % self._at)
            if key.startswith(b"GNU.sparse."):
                raise self._refused("it has a sparse file: an image archive holds plain files, folders and links")
            found[key] = value[:-1]
            at = match.end() + len(record)
        return found

    def _target(self, name: str, target: str, kind: bytes) -> str:
        """Symbolic links start at their own folder, hard ones at the top."""
        base = posixpath.dirname(name) if kind == _LINK else ""
        lands = posixpath.normpath(posixpath.join(base, target))
        if target.startswith("/") or not target or lands == ".." or lands.startswith("../"):
            raise self._refused("the link %s to %s %s" % (shown(name), shown(target), LEAVES))
        return lands

    # The stream

    def _exactly(self, n: int) -> bytes:
        pieces, left = [], n
        while left:
            data = self._stream.read(left)
            if not data:
                raise self._cut(self._at + n - left)
            pieces.append(data)
            left -= len(data)
        self._at += n
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _skip(self, to: int) -> None:
        if self._length is None:
            while self._at < to:
                self._exactly(min(CHUNK, to - self._at))
        elif to > self._length:
            raise self._cut(self._length)
        elif to > self._at:
            self._stream.seek(to)
            self._at = to

    def _cut(self, at: int) -> ArchiveError:
        if not self._at:
            return self._damaged("it has no header" if at else "it is empty")
        return self._damaged("it ends in the middle of %s" % shown(self._name) if at < self._end else "it has no end")

    def _damaged(self, why: str) -> ArchiveError:
        return ArchiveError("%s: not a tar archive, or not all of it (%s)" % (self._where, why), "make or copy it again")

    def _refused(self, why: str) -> ArchiveError:
        return ArchiveError("%s: %s" % (self._where, why))


LEAVES = "leads out of the archive: it is refused, get the archive from somebody you trust"


def clean(name: str, where: str) -> str:
    """A name without ``.`` and doubled slashes; raises ArchiveError if it leads out of the archive."""
    if name.startswith("/") or ".." in name.split("/"):
        raise ArchiveError("%s: the name %s %s" % (where, shown(name), LEAVES))
    return posixpath.normpath(name)


def _name(block: bytes) -> bytes:
    name, prefix = block[:100].partition(b"\0")[0], block[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


# Writing


END = b"\0" * (2 * BLOCK)


def padding(size: int) -> bytes:
    """What follows the bytes of a file."""
    return b"\0" * (-size % BLOCK)


def header(name: str, size: int) -> bytes:
    """The header of a plain file, the same on every Python (tarfile's is not): mode 0644, time 0, owned by nobody."""
    return _block(name.encode("ascii"), _FILE[0], size, 0o644)


def member(name: bytes, kind: bytes, size: int, mode: int, target: bytes = b"", device: t.Tuple[int, int] = (0, 0)) -> bytes:
    """The headers of whatever has a type flag, as ``header`` has them; a name or target of more than 100 bytes has one of its own, as GNU writes it."""
    return _long(_LONG_NAME, name) + _long(_LONG_TARGET, target) + _block(name, kind, size, mode, target, device)


def _long(kind: bytes, text: bytes) -> bytes:
    return _block(b"././@LongLink", kind, len(text) + 1, 0o644) + text + b"\0" + padding(len(text) + 1) if len(text) > 100 else b""


def _block(name: bytes, kind: bytes, size: int, mode: int, target: bytes = b"", device: t.Optional[t.Tuple[int, int]] = None) -> bytes:
    """From 8 GiB on ``size`` is a number of base 256, as GNU writes it and all readers read it."""
    length = b"%011o" % size if size < 8 << 30 else b"\x80" + size.to_bytes(11, "big")
    head = struct.pack("100s8s8s8s12s12s", name, b"%07o" % mode, b"0000000", b"0000000", length, b"0" * 11)
    numbers = [b"%07o" % number for number in device] if device else [b"", b""]
    tail = struct.pack("1s100s8s32s32s8s8s167s", kind, target, b"ustar\x0000", b"", b"", *numbers, b"")
    return head + b"%06o\0 " % (sum(head) + sum(tail) + 8 * ord(" ")) + tail
