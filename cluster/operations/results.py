"""Results that workers keep in a queue (`cluster_worker --results`), brought into a file or a folder for good."""

from __future__ import annotations

import shlex
from contextlib import closing
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from cluster.interrupts import Interrupted, Signals
from cluster.operations.brokers import broker_meant, flags_of
from cluster.queue.publishing.link import Target
from cluster.queue.runs.collector import Collector
from cluster.queue.runs.messages import is_result, record_of
from cluster.queue.runs.output import Output, open_output
from cluster.schedulers import Say
from cluster.settings import Settings
from cluster.terminal import counted, live_line
from scripts.amqp.broker import broker_errors, open_blocking, redacted
from scripts.amqp.queues import NOT_THERE, checked_name, failed_queue, owner_of, run_of
from scripts.errors import ClusterError
from scripts.event_loop import EventLoop, Timer
from scripts.worker import headers

_GROUP_S = 0.05
_LOOK_EVERY_S = 0.2
_RETRY_FOR_S = 3600.0
_WHICH = "name the queue that workers were given with --results"


def collect(
    settings: Settings, queue: str, output: str, *, follow: bool, at: str, marathon: str, url: str, say: Say
) -> None:  # fmt: skip
    """Move the results of a queue into an output; return when it is empty, or with `follow` never.

    Each result is on the disk before it is acknowledged. One that came before, and comes again since that was not
    told to the broker, is left out by its correlation id.

    Raises:
        ClusterError: no such queue, or it has work or what else is no result; or the output cannot be written.
        Interrupted: what came so far is safe.
    """
    if not queue:
        raise ClusterError("-q is missing: name the queue that workers were given with --results")
    if not output:
        raise ClusterError("--output is missing: name a file such as results.jsonl (.csv, .tsv), or a folder/")
    _check_name(checked_name(queue), flags_of(at, marathon, url))
    broker = broker_meant(settings, url, at, marathon, say)
    _check_use(broker.url, queue)
    target = Target(broker.url, queue, retry_for_s=_RETRY_FOR_S, find=broker.find, service=broker.service)
    with closing(open_output(output)) as opened:
        taken = Emptying(opened, target, follow, say).go()
    say(f"took {counted(taken, 'result')} out of {queue!r} into {output}")


def _check_name(queue: str, flags: str) -> None:
    """Refuse the queue of a run, and those that belong to a work queue."""
    if found := run_of(queue):
        raise ClusterError(
            f"-q {queue!r} has the results of run {found[1]}: the same ./inv map that began it collects them, and "
            f"./inv map.cancel --run {found[1]}{flags} deletes them"
        )
    work = owner_of(queue)
    if queue == failed_queue(work):
        raise ClusterError(
            f"-q {queue!r} has the messages of {work!r} that failed, and no results: ./inv failed.list -q "
            f"{shlex.quote(work)}{flags} shows them, and failed.retry runs them again"
        )
    if queue != work:
        raise ClusterError(f"-q {queue!r} has messages of {work!r} that wait for their turn, and no results; {_WHICH}")


def _check_use(url: str, queue: str) -> None:
    """Refuse a queue that workers, or another collector, take from."""
    with broker_errors(url), open_blocking(url) as connection:
        try:
            consumers = connection.channel().queue_declare(queue, passive=True).method.consumer_count
        except ChannelClosedByBroker as refused:
            if refused.reply_code != NOT_THERE:
                raise
            raise _not_there(queue, redacted(url)) from refused
        if _is_there(connection, failed_queue(queue)):
            raise ClusterError(
                f"-q {queue!r} is a work queue, since there is a queue {failed_queue(queue)!r}: its messages are work, "
                f"and no results; {_WHICH}"
            )
        if consumers:
            raise ClusterError(
                f"-q {queue!r}: {'one consumer takes' if consumers == 1 else f'{consumers} consumers take'} from it "
                "already: stop that program first; the broker forgets one that was lost after a minute or two"
            )


def _is_there(connection: Any, queue: str) -> bool:
    """Tell whether a queue is there for all that this user may see."""
    try:
        connection.channel().queue_declare(queue, passive=True)
    except ChannelClosedByBroker:
        return False
    return True


def _not_there(queue: str, place: str) -> ClusterError:
    return ClusterError(f"no queue {queue!r} at {place}: workers make it (cluster_worker --results)")


class Emptying:
    """Takes results until none is left; told by its collector what happens (`Listener`).

    It takes one at first, and more when that is a result: so of a queue of other things only one message is touched.
    """

    def __init__(self, output: Output, target: Target, follow: bool, say: Say) -> None:
        self._output, self._follow, self._say = output, follow, say
        self._queue, self._place = target.queue, target.place
        self._loop = EventLoop()
        self._collector = Collector(self._loop, target, target.queue, self, say, is_new=False, prefetch=1)
        self._takes_more = False
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
                    taken = counted(self._taken, "result")
                    self._end(signals.came(f"interrupted: took {taken}, the same command takes what still waits"))
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
        self._takes_more = False
        self._look()

    def came(self, properties: Any, body: bytes, is_repeat: bool) -> None:
        """Write a result; leave what is none, and end."""
        if self._error or not is_result(properties):
            self._collector.leave()
            self._end(self._no_result(properties, body))
            return
        if not self._takes_more:
            self._takes_more = True
            self._collector.take_more()
        record = record_of(properties, body, self._number(properties), str(properties.correlation_id or "").encode())
        if not (is_repeat and record.input in self._known) and self._output.write(record):
            self._taken += 1
            if record.input:
                self._known.add(record.input)
        if not self._sync_timer.is_set:
            self._sync_timer.set(_GROUP_S)

    def gone(self) -> None:
        """End: there is no such queue."""
        self._end(_not_there(self._queue, self._place))

    def refused(self, error: ClusterError) -> None:
        """End, since the broker cannot be used."""
        self._end(error)

    def _no_result(self, properties: Any, body: bytes) -> ClusterError:
        found = properties.message_id or properties.correlation_id
        name = f"id {found!r}, {len(body):,} bytes" if found else f"{len(body):,} bytes, without an id"
        return ClusterError(
            f"a message in {self._queue!r} is no result of a worker ({name}): it and what is behind it stay there, "
            f"{counted(self._taken, 'result')} before it written; {_WHICH}, or take that message out"
        )

    def _number(self, properties: Any) -> int:
        """Return the item's number where the result has one that is free, else the next one."""
        given = (properties.headers or {}).get(headers.ITEM)
        # pika reads a number of eight bytes as a class of its own.
        if isinstance(given, int) and 0 < given < 2**40 and given not in self._output.done:
            return int(given)
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
        if self._error:
            return
        self._error = error
        if self._sync_timer.is_set:
            self._sync_timer.stop()
            self._sync()
        self._collector.end(lambda _deleted: self._loop.stop())
