from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import data

from scripts.amqp import fields as amqp_fields
from scripts.amqp.fields import Field, keep_fields


@pytest.fixture(autouse=True, scope="module")
def kept() -> Iterator[None]:
    keep_fields()
    yield
    data.decode_value, data.encode_value = amqp_fields._pika_decode, amqp_fields._pika_encode


def _string(kind: bytes, value: bytes) -> bytes:
    return kind + struct.pack(">I", len(value)) + value


def _fixed(kind: bytes, size: int) -> Any:
    return st.binary(min_size=size, max_size=size).map(lambda raw: kind + raw)


def _entry(name: str, value: bytes) -> bytes:
    return bytes([len(name.encode())]) + name.encode() + value


# Every kind of value that RabbitMQ knows, as bytes on the wire.
_SIMPLE = st.one_of(
    *(_fixed(kind, size) for kind, size in
      [(b"b", 1), (b"B", 1), (b"s", 2), (b"u", 2), (b"I", 4), (b"i", 4), (b"l", 8), (b"L", 8), (b"f", 4), (b"d", 8),
       (b"T", 8), (b"D", 5)]),
    st.sampled_from([b"t\0", b"t\1", b"V"]),
    st.binary(max_size=20).map(lambda value: _string(b"S", value)),
    st.binary(max_size=20).map(lambda value: _string(b"x", value)),
)  # fmt: skip
_NAMES = st.text(st.characters(codec="utf-8"), max_size=10)


def _tables(values: Any) -> Any:
    return st.dictionaries(_NAMES, values, max_size=4).map(
        lambda table: b"".join(_entry(name, value) for name, value in table.items())
    )


_VALUES = st.recursive(
    _SIMPLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: _string(b"A", b"".join(items))),
        _tables(inner).map(lambda table: _string(b"F", table)),
    ),
    max_leaves=8,
)


@given(_tables(_VALUES))
def test_any_table_goes_through_byte_for_byte(table: bytes) -> None:
    wire = struct.pack(">I", len(table)) + table
    decoded, end = data.decode_table(wire, 0)
    assert end == len(wire)
    pieces: list[bytes] = []
    data.encode_table(pieces, decoded)
    assert b"".join(pieces) == wire


@pytest.mark.parametrize("depth", [31, 32, 33, 20_000])
@pytest.mark.parametrize("kind", [b"A", b"F"])
def test_a_table_of_any_depth_goes_through(kind: bytes, depth: int) -> None:
    value = b"V"
    for _ in range(depth):
        value = _string(kind, value if kind == b"A" else _entry("k", value))
    table = _entry("deep", value) + _entry("next", b"t\1")
    wire = struct.pack(">I", len(table)) + table
    decoded, end = data.decode_table(wire, 0)
    assert end == len(wire)
    assert decoded["next"] is True
    pieces: list[bytes] = []
    data.encode_table(pieces, decoded)
    assert b"".join(pieces) == wire


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        (b"d" + struct.pack(">d", 1.5), 1.5),
        (b"l" + struct.pack(">q", -3), -3),
        (b"T" + struct.pack(">Q", 2**63), 2**63),
        (b"D\x02" + struct.pack(">i", 314), 3.14),
        (_string(b"S", b"\xff"), b"\xff"),
    ],
)
def test_the_value_can_be_read(wire: bytes, value: Any) -> None:
    assert data.decode_value(wire, 0) == (Field(wire, value), len(wire))


def test_plain_values_stay_plain() -> None:
    assert data.decode_value(_string(b"S", "ä".encode()), 0)[0] == "ä"
    assert data.decode_value(b"I" + struct.pack(">i", -7), 0)[0] == -7
    assert data.decode_value(b"t\1", 0)[0] is True
