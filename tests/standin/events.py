"""The event stream (core/event/impl/stream/HttpEventStreamServlet.scala): whoever is attached hears what comes."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from queue import Empty, SimpleQueue
from threading import Event, Lock
from typing import Any

_END = None


class Events:
    """All who listen; what is said while nobody does is lost."""

    def __init__(self, now: Callable[[], str]) -> None:
        self._now = now
        self._listeners: list[SimpleQueue[dict[str, Any] | None]] = []
        self._lock = Lock()

    def say(self, kind: str, **payload: Any) -> None:
        said = payload | {"eventType": kind, "timestamp": self._now()}
        with self._lock:
            for listener in self._listeners:
                listener.put(said)

    def drop_all(self) -> None:
        """End every stream, as a Marathon that loses its leadership does."""
        with self._lock:
            for listener in self._listeners:
                listener.put(_END)

    def stream(self, kinds: list[str], over: Event) -> Generator[bytes, None, None]:
        """The frames for one listener, of these kinds (of all when none is named), until it is over."""
        mine: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        with self._lock:
            self._listeners.append(mine)
        self.say("event_stream_attached", remoteAddress="127.0.0.1")
        try:
            yield b"\r\n"
            yield from self._frames(mine, kinds, over)
        finally:
            with self._lock:
                self._listeners.remove(mine)
            self.say("event_stream_detached", remoteAddress="127.0.0.1")

    def _frames(
        self, mine: SimpleQueue[dict[str, Any] | None], kinds: list[str], over: Event
    ) -> Generator[bytes, None, None]:
        while not over.is_set():
            try:
                said = mine.get(timeout=0.2)
            except Empty:
                yield b"\r\n"
                continue
            if said is _END:
                return
            if not kinds or said["eventType"] in kinds:
                yield f"event: {said['eventType']}\ndata: {json.dumps(said, separators=(',', ':'))}\n\n".encode()
