"""A message as the broker handed it over, and the channel on which alone it can be settled."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any


class Link:
    """A channel that consumes. Its delivery tags mean nothing on any later one: a lost link settles nothing."""

    __slots__ = ("_channel", "_lost")

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._lost = False

    @property
    def open(self) -> bool:
        """Whether deliveries of this link can still be settled."""
        return not self._lost and bool(self._channel.is_open)

    def lose(self) -> None:
        """The channel is gone, and the broker has given its messages to others."""
        self._lost = True

    def ack(self, tag: int) -> None:
        """The message is done with."""
        if self.open:
            self._channel.basic_ack(tag)

    def hand_back(self, tag: int) -> None:
        """The message goes back to the queue. RabbitMQ before 4.3 counts that as a lost delivery."""
        if self.open:
            self._channel.basic_nack(tag, requeue=True)


@dataclass(slots=True, eq=False)
class Delivery:
    """One delivery of one message; `properties` are pika's."""

    link: Link
    tag: int
    redelivered: bool
    routing_key: str
    properties: Any
    body: bytes

    def fingerprint(self) -> tuple[Any, ...]:
        """The same for each delivery of the same message: id, routing key and body."""
        return self.properties.message_id, self.routing_key, hashlib.sha256(self.body).digest()
