"""The messages of a run: what an item's brings to a worker, and what a result brings back."""

from __future__ import annotations

import math
import struct
import time
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pika import BasicProperties

from cluster.queue.publishing.items import Item
from cluster.queue.publishing.sender import PERSISTENT
from cluster.queue.runs.items import Items
from cluster.queue.runs.record import Record
from scripts.amqp.fields import short_string
from scripts.worker import headers

# A number that AMQP encodes in eight bytes, and texts that stand nowhere else.
_MARK = 0x7A5C3E1B2D4F6081
_MARK_TEXT, _MARK_ID = "mark-of-correlation", "mark-of-message-id"

_LARGEST_EXIT = 255

# Each result says this.
_SAID = {headers.ATTEMPT, headers.SECONDS, headers.HOST}

NO_COLUMNS: Mapping[str, str] = MappingProxyType({})


def read_result(properties: Any, body: bytes, items: Items, run: str) -> Record | None:
    """Return the record of a result; None for a message that is no result of these items in this run.

    Its correlation id, which workers give back as it was, says where the item's bytes are (`correlation_id`).
    """
    given = properties.correlation_id
    text, _, checksum = given.rpartition(".") if isinstance(given, str) else ("", "", "")
    if checksum != _checksum(text, run):
        return None
    number, place, offset, length = map(int, text.split("."))
    found = items.input_of(offset, length)
    return record_of(properties, body, number, found, place, items.named(found))


def is_result(properties: Any) -> bool:
    """Tell whether a worker sent this as a result: it says how an attempt went, and is no copy of a message."""
    found = properties.headers or {}
    return found.keys() >= _SAID and headers.FIRST_PUBLISHED not in found


def record_of(
    properties: Any, body: bytes, number: int, item: bytes, place: int = 0, columns: Mapping[str, str] = NO_COLUMNS
) -> Record:  # fmt: skip
    """Return the record of a message that is a result, whoever has sent it: what makes no sense counts as not said."""
    found = properties.headers or {}
    exit_code, attempts = found.get(headers.EXIT), found.get(headers.ATTEMPT)
    reason = _text(found.get(headers.REASON))
    return Record(
        number, place, item, body, reason,
        exit=exit_code if type(exit_code) is int and 0 <= exit_code <= _LARGEST_EXIT else (None if reason else 0),
        attempts=attempts if type(attempts) is int and attempts > 0 else 1,
        seconds=_seconds(found.get(headers.SECONDS)), host=_text(found.get(headers.HOST)),
        stderr=_text(found.get(headers.STDERR)), columns=columns,
    )  # fmt: skip


def _seconds(value: Any) -> float:
    try:
        seconds = float(_text(value) or 0)
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


def correlation_id(run: str, number: int, place: int, offset: int, length: int) -> str:
    """Return the correlation id of an item's message: its number and place, and where its bytes are in the source.

    The checksum at its end tells it from another sender's, which could name an item by a wrong number.
    """
    text = f"{number}.{place}.{offset}.{length}"
    return f"{text}.{_checksum(text, run)}"


def _checksum(text: str, run: str) -> str:
    return f"{zlib.crc32(f'{run}.{text}'.encode()):08x}"


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""


class ItemProperties:
    """Makes the properties of items' messages: who gets the result, and which item it is.

    Of messages without columns all but three values is the same, and encoded once a second.
    """

    def __init__(self, run: str, reply_to: str, items: Items) -> None:
        self._run, self._reply_to, self._items = run, reply_to, items
        self._has_columns = items.columns is not None
        self._made_at = 0

    def __call__(self, item: Item) -> Any:
        """Return the properties of an item's message."""
        place = item.number - 1
        correlation = correlation_id(self._run, item.line, place, item.offset, len(item.body))
        columns = self._items.columns_of(item.body) if self._has_columns else {}
        if columns:
            return self._whole(item.line, correlation, f"{self._run}-{item.line}", columns)
        now = int(time.time())
        if now != self._made_at:
            self._made_at = now
            self._fast = _SplitProperties(self._whole(_MARK, _MARK_TEXT, _MARK_ID, {}))
        self._fast.set(item.line, correlation, f"{self._run}-{item.line}")
        return self._fast

    def _whole(self, number: int, correlation: str, message_id: str, columns: dict[str, bytes]) -> BasicProperties:
        found: dict[str, Any] = {headers.RUN: self._run, headers.ITEM: number}
        if columns:
            found[headers.COLUMNS] = {name: text_or_bytes(value) for name, value in columns.items()}
        return BasicProperties(
            headers=found, delivery_mode=PERSISTENT, timestamp=int(time.time()), reply_to=self._reply_to,
            correlation_id=correlation, message_id=message_id,
        )  # fmt: skip


class _SplitProperties(BasicProperties):  # type: ignore[misc]
    """Encoded properties in which three values change."""

    def __init__(self, marked: BasicProperties) -> None:
        super().__init__()
        encoded = b"".join(marked.encode())
        self._before, rest = encoded.split(struct.pack(">q", _MARK))
        self._middle, rest = rest.split(short_string(_MARK_TEXT))
        self._between, self._after = rest.split(short_string(_MARK_ID))
        self._values: tuple[bytes, bytes, bytes] = (b"", b"", b"")

    def set(self, number: int, correlation: str, message_id: str) -> None:
        """Be those of this item."""
        self.message_id = message_id
        self._values = struct.pack(">q", number), short_string(correlation), short_string(message_id)

    def encode(self) -> list[bytes]:
        """Return the pieces of the frame; pika calls this for each message."""
        number, correlation, message_id = self._values
        return [self._before, number, self._middle, correlation, self._between, message_id, self._after]


def text_or_bytes(value: bytes) -> str | bytes:
    """Return bytes as a header has them: as text where they are UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
