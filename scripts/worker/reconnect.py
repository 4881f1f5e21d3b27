"""One connection to the broker, opened again whenever it is lost, with growing pauses and jitter."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from pika import SelectConnection
from pika.exceptions import ConnectionWrongStateError

from scripts.action.output import say
from scripts.amqp.broker import explain
from scripts.backoff import growing_s
from scripts.event_loop import EventLoop
from scripts.worker.broker_locator import Place, Whereabouts

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0

# The longest pause between connections that work and are lost again and again. A message that the broker cannot
# deliver does that up to the queue's delivery limit, and each time brings it nearer.
LONGEST_PAUSE_BETWEEN_S = 2.0

# A connection that stood for so long was useful, whatever it was lost by.
_STANDS_AFTER_S = 30.0

# How long a polite good-bye may take at the end.
_CLOSE_TIMEOUT_S = 5.0


class Reconnecting:
    """Keeps a connection open: `opened` gets each new one with its address, `lost` is called when that is gone.

    Trouble is logged once for each new reason, not once for each try; `name` says which connection it is.
    """

    def __init__(
        self,
        loop: EventLoop,
        whereabouts: Whereabouts,
        name: str,
        opened: Callable[[Any, str], None],
        lost: Callable[[], None],
        properties: Mapping[str, Any] | None = None,
    ) -> None:
        """`properties` are the connection's for the broker, besides its name."""
        self._loop = loop
        self._whereabouts = whereabouts
        self._name = name
        self._on_opened = opened
        self._on_lost = lost
        self._properties = properties or {}
        self._failures = 0
        self._connection: Any = None
        self._was_opened = False
        self._works_since: float | None = None
        self._timer: Any = None
        self._said = ""
        self._closed: Callable[[], None] | None = None
        self._again = True

    def start(self) -> None:
        """Connect now."""
        self._timer = None
        self._whereabouts.find(self._connect)

    def works(self) -> None:
        """The connection is ready for what it is for: to be called then."""
        self._works_since = time.monotonic()

    def useful(self) -> None:
        """The connection has done what it is for: what comes after this is new trouble."""
        self._failures = 0
        self._said = ""

    def trouble(self, reason: str, longest_pause_s: float = LONGEST_PAUSE_S) -> None:
        """The connection cannot do what it is for: give it up and try again later."""
        connection, self._connection = self._connection, None
        since, self._works_since = self._works_since, None
        if since is not None and time.monotonic() - since > _STANDS_AFTER_S:
            self.useful()
        _close(connection)
        if self._was_opened:
            self._was_opened = False
            self._on_lost()
        if self._closed:
            self._finish()
            return
        if not self._again:
            say(reason)
            return
        if reason != self._said:
            self._said = reason
            say(f"{self._name}: {reason}; trying again")
        self._failures += 1
        pause = growing_s(FIRST_PAUSE_S, self._failures, longest_pause_s) * random.uniform(0.5, 1)
        self._timer = self._loop.call_later(pause, self.start)

    def give_up_when_lost(self) -> None:
        """From now on a lost connection is not opened again."""
        self._again = False
        if self._timer is not None:
            self._loop.remove_timeout(self._timer)
            self._timer = None

    def close(self, closed: Callable[[], None]) -> None:
        """Send what was written and end the connection, then call `closed`."""
        self._closed = closed
        if self._timer is not None:
            self._loop.remove_timeout(self._timer)
        if self._connection is None or not self._connection.is_open:
            # pika fails when it is told to close a connection that is not open yet. It ends with the process.
            self._connection = None
            self._loop.add_callback_threadsafe(self._finish)
            return
        self._loop.call_later(_CLOSE_TIMEOUT_S, self._finish)
        _close(self._connection)

    def _connect(self, place: Place | str) -> None:
        if self._closed:
            return
        if isinstance(place, str):
            self.trouble(place)
            return
        place.parameters.client_properties = {
            "connection_name": f"cluster_worker, {self._name}, {socket.gethostname()}, pid {os.getpid()}",
            **self._properties,
        }
        # A loop waits without harm; giving up would publish what the broker may have taken in already once more.
        place.parameters.blocked_connection_timeout = None
        self._connection = SelectConnection(
            place.parameters,
            on_open_callback=self._loop.guard(lambda connection: self._opened(connection, place.url)),
            on_open_error_callback=self._loop.guard(
                lambda connection, error: self._over(connection, f"no broker at {place.url}: {explain(error)}")
            ),
            on_close_callback=self._loop.guard(
                lambda connection, error: self._over(connection, f"lost the broker at {place.url}: {explain(error)}")
            ),
            custom_ioloop=self._loop,
        )

    def _opened(self, connection: Any, where: str) -> None:
        if connection is not self._connection:
            # It was given up before it was open.
            _close(connection)
            return
        self._was_opened = True
        guard = self._loop.guard
        connection.add_on_connection_blocked_callback(
            guard(lambda _connection, frame: say(_blocked(where, frame.method.reason)))
        )
        connection.add_on_connection_unblocked_callback(
            guard(lambda *_: say(f"the broker at {where} takes messages again"))
        )
        self._on_opened(connection, where)

    def _over(self, connection: Any, reason: str) -> None:
        if connection is self._connection:
            self.trouble(reason, LONGEST_PAUSE_BETWEEN_S if self._works_since is not None else LONGEST_PAUSE_S)

    def _finish(self) -> None:
        closed, self._closed = self._closed, _nothing
        if closed:
            closed()


def _blocked(where: str, reason: Any) -> str:
    return f"the broker at {where} takes no messages for the moment ({reason}); failed messages wait until it does"


def _close(connection: Any) -> None:
    if connection is not None:
        try:
            connection.close()
        except ConnectionWrongStateError:
            # Closed or closing already.
            return


def _nothing() -> None:
    return
