"""Messages in the worker's hands, from their delivery until they are settled, on the channel that brought them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

from scripts.action.jobs import Outcome
from scripts.event_loop import EventLoop, Timer
from scripts.worker.headers import id_of

# How long an acknowledgement may be held back to go together with others. What is lost with the worker in this time
# is done twice, as is what it was just doing.
_HOLD_S = 0.01

# Messages that went to other workers never come back; the oldest are forgotten.
_MOST_ORPHANED = 1000


class Link:
    """A channel that consumes. Its delivery tags mean nothing on any later one: a lost link settles nothing.

    Up to `hold` acknowledgements are held back, for a moment, to be sent as one frame. A worker that holds no more
    messages than it runs acknowledges each at once (`hold` 1), since the next one comes only then. While it `is_paused`
    all are held back. `in_hand` counts what came since `count_anew`, less what the broker knows to be settled.
    """

    def __init__(self, loop: EventLoop, channel: Any, hold: int = 1) -> None:
        self.channel = channel
        self.hold = hold
        self.is_paused = False
        self.in_hand = 0
        self._last = self._counted_from = 0
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
        return not self._lost and bool(self.channel.is_open)

    def lose(self) -> None:
        """Settle no more: the channel is gone, and the broker has given its messages to others."""
        self._lost = True

    def came(self, tag: int) -> None:
        """Count a delivery."""
        self._last = tag
        self.in_hand += 1

    def count_anew(self) -> None:
        """Count what comes from now on."""
        self._counted_from, self.in_hand = self._last, 0

    def ack(self, tag: int) -> None:
        """Acknowledge a message, perhaps a moment later."""
        self._beyond.add(tag)
        self._held.append(tag)
        if self.is_paused:
            return
        if len(self._held) >= self.hold:
            self.flush()
        elif not self._next_flush.is_set:
            self._next_flush.set(_HOLD_S)

    def hand_back(self, tag: int) -> None:
        """Return a message to the queue. RabbitMQ before 4.3 counts that as a lost delivery."""
        self._beyond.add(tag)
        self.in_hand -= tag > self._counted_from
        if self.open:
            self.channel.basic_nack(tag, requeue=True)

    def flush(self) -> None:
        """Send the acknowledgements that are held back."""
        held, self._held = self._held, []
        if not held or not self.open:
            return
        self.in_hand -= sum(tag > self._counted_from for tag in held)
        while self._all_to + 1 in self._beyond:
            self._all_to += 1
            self._beyond.remove(self._all_to)
        together = max((tag for tag in held if tag <= self._all_to), default=0)
        if together:
            self.channel.basic_ack(together, multiple=True)
        for tag in held:
            if tag > self._all_to:
                self.channel.basic_ack(tag)


@dataclass(slots=True, eq=False)
class Run:
    """A delivery of a message, and an attempt for it; `properties` are pika's.

    `alone`: it shares the worker with no other; `begun`: the action was started; `copy`: whether a copy of the message
    is on its way to the broker or safe there; `trial`: its number among the first attempts in this worker (None: it is
    a retry); `size`: of the body, in bytes.
    """

    link: Link
    tag: int
    redelivered: bool
    routing_key: str
    properties: Any
    body: bytes
    attempt: int = 1
    alone: bool = False
    begun: bool = False
    outcome: Outcome | None = None
    copy: Literal["none", "sent", "safe"] = "none"
    trial: int | None = None
    id: str = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.id, self.size = id_of(self.properties), len(self.body)

    def fingerprint(self) -> tuple[Any, ...]:
        """Return id, routing key and a digest of the body, which are the same for each delivery of the message."""
        return self.properties.message_id, self.routing_key, hashlib.sha256(self.body).digest()


class OrphanedRuns:
    """Runs whose delivery was lost with the connection: their outcome is used when the message comes back to us."""

    def __init__(self) -> None:
        self._runs: dict[tuple[Any, ...], list[Run]] = {}

    def add(self, run: Run) -> None:
        """Remember a run whose delivery is lost."""
        self._runs.setdefault(run.fingerprint(), []).append(run)
        # The message comes back with its body; a thousand of them are not kept.
        run.body = b""
        if len(self._runs) > _MOST_ORPHANED:
            del self._runs[next(iter(self._runs))]

    def claim(self, again: Run) -> Run | None:
        """Return the earlier run of this same message, if there is one; it has this delivery from now on."""
        if not (again.redelivered and self._runs):
            return None
        fingerprint = again.fingerprint()
        runs = self._runs.get(fingerprint)
        if not runs:
            return None
        run = runs.pop(0)
        if not runs:
            del self._runs[fingerprint]
        run.link, run.tag, run.body = again.link, again.tag, again.body
        return run
