"""Telling people that this worker takes nothing: a connection whose properties say so, which `./inv status` finds."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from scripts.amqp.management import OPEN_BREAKER, OpenBreaker
from scripts.event_loop import EventLoop
from scripts.worker.broker_locator import Whereabouts
from scripts.worker.reconnect import Reconnecting

# What a client says of itself has to fit into 4096 bytes.
_REASON_CHARACTERS = 300


class Notice:
    """Shown while the worker's breaker is open."""

    def __init__(self, loop: EventLoop, whereabouts: Whereabouts, queue: str) -> None:
        self._loop = loop
        self._whereabouts = whereabouts
        self._queue = queue
        self._connection: Reconnecting | None = None

    def show(self, reason: str) -> None:
        """Say at the broker since when, and why."""
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        told = OpenBreaker(self._queue, socket.gethostname(), str(os.getpid()), since, reason[:_REASON_CHARACTERS])
        self._connection = Reconnecting(
            self._loop, self._whereabouts, "open breaker", self._opened, lambda: None, {OPEN_BREAKER: asdict(told)}
        )
        self._connection.start()

    def hide(self, hidden: Callable[[], None] = lambda: None) -> None:
        """Say it no more, then call `hidden`."""
        connection, self._connection = self._connection, None
        if connection is None:
            hidden()
        else:
            connection.close(hidden)

    def _opened(self, _connection: Any, _where: str) -> None:
        if self._connection is not None:
            self._connection.works()
