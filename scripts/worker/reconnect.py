"""Connections to the broker that are opened again whenever they are lost, with growing pauses and jitter."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pika.exceptions import ChannelClosedByBroker, ConnectionWrongStateError

from scripts.action.output import say
from scripts.amqp.batched import BatchedConnection
from scripts.amqp.broker import explain, parameters, redacted
from scripts.amqp.queues import refusal
from scripts.backoff import growing_s
from scripts.errors import ClusterError
from scripts.event_loop import EventLoop, Timer

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0

# The longest pause between connections that work and are lost again and again. A message that the broker cannot
# deliver does that up to the queue's delivery limit, and each time brings it nearer.
LONGEST_PAUSE_BETWEEN_S = 2.0

# A connection that stood for so long was useful, whatever it was lost by.
_STANDS_AFTER_S = 30.0

# How long a polite good-bye may take at the end.
_CLOSE_TIMEOUT_S = 5.0

# Looks for the broker without blocking; calls the first with its URL, or the second with the reason why there is none,
# through the event loop.
Locate = Callable[[Callable[[str], None], Callable[[str], None]], None]


@dataclass(eq=False)
class Reconnecting:
    """Keeps a connection open: `opened` gets each new one, `lost` is called when that is gone.

    Trouble is logged once for each new reason, not once for each try; where it `is_silent` not at all, since another
    connection says the same. `name` says which connection it is, `where` its address. The broker gets `properties`
    besides.
    """

    loop: EventLoop
    locate: Locate
    name: str
    opened: Callable[[Any], None]
    lost: Callable[[], None]
    properties: Mapping[str, Any] = field(default_factory=dict)
    is_silent: bool = False
    connection: Any = None
    where: str = ""
    works_since: float | None = None
    _failures: int = 0
    _said: str = ""
    _closed: Callable[[], None] | None = None
    _again: bool = True

    def __post_init__(self) -> None:
        self._next_try = Timer(self.loop, self.start)

    def start(self) -> None:
        """Connect now."""
        self.locate(self._connect, self.trouble)

    def works(self) -> None:
        """Note that the connection is ready for what it is for."""
        self.works_since = time.monotonic()

    def useful(self) -> None:
        """Note that the connection has done what it is for: what comes after this is new trouble."""
        self._failures = 0
        self._said = ""

    def trouble(self, reason: str, longest_pause_s: float = LONGEST_PAUSE_S) -> None:
        """Give up the connection, which cannot do what it is for, and try again later."""
        connection, self.connection = self.connection, None
        since, self.works_since = self.works_since, None
        if since is not None and time.monotonic() - since > _STANDS_AFTER_S:
            self.useful()
        _close(connection)
        self.lost()
        if self._closed:
            self._finish()
            return
        if not self._again:
            self._say(reason)
            return
        if reason != self._said:
            self._said = reason
            self._say(f"{self.name}: {reason}; trying again")
        self._failures += 1
        self._next_try.set(growing_s(FIRST_PAUSE_S, self._failures, longest_pause_s) * random.uniform(0.5, 1))

    def open_channel(self, queue: str, opened: Callable[[Any], None]) -> None:
        """Open a channel for `queue` and those beside it; that the broker closes it is trouble."""
        guard, connection = self.loop.guard, self.connection

        def closed(_channel: Any, reason: BaseException) -> None:
            if connection is self.connection and isinstance(reason, ChannelClosedByBroker):
                self.trouble(f"the broker closed the channel: {refusal(reason, connection.params, queue)}")

        connection.channel(on_open_callback=guard(opened)).add_on_close_callback(guard(closed))

    def give_up_when_lost(self) -> None:
        """Let a connection that is lost from now on not be opened again."""
        self._again = False
        self._next_try.stop()

    def close(self, closed: Callable[[], None]) -> None:
        """Send what was written and end the connection, then call `closed`."""
        self._closed = closed
        self._next_try.stop()
        if self.connection is None or not self.connection.is_open:
            # pika fails when it is told to close a connection that is not open yet. It ends with the process.
            self.connection = None
            self.loop.add_callback_threadsafe(self._finish)
            return
        self.loop.call_later(_CLOSE_TIMEOUT_S, self._finish)
        _close(self.connection)

    def _connect(self, url: str) -> None:
        if self._closed:
            return
        try:
            how = parameters(url)  # reads the password file anew
        except ClusterError as error:
            self.trouble(str(error))
            return
        how.client_properties = {
            "connection_name": f"cluster_worker, {self.name}, {socket.gethostname()}, pid {os.getpid()}",
            **self.properties,
        }
        # A loop waits without harm; giving up would publish what the broker may have taken in already once more.
        how.blocked_connection_timeout = None
        self.where, guard = redacted(url), self.loop.guard
        self.connection = BatchedConnection(
            how,
            on_open_callback=guard(self._opened),
            on_open_error_callback=guard(partial(self._over, f"no broker at {self.where}")),
            on_close_callback=guard(partial(self._over, f"lost the broker at {self.where}")),
            custom_ioloop=self.loop,
        )

    def _opened(self, connection: Any) -> None:
        if connection is not self.connection:
            # It was given up before it was open.
            _close(connection)
            return
        guard, broker = self.loop.guard, f"the broker at {self.where}"
        connection.add_on_connection_blocked_callback(guard(partial(self._say_blocked, broker)))
        connection.add_on_connection_unblocked_callback(guard(lambda *_: self._say(f"{broker} takes messages again")))
        self.opened(connection)

    def _over(self, what: str, connection: Any, error: BaseException) -> None:
        if connection is self.connection:
            reason = f"{what}: {explain(error)}"
            self.trouble(reason, LONGEST_PAUSE_BETWEEN_S if self.works_since is not None else LONGEST_PAUSE_S)

    def _finish(self) -> None:
        closed, self._closed = self._closed, lambda: None
        if closed:
            closed()

    def _say_blocked(self, broker: str, _connection: Any, frame: Any) -> None:
        why = frame.method.reason
        self._say(f"{broker} takes no messages for the moment ({why}); failed messages wait until it does")

    def _say(self, text: str) -> None:
        if not self.is_silent:
            say(text)


def _close(connection: Any) -> None:
    if connection is not None:
        # It may be closed or closing already.
        with suppress(ConnectionWrongStateError):
            connection.close()
