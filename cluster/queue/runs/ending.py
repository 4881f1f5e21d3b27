"""The end of a run before its time: what has not begun is taken off its queues, and what belongs to others stays."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import islice
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from scripts.amqp.queues import NOT_THERE, alone_queue, results_queue, side_queues
from scripts.worker.results import map_run

# So many messages are in our hands at a time. Those of others go back when this ends, and workers take each for one
# whose worker was lost, which costs time: so a queue with as many of others is left, and workers drop the run's items.
_IN_HAND = 100
_ACKNOWLEDGED_TOGETHER = 50
_IDLE_S = 0.5


def end_run(connection: Any, queue: str, run: str) -> tuple[int, int]:
    """Delete a run's results, and take off what has not begun; return how many of both. No run is no error."""
    results = connection.channel().queue_delete(results_queue(queue, run)).method.message_count
    return results, take_off(connection, queue, run)


def take_off(connection: Any, queue: str, run: str) -> int:
    """Take what is left of a run's items off a work queue and the queues in which they wait to be tried again.

    Return how many. Those that are left are dropped by the workers, which find no queue for their results. What waits
    to be run alone is not touched: of a message that is returned there a worker takes it that it ended a worker. It is
    back in the work queue after some seconds.
    """
    return _take_off_all(connection, queue, lambda one: one == run)


def take_off_unwanted(connection: Any, queue: str, run: str = "") -> int:
    """Take off the items of runs that are over, which workers would drop, and of this one; return how many."""

    @cache
    def is_unwanted(one: str) -> bool:
        return one == run or not _is_there(connection, results_queue(queue, one))

    return _take_off_all(connection, queue, is_unwanted)


def _is_there(connection: Any, queue: str) -> bool:
    try:
        connection.channel().queue_declare(queue, passive=True)
    except ChannelClosedByBroker as refusal:
        return bool(refusal.reply_code != NOT_THERE)
    return True


def _take_off_all(connection: Any, queue: str, is_unwanted: Callable[[str], bool]) -> int:
    waiting = [name for name in side_queues(queue) if name != alone_queue(queue)]
    return sum(_take_off(connection, name, is_unwanted) for name in (*waiting, queue))


def _take_off(connection: Any, queue: str, is_unwanted: Callable[[str], bool]) -> int:
    channel = connection.channel()
    try:
        waiting = channel.queue_declare(queue, passive=True).method.message_count
    except ChannelClosedByBroker:
        return 0
    channel.basic_qos(prefetch_count=_IN_HAND)
    taken = kept = open_to = 0
    found = channel.consume(queue, inactivity_timeout=_IDLE_S) if waiting else ()
    for method, properties, _ in islice(found, waiting):
        if method is None:  # what else there was, others have
            break
        if not ((run := map_run(properties)) and is_unwanted(run)):
            kept += 1
            open_to = _acknowledge(channel, open_to)
        elif kept:
            taken += 1
            channel.basic_ack(method.delivery_tag)
        else:
            taken, open_to = taken + 1, method.delivery_tag
            open_to = _acknowledge(channel, open_to) if taken % _ACKNOWLEDGED_TOGETHER == 0 else open_to
        if kept >= _IN_HAND:
            break
    _acknowledge(channel, open_to)
    channel.close()
    return taken


def _acknowledge(channel: Any, up_to: int) -> int:
    """Acknowledge all up to a tag, if there is one; return that none is open."""
    if up_to:
        channel.basic_ack(up_to, multiple=True)
    return 0
