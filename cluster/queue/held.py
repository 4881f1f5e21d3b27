"""A failed queue that is held: its messages in their order, of which what is not taken out returns."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pika.exceptions import AMQPError, ChannelClosedByBroker

from scripts.amqp.broker import explain, redacted
from scripts.amqp.queues import NOT_THERE
from scripts.errors import ClusterError, ServiceAway

# So much is on its way at a time: the broker reads it into its memory, however slowly it is taken.
_ON_THE_WAY_BYTES = 16 * 1024 * 1024
_FIRST_MESSAGES = 10
_MOST_MESSAGES = 2000

# How long returned messages may take until they are in the queue again.
_BACK_S = 10.0
_LOOK_EVERY_S = 0.02
_REST_S = 0.2
# A broker that has sent nothing for so long is asked whether anything is left, or is given up.
_QUIET_S = 3.0
_SILENT_S = 60.0


class Delivered(NamedTuple):
    """A message as the broker delivered it; `tag` is its delivery tag."""

    tag: int
    properties: Any
    body: bytes


@dataclass
class _Part:
    """A subscription: how many messages it brings, and the delivery tags of those that are not settled."""

    size: int
    came: int = 0
    is_over: bool = False
    unsettled: set[int] = field(default_factory=set)


@contextmanager
def losses(url: str) -> Iterator[None]:
    """Turn the loss of the connection into ServiceAway."""
    try:
        yield
    except AMQPError as error:
        raise ServiceAway(
            f"the connection to {redacted(url)} is lost: {explain(error)}; what was not done yet is in the failed "
            "queue still, and the same command goes on"
        ) from error


def look(connection: Any, name: str, url: str) -> Any:
    """Return what the broker says of a queue; None where it is not there."""
    channel = connection.channel()
    try:
        found = channel.queue_declare(name, passive=True).method
    except ChannelClosedByBroker as refused:
        if refused.reply_code != NOT_THERE or "no queue" not in refused.reply_text:
            raise ClusterError(f"queue {name!r} at {redacted(url)}: {explain(refused)}") from refused
        return None
    channel.close()
    return found


class Held:
    """The messages of a failed queue that were there at the beginning, `count` in all.

    Each subscription brings a set number and is cancelled when all of that is here. So nothing is on its way when
    messages return, which would come before them, and is counted twice by the broker; and no more than that number is
    read into the broker's memory. `out`: how many of them were taken out.
    """

    def __init__(self, connection: Any, url: str, name: str, count: int) -> None:
        self.name, self.count, self.out = name, count, 0
        self._connection, self._url = connection, url
        self._channel = connection.channel()
        self._begin()

    def _begin(self) -> None:
        self._parts: list[_Part] = []
        self._waiting: deque[Delivered] = deque()
        self._came = self._bytes = 0
        self._taken_out: list[int] = []

    def messages(self, wait_s: float = 0.1) -> Iterator[Delivered | None]:
        """Yield the messages in their order, and None where none has come in a while.

        Raises:
            ClusterError: another process takes some of them.
            ServiceAway: the broker sends nothing.
        """
        quiet_since = time.monotonic()
        while True:
            if self._waiting:
                quiet_since = time.monotonic()
                yield self._waiting.popleft()
                continue
            if self._came >= self.count:
                return
            with losses(self._url):
                if not self._parts or self._parts[-1].came >= self._parts[-1].size:
                    self._subscribe()
                self._connection.process_data_events(wait_s)
                is_quiet = not self._waiting and time.monotonic() - quiet_since > _QUIET_S
                if is_quiet and self._is_all(quiet_since):
                    return
            if not self._waiting:
                yield None

    def take_out(self, tags: Iterable[int]) -> None:
        """Settle messages for good; the broker is told once their subscription is over."""
        before = len(self._taken_out)
        self._taken_out += tags
        self.out += len(self._taken_out) - before
        with losses(self._url):
            self._acknowledge()

    def beat(self) -> None:
        """Let the connection live while nothing is taken from it."""
        with losses(self._url):
            self._connection.process_data_events(0)

    def give_back(self) -> None:
        """Let all that is not taken out return, in its order; from the beginning on it can be had again."""
        if not self._channel.is_open:
            return
        if self._parts and not self._parts[-1].is_over:
            self._await_rest()
            self._end_part()
        self._acknowledge()
        kept = [part for part in self._parts if part.unsettled]
        for part in kept:
            self._channel.basic_nack(max(part.unsettled), multiple=True)
        self._begin()
        deadline = time.monotonic() + _BACK_S
        while kept and time.monotonic() < deadline and self._is_held():
            self._connection.sleep(_LOOK_EVERY_S)

    def _is_held(self) -> bool:
        """Tell whether anybody has messages of it: a quorum queue counts a consumer as long as it has some."""
        found = look(self._connection, self.name, self._url)
        return bool(found and found.consumer_count)

    def _subscribe(self) -> None:
        if self._parts:
            self._end_part()
        mean = self._bytes // self._came if self._came else 0
        size = min(_MOST_MESSAGES, _ON_THE_WAY_BYTES // max(mean, 1)) if self._came else _FIRST_MESSAGES
        part = _Part(max(1, min(size, self.count - self._came)))
        self._parts.append(part)

        def came(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
            part.came += 1
            part.unsettled.add(method.delivery_tag)
            self._came += 1
            self._bytes += len(body)
            self._waiting.append(Delivered(method.delivery_tag, properties, body))

        self._channel.basic_qos(prefetch_count=part.size)
        self._channel.basic_consume(self.name, came, consumer_tag=f"part-{len(self._parts)}")

    def _end_part(self) -> None:
        """End the subscription; what others have put into its place meanwhile is no part of it."""
        self._channel.basic_cancel(f"part-{len(self._parts)}")
        self._parts[-1].is_over = True
        self._acknowledge()

    def _await_rest(self) -> None:
        """Wait for what is on its way."""
        part, deadline = self._parts[-1], time.monotonic() + _QUIET_S
        while part.came < part.size and time.monotonic() < deadline:
            self._connection.process_data_events(_REST_S)

    def _acknowledge(self) -> None:
        tags, self._taken_out = self._taken_out, []
        for tag in tags:
            part = next(part for part in self._parts if tag in part.unsettled)
            if part.is_over:
                self._channel.basic_ack(tag)
                part.unsettled.remove(tag)
            else:
                self._taken_out.append(tag)

    def _is_all(self, quiet_since: float) -> bool:
        """Tell whether nothing is left to come."""
        found = look(self._connection, self.name, self._url)
        own = sum(1 for part in self._parts if part.unsettled or not part.is_over)
        if found and found.consumer_count > own:
            raise ClusterError(f"another process has begun to take from {self.name!r}: stop it, and try again")
        if time.monotonic() - quiet_since > _SILENT_S:
            raise ServiceAway(f"the broker at {redacted(self._url)} has sent nothing for {_SILENT_S:.0f} s")
        return not (found and found.message_count)
