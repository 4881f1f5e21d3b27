"""The course of one publishing: what is done when a connection comes up, is refused, blocked or lost."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from pika.exceptions import ChannelClosedByBroker, ConnectionBlockedTimeout

from cluster.interrupts import Interrupted, Signals
from cluster.queue.publishing.items import Position
from cluster.queue.publishing.link import Link, Target
from cluster.queue.publishing.sender import Sender
from cluster.queue.publishing.sources import Source
from scripts.amqp.broker import BLOCKED_TIMEOUT_S, error_of, explain
from scripts.backoff import growing_s
from scripts.errors import ClusterError, ServiceAway
from scripts.event_loop import EventLoop, in_thread

TICK_S = 0.1
# Between two attempts; doubled each time.
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 4.0
# How long an interrupted publishing waits for the confirms of what it has sent, and then for a polite goodbye.
LAST_CONFIRMS_S = 5
GOODBYE_S = 3
# No confirm for so long, the connection being alive: the queue has lost its majority, or the broker is stuck.
STALLED_AFTER_S = BLOCKED_TIMEOUT_S + 60


@dataclass(frozen=True)
class Watch:
    """The receivers of news: `progress` of how many messages are confirmed, `confirmed` of up to where all of them are.

    Both are called several times a second; `say` gets lines for a person, `begins` is called when the queue is there,
    before the first message, with how many are in its failed queue.
    """

    say: Callable[[str], None] = lambda text: None
    progress: Callable[[int], None] = lambda messages: None
    confirmed: Callable[[Position], None] = lambda position: None
    begins: Callable[[int], None] = lambda failed: None


@dataclass(frozen=True)
class Published:
    """The messages and bytes that the broker confirmed, and how long it took."""

    queue: str
    messages: int
    bytes: int
    seconds: float

    def as_json(self) -> str:
        """Return the same for programs."""
        return json.dumps(asdict(self))


def publish(source: Source, target: Target, watch: Watch = Watch(), at: Position = Position()) -> Published:  # noqa: B008
    """Publish a source from a position on, until all of it is confirmed.

    Every message is persistent and has an id. They go out on one connection with many confirms in flight; when it is
    lost, what is not confirmed is sent again with the same ids, so each message arrives at least once.

    Raises:
        ClusterError: no such queue, a message that the broker or its queue does not take, or a source that failed.
        ServiceAway: no broker, or it went away for longer than `target.retry_for_s`.
        Interrupted: SIGINT, SIGTERM or SIGHUP came.
        Each says how much is confirmed, and the first message that is not.
    """
    with Signals() as signals:
        return Publisher(source, target, watch, at).run(signals)


class RetryDeadline:
    """Ends `limit_s` after the first failure since the last success; each trouble is said once."""

    def __init__(self, limit_s: float, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.trouble: ClusterError | None = None
        self._limit_s = limit_s
        self._say = say
        self._clock = clock
        self._since = 0.0
        self._failures = 0
        self._said: set[str] = set()

    def success(self) -> None:
        """Note that all is well (again)."""
        self.trouble = None
        self._failures = 0

    def failure(self, error: ClusterError) -> float:
        """Note that it did not work; return how many seconds to wait before the next attempt."""
        if not self.trouble:
            self._since = self._clock()
        self.trouble = error
        self._failures += 1
        if str(error) not in self._said:
            self._said.add(str(error))
            self._say(f"{error}; trying for {self._limit_s:g} s")
        return growing_s(FIRST_PAUSE_S, self._failures, LONGEST_PAUSE_S)

    def is_over(self) -> bool:
        """Tell whether it has not worked for too long."""
        return self.trouble is not None and self._clock() - self._since > self._limit_s


class Publisher:
    """Publishes a source once; its links tell it what happens on them.

    On a loop that others use as well it is begun with `begin`, and `tick` is called every TICK_S until `ended` is.
    """

    def __init__(
        self, source: Source, target: Target, watch: Watch, at: Position,
        loop: EventLoop | None = None, ended: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self.say = watch.say
        self._source = source
        self._target = target
        self._watch = watch
        self._loop = loop or EventLoop()
        self._ended = ended or self._loop.stop
        self.sender = Sender(source, target, at, self._loop, self._close)
        self._retry = RetryDeadline(target.retry_for_s, watch.say)
        self._link: Link | None = None
        self._was_ready = False
        self._failed_before = 0
        self._closes = False
        self._is_blocked = False
        self._last_confirm = time.monotonic()
        self._noted = at
        self._error: ClusterError | None = None
        self._began = time.monotonic()

    def run(self, signals: Signals) -> Published:
        """Publish all of it."""
        try:
            self.begin()
            self._tick_on(signals)
            self._loop.run()
        except KeyboardInterrupt as again:
            # It may have come between two steps of the accounting: only what was noted before is sure.
            where = self._source.place(self._noted.line)
            raise Interrupted(f"interrupted twice; all before {where} is confirmed, perhaps more") from again
        finally:
            self._loop.close()
        return self.result()

    def begin(self) -> None:
        """Connect, and publish all that may go out."""
        self._began = time.monotonic()
        self._connect(check=True)

    def result(self) -> Published:
        """Return what was published, once it has ended; or raise what it ended with."""
        self._report()
        if error := self._error or self.sender.error:
            raise type(error)(f"{error}{self.sender.progress()}") from error
        done = self.sender.window
        return Published(
            self._target.queue, done.confirmed, done.confirmed_bytes, round(time.monotonic() - self._began, 3)
        )

    # What happens on a link

    def failed_before(self, failed: int) -> None:
        """Keep how many messages are in the failed queue, for who is told when it begins."""
        self._failed_before = failed

    def ready(self, channel: Any) -> None:
        """Begin, and go on after each loss."""
        if self._was_ready and self._retry.trouble:
            self.say("connected again")
        if not self._was_ready:
            self._watch.begins(self._failed_before)
        self._was_ready = True
        self._last_confirm = time.monotonic()
        self.sender.use(channel)

    def settled(self, tag: int, multiple: bool, accepted: bool) -> None:
        """Send again after a pause what was refused: a queue that is full has room later."""
        self.sender.window.settled(tag, multiple, accepted)
        if accepted:
            self._retry.success()
            self._last_confirm = time.monotonic()
        elif not self.sender.is_paused:
            full = ClusterError(f"queue {self._target.queue!r} at {self._target.place} is full")
            self.sender.pause(self._retry.failure(full))
        if self.sender.window.is_low():
            self.sender.fill()

    def returned(self, message_id: str) -> None:
        """Stop: the queue was there at the start, and somebody has deleted it."""
        self.sender.window.returned(self._source.places_of(message_id))
        self.refused(ClusterError(f"queue {self._target.queue!r} at {self._target.place} is gone"))

    def blocked(self, is_blocked: bool) -> None:
        """Wait: pika closes a connection that is blocked for too long."""
        self._is_blocked = is_blocked
        self._last_confirm = time.monotonic()
        short = f"is short of memory or disk and takes nothing; waiting up to {BLOCKED_TIMEOUT_S} s"
        self.say(f"the broker at {self._target.place} {short if is_blocked else 'takes messages again'}")

    def channel_closed(self, reason: ChannelClosedByBroker) -> None:
        """End the input before a message that is too large; stop after any other refusal."""
        self.sender.lose_channel()
        limit = _size_limit(reason)
        if limit is None or not self._link:
            self.refused(ClusterError(f"the broker at {self._target.place} refused: {explain(reason)}"))
        elif not self._was_ready:
            self.refused(self._too_large(limit))
        else:
            self._error = self._too_large(limit)
            self._link.reopen()

    def refused(self, error: ClusterError) -> None:
        """Send nothing more, and wait a little for the confirms of what was sent."""
        if self.sender.is_stopped:
            return
        self.sender.is_stopped = True
        self._error = self._error or error
        if self.sender.channel and len(self.sender.window) and not self._is_blocked:
            self._loop.call_later(LAST_CONFIRMS_S, self._close)
        else:
            self._close()

    def lost(self, reason: BaseException) -> None:
        """Try again for a while, unless it is over anyway."""
        self._link = None
        self.sender.lose_channel()
        if self._closes:
            self._end()
            return
        error = self._away(reason)
        if self._was_ready and not isinstance(reason, ConnectionBlockedTimeout):
            self._connect_later(error)
        else:
            self.refused(error)

    # What is done about it

    def _connect_later(self, error: ClusterError) -> None:
        self._loop.call_later(self._retry.failure(error), self._find)

    def _find(self) -> None:
        """Connect again, where the broker is now."""
        if self._target.find:
            in_thread(self._loop, self._target.find, self._found, lambda why: self._connect_later(ServiceAway(why)))
        else:
            self._connect()

    def _found(self, url: str) -> None:
        self._target = replace(self._target, url=url)
        self._connect()

    def _connect(self, check: bool = False) -> None:
        if not self._closes:
            self._link = Link(self._loop, self._target, self, check, self._source.largest_bytes)

    def _tick_on(self, signals: Signals) -> None:
        self.tick(signals.came)
        self._loop.call_later(TICK_S, lambda: self._tick_on(signals))

    def tick(self, came: type[Interrupted] | None = None) -> None:
        """Report how far it is, and end what has not worked for too long, or what a signal that `came` interrupts."""
        self._report()
        silent_s = time.monotonic() - self._last_confirm
        if came:
            self.refused(came("interrupted"))
        elif self._retry.trouble and self._retry.is_over():
            self.refused(self._retry.trouble)
        elif silent_s > STALLED_AFTER_S and (len(self.sender.window) or self.sender.channel is None):
            self.refused(ServiceAway(f"the broker at {self._target.place} has confirmed nothing for {silent_s:.0f} s"))

    def _report(self) -> None:
        self._noted = self.sender.position()
        self._watch.progress(self.sender.window.confirmed)
        self._watch.confirmed(self._noted)

    def _close(self) -> None:
        self._closes = True
        if self._link and self._link.close():
            self._loop.call_later(GOODBYE_S, self._end)
        else:
            self._end()

    def _end(self) -> None:
        ended, self._ended = self._ended, lambda: None
        ended()

    def _away(self, reason: BaseException) -> ClusterError:
        if self._was_ready:
            return ServiceAway(f"the connection to {self._target.place} is lost: {explain(reason)}")
        return error_of(self._target.url, reason)

    def _too_large(self, limit: int) -> ClusterError:
        """Return the error for the first message over the limit, which is the end of the input."""
        found = next((item for item in self.sender.window.again if len(item.body) > limit), None)
        self.sender.end_before(found)
        line, size = self._source.largest_line, self._source.largest_bytes
        if found:
            line, size = found.line, len(found.body)
        return ClusterError(
            f"{self._source.name}: {self._source.place(line)} has {size:,} bytes, and the broker at "
            f"{self._target.place} takes at most {limit:,} in a message; put its data in a file and publish its path"
        )


def _size_limit(reason: ChannelClosedByBroker) -> int | None:
    """Return the limit in RabbitMQ's refusal of a message that is too large."""
    found = re.search(r"larger than (?:configured )?max size (\d+)", reason.reply_text)
    return int(found[1]) if found else None
