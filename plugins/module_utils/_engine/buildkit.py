# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""BuildKit's progress as the engine passes it on: one StatusResponse of protobuf's wire format a message, in base64.

Of it only what tells a user what happened is read: steps, what they print, how they end, and warnings.
"""

from __future__ import annotations

import base64
import typing as t


class Vertex(t.NamedTuple):
    """A step as it stands: told again whenever that changes."""

    digest: str
    name: str
    cached: bool
    started: bool
    error: str


class Output(t.NamedTuple):
    """Something that a step printed, cut anywhere."""

    vertex: str
    data: bytes


class Status(t.NamedTuple):
    vertexes: t.Tuple[Vertex, ...] = ()
    logs: t.Tuple[Output, ...] = ()
    warnings: t.Tuple[str, ...] = ()


Message = t.Dict[int, t.List[t.Union[int, bytes]]]


def decode(text: str) -> Status:
    """What a ``moby.buildkit.trace`` says; nothing, if it is not readable: progress fails no build."""
    try:
        message = _message(base64.b64decode(text, validate=True))
        return Status(
            vertexes=tuple(_vertex(_message(one)) for one in _parts(message, 1)),
            logs=tuple(Output(_text(log, 1), b"".join(_parts(log, 4))) for log in map(_message, _parts(message, 3))),
            warnings=tuple(_text(_message(one), 3) for one in _parts(message, 4)),
        )
    except ValueError:
        return Status()


def _vertex(message: Message) -> Vertex:
    return Vertex(_text(message, 1), _text(message, 3), any(message.get(4, ())), bool(_parts(message, 5)), _text(message, 7))


def _text(message: Message, number: int) -> str:
    return b"".join(_parts(message, number)[-1:]).decode("utf-8", "replace")


def _parts(message: Message, number: int) -> t.List[bytes]:
    return [value for value in message.get(number, ()) if isinstance(value, bytes)]


def _message(data: bytes) -> Message:
    """The fields by number, each with its values in order; raises ValueError."""
    found: Message = {}
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value: t.Union[int, bytes]
        if key & 7 == 0:
            value, at = _varint(data, at)
        else:
            length, at = _length(data, at, key & 7)
            value, at = data[at:at + length], at + length
            if at > len(data):
                raise ValueError("a field goes on after the end")
        found.setdefault(key >> 3, []).append(value)
    return found


def _length(data: bytes, at: int, kind: int) -> t.Tuple[int, int]:
    if kind == 2:
        return _varint(data, at)
    if kind in (1, 5):
        return (8 if kind == 1 else 4), at
    raise ValueError("wire type %d" % kind)


def _varint(data: bytes, at: int) -> t.Tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("a number has no end")
