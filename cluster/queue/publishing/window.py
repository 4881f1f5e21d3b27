"""The accounting of publishing, without a broker: what was sent and is not confirmed yet."""

from __future__ import annotations

from collections import deque
from itertools import chain, takewhile
from operator import attrgetter

from cluster.queue.publishing.items import Item

# Enough in flight to keep a broker busy, and so little that memory stays flat whatever the size of the bodies.
IN_FLIGHT_MESSAGES = 2000
IN_FLIGHT_BYTES = 2 * 1024 * 1024


class Window:
    """Items on their way. Delivery tags count from 1 on each channel, as with RabbitMQ's publisher confirms.

    `again`: what the broker refused for now (nack) or what was open on a channel that is gone, to be sent again.
    `given_up`: what will not be sent again, such as what the broker returned because no such queue is there.
    """

    def __init__(self, messages: int = IN_FLIGHT_MESSAGES, size_bytes: int = IN_FLIGHT_BYTES) -> None:
        self._messages = messages
        self._bytes = size_bytes
        self._in_flight: dict[int, Item] = {}
        self._in_flight_bytes = 0
        self._tag = 0
        self._returned: set[str] = set()
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

    def returned(self, message_id: str) -> None:
        """Note that the broker sent a message back; its confirm, which follows, does not count."""
        self._returned.add(message_id)

    def settled(self, tag: int, multiple: bool, accepted: bool) -> None:
        """Take the broker's ack (`accepted`) or nack for `tag`, or with `multiple` for all up to it."""
        tags = list(takewhile(lambda known: known <= tag, self._in_flight)) if multiple else [tag]
        for known in tags:
            item = self._in_flight.pop(known)
            self._in_flight_bytes -= len(item.body)
            if item.id in self._returned:
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
