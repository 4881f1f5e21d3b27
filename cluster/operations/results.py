"""Results that workers keep in a queue (`cluster_worker --results`), brought into a file or a folder for good."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from cluster.interrupts import Interrupted, Signals
from cluster.operations.publish import broker_meant
from cluster.queue.publishing.link import Target
from cluster.queue.runs.collector import Collector
from cluster.queue.runs.messages import record_of
from cluster.queue.runs.output import Output, open_output
from cluster.schedulers import Say
from cluster.settings import Settings
from cluster.terminal import live_line
from scripts.amqp.queues import checked_name
from scripts.errors import ClusterError
from scripts.event_loop import EventLoop, Timer
from scripts.worker import headers

_GROUP_S = 0.05
_LOOK_EVERY_S = 0.2
_RETRY_FOR_S = 3600.0


def collect(
    settings: Settings, queue: str, output: str, *, follow: bool, at: str, marathon: str, url: str, say: Say
) -> None:  # fmt: skip
    """Move the results of a queue into an output; return when it is empty, or with `follow` never.

    Each result is on the disk before it is acknowledged. One that came before, and comes again since that was not
    told to the broker, is left out by its correlation id.

    Raises:
        ClusterError: no such queue, or the output cannot be written.
        Interrupted: what came so far is safe.
    """
    if not queue:
        raise ClusterError("-q is missing: name the queue that workers were given with --results")
    if not output:
        raise ClusterError("--output is missing: name a file such as results.jsonl (.csv, .tsv), or a folder/")
    broker = broker_meant(settings, url, at, marathon, say)
    target = Target(broker.url, checked_name(queue), retry_for_s=_RETRY_FOR_S, find=broker.find, service=broker.service)
    with closing(open_output(output)) as opened:
        taken = Emptying(opened, target, follow, say).go()
    say(f"{taken:,} {'result' if taken == 1 else 'results'} of {queue!r} are in {output}")


class Emptying:
    """Takes results until none is left; told by its collector what happens (`Listener`)."""

    def __init__(self, output: Output, target: Target, follow: bool, say: Say) -> None:
        self._output, self._follow, self._say = output, follow, say
        self._queue, self._place = target.queue, target.place
        self._loop = EventLoop()
        self._collector = Collector(self._loop, target, target.queue, self, say, is_new=False)
        self._known = output.inputs()
        self._next = len(output.done) + 1
        self._taken = 0
        self._sync_timer = Timer(self._loop, self._sync)
        self._error: ClusterError | None = None

    def go(self) -> int:
        """Return how many results came."""
        with Signals() as signals, live_line(f"results of {self._queue!r}") as show:

            def tick() -> None:
                if signals.came:
                    self._end(signals.came(f"interrupted; {self._taken:,} results are safe, the others still wait"))
                show(f"{self._taken:,}")
                self._loop.call_later(_LOOK_EVERY_S, tick)

            try:
                self._collector.start()
                tick()
                self._loop.run()
            except KeyboardInterrupt as again:
                raise Interrupted("interrupted twice; the same command goes on") from again
            finally:
                self._loop.close()
        if self._error:
            raise self._error
        return self._taken

    def collecting(self) -> None:
        """End when nothing is left."""
        self._look()

    def came(self, properties: Any, body: bytes, is_repeat: bool) -> None:
        """Write a result."""
        record = record_of(properties, body, self._number(properties), str(properties.correlation_id or "").encode())
        if not (is_repeat and record.input in self._known) and self._output.write(record):
            self._taken += 1
            if record.input:
                self._known.add(record.input)
        if not self._sync_timer.is_set:
            self._sync_timer.set(_GROUP_S)

    def gone(self) -> None:
        """End: there is no such queue."""
        self._end(
            ClusterError(f"no queue {self._queue!r} at {self._place}: workers make it (cluster_worker --results)")
        )

    def refused(self, error: ClusterError) -> None:
        """End, since the broker cannot be used."""
        self._end(error)

    def _number(self, properties: Any) -> int:
        """Return the item's number where the result has one that is free, else the next one."""
        given = (properties.headers or {}).get(headers.ITEM)
        if isinstance(given, int) and 0 < given < 2**40 and given not in self._output.done:
            return given
        while self._next in self._output.done:
            self._next += 1
        return self._next

    def _sync(self) -> None:
        self._output.sync()
        self._collector.acknowledge()

    def _look(self) -> None:
        """Ask how many wait: none, and none on its way, is the end."""
        before = self._taken

        def counted(ready: int) -> None:
            if not (ready or self._sync_timer.is_set or before != self._taken or self._follow):
                self._end(None)
            elif self._error is None:
                self._loop.call_later(_LOOK_EVERY_S, self._look)

        self._collector.waiting(counted)

    def _end(self, error: ClusterError | None) -> None:
        self._error = self._error or error
        if self._sync_timer.is_set:
            self._sync_timer.stop()
            self._sync()
        self._collector.end(lambda _deleted: self._loop.stop())
