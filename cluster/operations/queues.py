"""The queues of a broker by name: which there are, what is in each, and the deletion of messages and of queues."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from cluster.operations.brokers import Broker, broker_meant, flags_of
from cluster.operations.status_tables import table
from cluster.queue import workers
from cluster.queue.counts import Loss, WorkQueue, at_rest, belongs_to, fresh, kinds_of, now, work_queues
from cluster.schedulers import Say
from cluster.settings import Settings
from cluster.terminal import counted
from scripts.amqp.broker import broker_errors, open_blocking, redacted
from scripts.amqp.management import QueueCount
from scripts.amqp.queues import (
    NOT_THERE,
    checked_name,
    failed_queue,
    is_inbox,
    lock_of,
    run_of,
    side_queues,
)
from scripts.errors import ClusterError

# Asked with what it costs; raises ClusterError where the answer is no. None: that is agreed to.
Ask = Callable[[str], None] | None

# The broker does not know in the first seconds of a queue, or of its own, how much is in it.
_COUNTED_S = 12.0
_LOOK_EVERY_S = 0.5

_EXPLAINED = {
    "results": "results: of a run, which ./inv map.list shows",
    "left over": "left over: the queue that it belonged to is gone; ./inv queue.delete -q with that name deletes it",
}


@dataclass(frozen=True)
class Place:
    """The broker that flags mean, and these flags again for a command that is suggested."""

    settings: Settings
    say: Say
    at: str = ""
    marathon: str = ""
    url: str = ""

    def broker(self) -> Broker:
        """Find it; raises as `broker_meant`."""
        return broker_meant(self.settings, self.url, self.at, self.marathon, self.say)

    @property
    def flags(self) -> str:
        """Return the flags, each with a blank before it."""
        return flags_of(self.at, self.marathon, self.url)


def listed(place: Place, *, each: bool, as_json: bool) -> str:
    """Return the queues, `each` in a row, or those that belong together in one, as a table or JSON for programs."""
    broker = place.broker()
    found = now(broker.management(), broker.url)
    rows = [_alone(one) for one in found] if each else _together(found)
    kinds = kinds_of(found, "of another" if each else "work")
    if as_json:
        return json.dumps([_figures(row) | {"kind": kinds[row.name]} for row in rows], indent=2)
    for kind in sorted({kinds[row.name] for row in rows} & _EXPLAINED.keys()):
        place.say(_EXPLAINED[kind])
    notes = [kinds[row.name] if kinds[row.name] != "work" else "" for row in rows]
    cells = [(*_cells(row), note) for row, note in zip(rows, notes, strict=True)]
    head = ("QUEUE", "READY", "IN WORK", "TO RETRY", "FAILED", "WORKERS", "")
    return (
        table(head, cells, head[1:-1]) if cells else f"no queue is at {redacted(broker.url)}: ./inv publish makes one"
    )


def _together(found: Sequence[QueueCount]) -> list[WorkQueue]:
    work = work_queues(found)
    shown = {row.name for row in work}
    results = [_alone(one) for one in found if run_of(one.name) and one.name not in shown]
    return sorted([*work, *results], key=lambda row: row.name)


def _alone(one: QueueCount) -> WorkQueue:
    return WorkQueue(one.name, one.ready, one.unacknowledged, 0, 0, one.consumers)


def _figures(row: WorkQueue) -> dict[str, Any]:
    names = ("name", "waiting", "in_work", "to_retry", "failed", "workers")
    return {name: getattr(row, name) for name in names}


def _cells(row: WorkQueue) -> list[str]:
    return ["?" if count is None else f"{count:,}" if isinstance(count, int) else count
            for count in _figures(row).values()]  # fmt: skip


def purge(place: Place, queue: str, *, dry_run: bool, ask: Ask) -> None:
    """Delete the messages of a queue that wait: the ready ones, and those that are to be tried again.

    Those in work go on, and the failed ones stay.

    Raises:
        ClusterError: no such queue, or one that cannot be emptied, or that a run of `inv map` uses.
    """
    broker, name = place.broker(), _named(queue, place)
    found: list[QueueCount] = []

    def look() -> Loss:
        found[:] = _of_name(broker, name, place, all_of_it=False)
        waiting = {*side_queues(name), name}
        loss = Loss(name, tuple(one for one in found if one.name in waiting))
        if loss.is_stream:
            raise ClusterError(f"{name!r} is a stream, of which nothing can be taken: ./inv queue.delete deletes it")
        return loss

    loss = _counted(look, ask, dry_run)
    words = f"{loss.words} of {name!r}"
    if loss.is_nothing:
        place.say(f"no message waits in {name!r}")
    elif dry_run:
        place.say(f"would delete {words}")
    else:
        _agree(loss, f"this deletes {words}", ask, look)
        names = [one.name for one in loss.queues]
        purged = _sum_of(broker, names, lambda channel, one: channel.queue_purge(one))
        place.say(f"deleted {_compared(purged, loss, ask)} of {name!r}")
    if failed := sum(one.ready or 0 for one in found if one.name == failed_queue(name)):
        place.say(f"{counted(failed, 'failed message')} stay: -q {failed_queue(name)} deletes these")


def delete(place: Place, queue: str, *, dry_run: bool, ask: Ask) -> None:
    """Delete a queue with all that belongs to it: what waits, what is to be tried again, and what has failed.

    A quorum queue is deleted whatever came to it since it was counted: the broker knows no if-empty for them. What is
    said in the end is the broker's own number of what was in it.

    Raises:
        ClusterError: no such queue, or somebody takes messages of it, or a run of `inv map` uses it.
    """
    broker, name = place.broker(), _named(queue, place)
    sides = side_queues(name)

    def place_in_order(one: QueueCount) -> int:
        """From those first messages come to it; and by it a deletion that was interrupted finds the others."""
        return sides.index(one.name) if one.name in sides else len(sides) + (one.name == name)

    def look() -> Loss:
        found = _of_name(broker, name, place, all_of_it=True)
        _refuse_used(broker, found, name, place)
        return Loss(name, tuple(sorted(found, key=place_in_order)))

    loss = _counted(look, ask, dry_run)
    if dry_run:
        place.say(f"would delete {name!r} with {loss.words}")
        return
    if not loss.is_nothing:
        _agree(loss, f"this deletes {name!r} with {loss.words}", ask, look)
    names = [one.name for one in loss.queues]
    deleted = _sum_of(broker, names, lambda channel, one: channel.queue_delete(one))
    place.say(f"deleted {name!r}{f' with {_compared(deleted, loss, ask)}' if deleted else ', in which nothing was'}")


def _named(queue: str, place: Place) -> str:
    """Return the name that a person gave; what belongs to a run is deleted with the run."""
    if not queue:
        raise ClusterError(f"--queue is missing: say which one; ./inv queue.list{place.flags} shows them")
    if run := run_of(queue):
        end = f"./inv map.cancel --run {run[1]}{place.flags}"
        raise ClusterError(f"{queue!r} has the results of run {run[1]} of inv map: {end} ends that and deletes them")
    return checked_name(queue)


def _of_name(broker: Broker, name: str, place: Place, *, all_of_it: bool) -> list[QueueCount]:
    """Return the queues of this name as they are now: the very one, and those that belong to it."""
    there = broker.management().queues()
    found = [one for one in there if belongs_to(one.name, name)]
    if not found:
        near = get_close_matches(name, [one.name for one in there], n=1)
        mean = f"do you mean {near[0]!r}? " if near else ""
        raise ClusterError(
            f"no queue {name!r} is at {redacted(broker.url)}; {mean}./inv queue.list{place.flags} shows all"
        )
    if any(one.exclusive for one in found if one.name == name):
        raise ClusterError(f"{name!r} belongs to one connection, and ends with it")
    runs = sorted(run[1] for one in there if (run := run_of(one.name)) and run[0] == name)
    if runs:
        end = f"./inv map.cancel --run {runs[0]}{place.flags}"
        raise ClusterError(f"run {runs[0]} of inv map goes through {name!r}: {end} ends it; then this is possible")
    held = {one.name for one in there}.intersection(lock_of(one.name) for one in found)
    if held & {lock_of(name), lock_of(failed_queue(name)) if all_of_it else ""}:
        raise ClusterError(f"somebody looks at what has failed of {name!r}, or moves it: wait until that is done")
    return [*at_rest(fresh(broker.url, found)), *(one for one in found if is_inbox(one.name))]


def _refuse_used(broker: Broker, found: Iterable[QueueCount], name: str, place: Place) -> None:
    """Refuse to delete a queue that has workers: they would make it again."""
    consumers = sum(one.consumers or 0 for one in found if not is_inbox(one.name))
    # Those that take nothing for a while are not subscribed.
    connected = sum(is_inbox(one.name) for one in found)
    if count := max(consumers, connected):
        hosts = {one.host for one in workers.ask(broker.url, [name], lambda reports: len(reports) >= connected)}
        where = f" (on {', '.join(sorted(hosts))})" if hosts else ""
        stop = "stop them first" if place.url else f"./inv worker.stop -q {shlex.quote(name)}{place.flags} stops them"
        raise ClusterError(f"{name!r} has {counted(count, 'worker')}{where}, which would make it again: {stop}")


def _counted(look: Callable[[], Loss], ask: Ask, dry_run: bool) -> Loss:
    """Look; where somebody is to be told the number, wait for those that the broker does not know at first."""
    until_s = time.monotonic() + (_COUNTED_S if ask or dry_run else 0)
    while (loss := look()).unknown and time.monotonic() < until_s:
        time.sleep(_LOOK_EVERY_S)
    return loss


def _agree(loss: Loss, cost: str, ask: Ask, look: Callable[[], Loss]) -> None:
    """Ask, and look again: more than was said is not deleted."""
    if ask is None:
        return
    ask(cost)
    if (more := look().messages - loss.messages) > 0:
        raise ClusterError(f"{counted(more, 'more message')} came to {loss.name!r} meanwhile: nothing was done")


def _sum_of(broker: Broker, names: Iterable[str], act: Callable[[Any, str], Any]) -> int:
    """Do something with each queue, and return with how many messages in all; one that is gone has none."""
    count = 0
    with broker_errors(broker.url), open_blocking(broker.url) as connection:
        for name in names:
            try:
                count += act(connection.channel(), name).method.message_count
            except ChannelClosedByBroker as refusal:
                if refusal.reply_code != NOT_THERE:
                    raise
    return count


def _compared(count: int, loss: Loss, ask: Ask) -> str:
    """Return the number of messages, and how many of them came after it was said what is lost."""
    more = count - loss.messages if ask else 0
    return f"{counted(count, 'message')}{f', {more:,} of which came in the last moment' if more > 0 else ''}"
