"""Messages as the broker hands them over, and the channel on which alone they can be settled."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from scripts.event_loop import EventLoop, Timer

# How long an acknowledgement may be held back to go together with others. What is lost with the worker in this time
# is done twice, as is what it was just doing.
_HOLD_S = 0.01


class Link:
    """A channel that consumes. Its delivery tags mean nothing on any later one: a lost link settles nothing.

    Up to `hold` acknowledgements are held back, for a moment, to be sent as one frame. A worker that holds no more
    messages than it runs acknowledges each at once (`hold` 1), since the next one comes only then.
    """

    def __init__(self, loop: EventLoop, channel: Any, hold: int = 1) -> None:
        self._channel = channel
        self._hold = hold
        self._lost = False
        self._held: list[int] = []
        self._next_flush = Timer(loop, self.flush)
        # All tags up to this one are settled; those beyond that are settled as well.
        self._all_to = 0
        self._beyond: set[int] = set()

    @property
    def used(self) -> bool:
        """True once a delivery of this link was settled."""
        return bool(self._all_to or self._beyond)

    @property
    def open(self) -> bool:
        """True while deliveries of this link can still be settled."""
        return not self._lost and bool(self._channel.is_open)

    def lose(self) -> None:
        """Settle no more: the channel is gone, and the broker has given its messages to others."""
        self._lost = True

    def ack(self, tag: int) -> None:
        """Acknowledge a message, perhaps a moment later."""
        self._beyond.add(tag)
        self._held.append(tag)
        if len(self._held) >= self._hold:
            self.flush()
        elif not self._next_flush.is_set:
            self._next_flush.set(_HOLD_S)

    def hand_back(self, tag: int) -> None:
        """Return a message to the queue. RabbitMQ before 4.3 counts that as a lost delivery."""
        self._beyond.add(tag)
        if self.open:
            self._channel.basic_nack(tag, requeue=True)

    def flush(self) -> None:
        """Send the acknowledgements that are held back."""
        held, self._held = self._held, []
        if not held or not self.open:
            return
        while self._all_to + 1 in self._beyond:
            self._all_to += 1
            self._beyond.remove(self._all_to)
        together = max((tag for tag in held if tag <= self._all_to), default=0)
        if together:
            self._channel.basic_ack(together, multiple=True)
        for tag in held:
            if tag > self._all_to:
                self._channel.basic_ack(tag)


@dataclass(slots=True, eq=False)
class Delivery:
    """A delivery of a message; `properties` are pika's."""

    link: Link
    tag: int
    redelivered: bool
    routing_key: str
    properties: Any
    body: bytes

    def fingerprint(self) -> tuple[Any, ...]:
        """Return id, routing key and a digest of the body, which are the same for each delivery of the message."""
        return self.properties.message_id, self.routing_key, hashlib.sha256(self.body).digest()
