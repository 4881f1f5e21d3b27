"""Values of headers that pika would change or fail on, kept as they came.

pika cuts doubles to whole numbers and cannot write them, mixes up the signs of long integers (1.3.2), turns a string
that is not UTF-8 into another type, and raises on a timestamp after the year 9999 and on lists in lists in lists by
the hundred. That ends the connection: every worker would fall over such a message for ever.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from pika import data

# The header with the number of an item, as the line of a file has it.
ITEM = "x-cluster-item"

# AMQP 0-9-1 as RabbitMQ speaks it: the kinds of a fixed size that are kept verbatim, and how to read them.
_FIXED = {
    b"b": ">b", b"B": ">B", b"s": ">h", b"u": ">H", b"i": ">I", b"l": ">q", b"L": ">q",
    b"f": ">f", b"d": ">d", b"T": ">Q", b"D": ">Bi",
}  # fmt: skip

# Lists and tables that are nested deeper than this are kept verbatim: pika reads each level by a call in a call.
_DEEPEST = 32


@dataclass(frozen=True)
class Field:
    """A header's value: `raw` with its kind in front, as it is on the wire, and `value` for people."""

    raw: bytes
    value: Any

    def __str__(self) -> str:
        return str(self.value)


_depth = 0  # of the list or table that is being read
_pika_decode = data.decode_value
_pika_encode = data.encode_value


def short_string(text: str) -> bytes:
    """Encode a text of at most 255 bytes as AMQP has names and ids: its length, then its bytes."""
    data = text.encode()
    return bytes((len(data),)) + data


def keep_fields() -> None:
    """Make pika, in this process, read such values as Field and write a Field as it came."""
    data.decode_value = _decode
    data.encode_value = _encode


def _decode(encoded: bytes, offset: int) -> tuple[Any, int]:
    kind = encoded[offset : offset + 1]
    if shape := _FIXED.get(kind):
        end = offset + 1 + struct.calcsize(shape)
        parts = struct.unpack(shape, encoded[offset + 1 : end])
        return Field(encoded[offset:end], parts[0] if len(parts) == 1 else parts[1] / 10 ** parts[0]), end
    if kind in (b"A", b"F"):
        return _nested(encoded, offset)
    value, end = _pika_decode(encoded, offset)
    if kind == b"S" and isinstance(value, bytes):
        return Field(encoded[offset:end], value), end
    return value, end


def _nested(encoded: bytes, offset: int) -> tuple[Any, int]:
    global _depth
    if _depth == _DEEPEST:
        end = offset + 5 + int(struct.unpack_from(">I", encoded, offset + 1)[0])
        return Field(encoded[offset:end], "(nested too deep)"), end
    _depth += 1
    try:
        value, end = _pika_decode(encoded, offset)
    finally:
        _depth -= 1
    return value, end


def _encode(pieces: list[bytes], value: Any) -> int:
    if isinstance(value, Field):
        pieces.append(value.raw)
        return len(value.raw)
    return int(_pika_encode(pieces, value))
