"""The sending side of publishing: the next message whenever there is a channel, and room for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from cluster.queue.publishing.confirms import SURELY_TAKEN_BYTES, Target
from cluster.queue.publishing.items import Item, Position
from cluster.queue.publishing.messages import FILE_HEADER, Properties
from cluster.queue.publishing.sources import Feed, Source
from cluster.queue.publishing.window import Window

# How soon a slow pipe is looked at again.
SOURCE_PAUSE_S = 0.02


class Sender:
    """Sends a source's messages, what must be sent again first; calls `done` when nothing is left or in flight."""

    def __init__(self, source: Source, target: Target, at: Position, loop: Any, done: Callable[[], None]) -> None:
        self.window = Window()
        self.feed = Feed(source, at)
        self.is_stopped = False
        self.is_paused = False
        self._source = source
        self._target = target
        self._loop = loop
        self._done = done
        self._channel: Any = None
        self._properties = Properties(target.headers)
        self._made_at = time.monotonic()

    @property
    def has_channel(self) -> bool:
        """True while messages can go out."""
        return self._channel is not None

    def use(self, channel: Any) -> None:
        """Send on this channel, in confirm mode, from now on."""
        self._channel = channel
        self.fill()

    def lose_channel(self) -> None:
        """Send what is in flight again on the next channel."""
        self._channel = None
        self.window.channel_lost()

    def end_before(self, item: Item | None) -> None:
        """Take nothing more from the source, and send nothing again that comes after `item`."""
        self.feed.is_over = True
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
        if self._channel is None or self.is_paused:
            return
        if time.monotonic() - self._made_at > 1:  # of a new second is the timestamp, too
            self._properties = Properties(self._target.headers)
            self._made_at = time.monotonic()
        with self._channel.connection.batching():
            self._send()
        if not len(self.window) and (self.is_stopped or (self.feed.is_over and not self.window.again)):
            self._done()

    def position(self) -> Position:
        """Return the first message that is not confirmed, or the one after the last."""
        item = self.window.first_open()
        return Position(item.offset, item.line, item.number) if item else self.feed.position

    def progress(self) -> str:
        """Return the end of an error: how much is confirmed, and the first message that is not."""
        if not self.feed.has_begun:
            return ""
        confirmed = f"{self.feed.begin.number - 1 + self.window.confirmed:,}"
        total = f" of {self._source.scan.messages:,}" if self._source.scan else ""
        return f"; confirmed: {confirmed}{total}, first not confirmed: {self._source.place(self.position().line)}"

    def _send(self) -> None:
        publish, queue, window = self._channel.basic_publish, self._target.queue, self.window
        while window.has_room():
            item = self._next()
            if item is None:
                break
            if len(window) and self._may_be_refused(item):
                window.again.appendleft(item)
                break
            properties = self._properties
            if item.file:
                properties = Properties({**self._target.headers, FILE_HEADER: item.file})
            properties.message_id = item.id
            publish("", queue, item.body, properties, True)
            window.sent(item)

    def _next(self) -> Item | None:
        if self.is_stopped:
            return None
        if self.window.again:
            return self.window.again.popleft()
        item = self.feed.take()
        if item is None and not self.feed.is_over:
            self.pause(SOURCE_PAUSE_S)
        return item

    def _may_be_refused(self, item: Item) -> bool:
        """With its refusal the channel ends, and what is in flight beside it would be sent twice: so it goes alone."""
        tried = self._source.scan.largest_bytes if self._source.scan else 0
        return len(item.body) > max(SURELY_TAKEN_BYTES, tried, self.window.largest_confirmed_bytes)
