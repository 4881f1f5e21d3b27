"""The sending side of publishing: the next message whenever there is a channel, and room for it."""

from __future__ import annotations

import struct
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, takewhile
from operator import attrgetter
from typing import Any

from pika import BasicProperties

from cluster.queue.publishing.items import Item, Position
from cluster.queue.publishing.link import SURELY_TAKEN_BYTES, Target
from cluster.queue.publishing.sources import Source
from scripts.amqp.fields import ITEM, short_string
from scripts.errors import ClusterError

# The file that a message was made from, in a header.
FILE_HEADER = "x-cluster-file"
PERSISTENT = 2

# A number that AMQP encodes in eight bytes, and that stands nowhere else.
_MARK = 0x7A5C3E1B2D4F6082

# Enough in flight to keep a broker busy, and so little that memory stays flat whatever the size of the bodies.
IN_FLIGHT_MESSAGES = 2000
IN_FLIGHT_BYTES = 2 * 1024 * 1024
# How soon a slow pipe is looked at again.
SOURCE_PAUSE_S = 0.02


class Properties(BasicProperties):  # type: ignore[misc]
    """A persistent message's properties. From message to message id and item number change; the rest is encoded once.

    (Encoding all of them each time is a third of the cost of publishing a short message.)
    """

    def __init__(self, headers: Mapping[str, str], is_item: bool = False) -> None:
        ours = {ITEM: _MARK} if is_item else {}
        super().__init__(headers={**headers, **ours} or None, delivery_mode=PERSISTENT, timestamp=int(time.time()))
        self.message_id = uuid.uuid4().hex
        before, self._after = b"".join(super().encode()).split(short_string(self.message_id))
        self._before, *rest = before.split(struct.pack(">q", _MARK)) if is_item else (before,)
        self._between = rest[0] if rest else b""
        self._number = b""

    def set(self, message_id: str, number: int) -> None:
        """Be those of this message; the number counts for an item alone."""
        self.message_id = message_id
        if self._between:
            self._number = struct.pack(">q", number)

    def encode(self) -> list[bytes]:
        """Return the pieces of the frame; pika calls this for each message."""
        return [self._before, self._number, self._between, short_string(self.message_id), self._after]


class Window:
    """Items that were sent and are not confirmed yet.

    Delivery tags count from 1 on each channel, as with RabbitMQ's publisher confirms.

    `again`: what the broker refused for now (nack) or what was open on a channel that is gone, to be sent again.
    `given_up`: what will not be sent again, such as what the broker returned because no such queue is there.
    `key` tells items from each other.
    """

    def __init__(
        self, messages: int = IN_FLIGHT_MESSAGES, size_bytes: int = IN_FLIGHT_BYTES,
        key: Callable[[Item], int] = attrgetter("offset"),
    ) -> None:  # fmt: skip
        self._key = key
        self._messages = messages
        self._bytes = size_bytes
        self._in_flight: dict[int, Item] = {}
        self._in_flight_bytes = 0
        self._tag = 0
        self._returned: set[int] = set()
        self.again: deque[Item] = deque()
        self.given_up: list[Item] = []
        self.confirmed = 0
        self.confirmed_bytes = 0
        self.largest_confirmed_bytes = 0

    def __len__(self) -> int:
        return len(self._in_flight)

    def has_room(self) -> bool:
        """Tell whether one more may be sent; a large body may go over the limit in bytes."""
        return len(self._in_flight) < self._messages and self._in_flight_bytes < self._bytes

    def is_low(self) -> bool:
        """Tell whether a quarter of it is free: sending more then makes a few large writes, not many small ones."""
        return 4 * len(self._in_flight) <= 3 * self._messages and 4 * self._in_flight_bytes <= 3 * self._bytes

    def sent(self, item: Item) -> None:
        """Note that `item` was published as the next message of the channel."""
        self._tag += 1
        self._in_flight[self._tag] = item
        self._in_flight_bytes += len(item.body)

    def returned(self, keys: Iterable[int]) -> None:
        """Note that the broker sent the message of these keys back; its confirm, which follows, does not count."""
        self._returned.update(keys)

    def settled(self, tag: int, multiple: bool, accepted: bool) -> None:
        """Take the broker's ack (`accepted`) or nack for `tag`, or with `multiple` for all up to it."""
        tags = list(takewhile(lambda known: known <= tag, self._in_flight)) if multiple else [tag]
        for known in tags:
            item = self._in_flight.pop(known)
            self._in_flight_bytes -= len(item.body)
            if self._returned and self._key(item) in self._returned:
                self.given_up.append(item)
            elif accepted:
                self.confirmed += 1
                self.confirmed_bytes += len(item.body)
                self.largest_confirmed_bytes = max(self.largest_confirmed_bytes, len(item.body))
            else:
                self.again.append(item)

    def channel_lost(self) -> None:
        """Begin the tags anew, and send again what is in flight, which may or may not have arrived."""
        self.again.extendleft(reversed(self._in_flight.values()))
        self._in_flight.clear()
        self._in_flight_bytes = self._tag = 0
        self._returned.clear()

    def give_up_from(self, refused: Item) -> None:
        """Keep of what waits to be sent again only what comes before `refused`."""
        self.given_up += [item for item in self.again if item.offset >= refused.offset]
        self.again = deque(item for item in self.again if item.offset < refused.offset)

    def first_open(self) -> Item | None:
        """Return the first item of the input that was sent and is not confirmed."""
        not_confirmed = chain(self._in_flight.values(), self.again, self.given_up)
        return min(not_confirmed, key=attrgetter("offset"), default=None)


class Sender:
    """Sends a source's messages, what must be sent again first; calls `done` when nothing is left or in flight.

    `channel` is there while messages can go out; `is_over`: the source gives no more; with an `error` it ended too
    early. `allowance`: how many more may be taken from the source for now; None: all.
    """

    def __init__(self, source: Source, target: Target, at: Position, loop: Any, done: Callable[[], None]) -> None:
        self.window = Window(key=source.key)
        self.allowance: int | None = None
        self.is_stopped = False
        self.is_paused = False
        self.is_over = False
        self.error: ClusterError | None = None
        self._source = source
        self._target = target
        self._begin = at
        self._items = source.start(at)
        self._last: Item | None = None
        self._loop = loop
        self._done = done
        self.channel: Any = None
        self._properties = Properties(target.headers, source.has_items)
        self._made_at = time.monotonic()

    def use(self, channel: Any) -> None:
        """Send on this channel, in confirm mode, from now on."""
        self.channel = channel
        self.fill()

    def lose_channel(self) -> None:
        """Send what is in flight again on the next channel."""
        self.channel = None
        self.window.channel_lost()

    def end_before(self, item: Item | None) -> None:
        """Take nothing more from the source, and send nothing again that comes after `item`."""
        self.is_over = True
        if item:
            self.window.give_up_from(item)

    def pause(self, pause_s: float) -> None:
        """Send nothing for a while."""

        def go_on() -> None:
            self.is_paused = False
            self.fill()

        if not self.is_paused:
            self.is_paused = True
            self._loop.call_later(pause_s, go_on)

    def fill(self) -> None:
        """Send as much as there is room for."""
        if self.channel is None or self.is_paused:
            return
        if time.monotonic() - self._made_at > 1:  # of a new second is the timestamp, too
            self._properties = Properties(self._target.headers, self._source.has_items)
            self._made_at = time.monotonic()
        self._send()
        if not len(self.window) and (self.is_stopped or (self.is_over and not self.window.again)):
            self._done()

    def position(self) -> Position:
        """Return the beginning of the first message that is not confirmed, else of the next one of the source."""
        if item := self.window.first_open():
            return Position(item.offset, item.line, item.number)
        last = self._last
        return Position(last.end, last.next_line, last.number + 1) if last else self._begin

    def progress(self) -> str:
        """Return the end of an error: how much is confirmed, and the first message that is not."""
        if not (self._last or self.error):
            return ""
        confirmed = f"{self._begin.number - 1 + self.window.confirmed:,}"
        total = f" of {self._source.messages:,}" if self._source.messages else ""
        return f"; confirmed: {confirmed}{total}, first not confirmed: {self._source.place(self.position().line)}"

    def _send(self) -> None:
        publish, queue, window = self.channel.basic_publish, self._target.queue, self.window
        while window.has_room():
            item = self._next()
            if item is None:
                break
            if len(window) and self._may_be_refused(item):
                window.again.appendleft(item)
                break
            publish("", queue, item.body, self._properties_of(item), True)
            window.sent(item)

    def _properties_of(self, item: Item) -> Any:
        if self._source.properties:
            return self._source.properties(item)
        properties = self._properties
        if item.file:
            properties = Properties({**self._target.headers, FILE_HEADER: item.file}, self._source.has_items)
        properties.set(self._source.id_of(item), item.line)
        return properties

    def _next(self) -> Item | None:
        """Return the next message to send; None where there is none, or none yet."""
        if self.is_stopped:
            return None
        if self.window.again:
            return self.window.again.popleft()
        if self.is_over or self.allowance == 0:
            return None
        try:
            item = next(self._items)
        except StopIteration:
            self.is_over = True
            return None
        except ClusterError as error:
            self.is_over, self.error = True, error
            return None
        if item is None:
            self.pause(SOURCE_PAUSE_S)
        elif self.allowance is not None:
            self.allowance -= 1
        self._last = item or self._last
        return item

    def _may_be_refused(self, item: Item) -> bool:
        """With its refusal the channel ends, and what is in flight beside it would be sent twice: so it goes alone."""
        taken = max(SURELY_TAKEN_BYTES, self._source.largest_bytes, self.window.largest_confirmed_bytes)
        return len(item.body) > taken
