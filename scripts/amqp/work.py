"""The work that waits in a queue and beside it, as AMQP alone tells: it takes no management API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from scripts.amqp.broker import broker_errors, located, open_blocking
from scripts.amqp.queues import NOT_THERE, Counted, paused_queue, side_queues


@dataclass(frozen=True)
class Work:
    """Messages that wait: `ready` in the queue, `later` in those from which they come back to it.

    As long as some are ready, each of the `consumers` has as many in hand as it takes at once. `absent` are the queues
    beside it that are not there; `is_paused` is known where messages wait.
    """

    ready: int
    later: int
    consumers: int
    is_paused: bool
    absent: frozenset[str] = frozenset()

    @property
    def waiting(self) -> int:
        """Number of all that wait."""
        return self.ready + self.later


def work_of(broker: str, queue: str, skipped: frozenset[str] = frozenset()) -> Work:
    """Count the work of a queue; one that is not there has none. The broker is given as a URL, or as `@FILE`.

    The broker writes to its log each time that it is asked for a queue which is not there. So who asks often skips
    those that were `absent`, but for now and then.

    Raises:
        ServiceAway: the broker does not answer, or is not known at the moment.
        ClusterError: it refuses.
    """
    url = located(broker)
    with broker_errors(url):
        connection = open_blocking(url)
        try:
            there = _counted(connection, queue)
            if there is None:
                return Work(0, 0, 0, is_paused=False)
            beside = {name: _counted(connection, name) for name in side_queues(queue) if name not in skipped}
            later = sum(found.ready for found in beside.values() if found)
            is_paused = bool(there.ready + later) and _counted(connection, paused_queue(queue)) is not None
        finally:
            if connection.is_open:
                connection.close()
    absent = skipped.union(name for name, found in beside.items() if found is None)
    return Work(there.ready, later, there.consumers, is_paused, absent)


def _counted(connection: Any, name: str) -> Counted | None:
    try:
        found = connection.channel().queue_declare(name, passive=True).method
    except ChannelClosedByBroker as error:
        if error.reply_code == NOT_THERE:
            return None
        raise
    return Counted(found.message_count, found.consumer_count)
