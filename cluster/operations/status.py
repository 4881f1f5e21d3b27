"""The state of apps and queues, as a table for people or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from cluster.components import QUEUE
from cluster.operations.brokers import queue_at
from cluster.queue import counts as queue_counts
from cluster.queue.counts import work_queues
from cluster.schedulers import Say, Scheduler, selection
from cluster.settings import Settings
from scripts.amqp.management import Node, OpenBreaker, QueueCount
from scripts.errors import ClusterError
from scripts.one_line import visible

T = TypeVar("T")

# With less than so many times its limit left, a disk is low: the journal of one held message can take as much.
_LOW_DISK = 3


def status(settings: Settings, *, as_json: bool, at: str = "", marathon: str = "", say: Say) -> str:
    """Return the apps that run on the engine that flags mean, else on this machine, and the queues of the broker."""
    engines = selection.candidates(settings, at, marathon, say)
    apps = [(engine, app) for engine in engines for app in engine.status()]
    with_queue = [engine for engine, app in apps if app.id == QUEUE.app_id]
    broker = _asked(lambda: queue_at(settings, with_queue[0])) if with_queue else None  # which may just stop
    queues: Sequence[QueueCount] | None = []
    breakers: Sequence[OpenBreaker] | None = []
    nodes: Sequence[Node] | None = []
    if broker:
        management = broker.management
        queues = _asked(lambda: queue_counts.now(management, broker.url))
        breakers, nodes = _asked(management.open_breakers), _asked(management.nodes)
    if as_json:
        found = [{"scheduler": engine.name} | app.as_json() for engine, app in apps]
        at_broker: dict[str, Sequence[Any] | None] = {"queues": queues, "open_breakers": breakers, "nodes": nodes}
        listed = {key: ones and [asdict(one) for one in ones] for key, ones in at_broker.items()}
        return json.dumps({"apps": found} | listed, indent=2, default=str)
    if not apps:
        return _nothing(settings, engines)
    instances = [
        (one.name, one.state, engine.name, " ".join(map(str, one.ports.values())), one.detail)
        for engine, app in apps
        for one in app.instances
    ]
    words = [*map(_takes_nothing, breakers or ()), *(line for node in nodes or () for line in _short_of(node))]
    if broker and queues is None:
        no_counts = f"how many messages are where is not known: the queue does not answer at {broker.management.url}"
        words = [no_counts, *words]
    app_table = table(("INSTANCE", "STATE", "SCHEDULER", "ADDRESSES", ""), instances)
    return "\n\n".join(part for part in (app_table, _queue_table(queues or ()), "\n".join(words)) if part)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Lay rows out in columns as wide as their widest cell, two blanks apart."""
    rows = [tuple(map(visible, row)) for row in rows]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows])
    return "\n".join(line.rstrip() for line in lines)


def _nothing(settings: Settings, engines: Sequence[Scheduler]) -> str:
    if all(engine.is_here for engine in engines):
        return "nothing runs here; `./inv demo` or `./inv queue.run-local` starts something"
    return f"nothing of the project {settings.project} runs on {', '.join(engine.place for engine in engines)}"


def _asked(question: Callable[[], T]) -> T | None:
    """Return an answer; None where there is none."""
    try:
        return question()
    except ClusterError:
        return None


def _short_of(node: Node) -> Iterator[str]:
    """Yield a line on each thing that a node runs out of."""
    free, limit = node.disk_free, node.disk_free_limit
    if free is not None and limit is not None and (node.disk_free_alarm or free < _LOW_DISK * limit):
        yield visible(
            f"the queue ({node.name}) has {free / 1e9:,.1f} GB of disk left, and takes no messages below "
            f"{limit / 1e9:,.1f}: make room, or settle what is held for long (docs/publishing.md)"
        )
    if node.mem_alarm:
        yield visible(f"the queue ({node.name}) is short of memory, and takes no messages until workers catch up")


def _takes_nothing(breaker: OpenBreaker) -> str:
    """Return a line on such a worker, of whose words anybody may be the author."""
    return visible(
        f"{breaker.host}: the worker with pid {breaker.pid} takes nothing of {breaker.queue} since {breaker.since}: "
        f"{breaker.reason}; it tries one now and then. Mend the action or the host, then ./inv worker.restart"
    )


def _queue_table(queues: Sequence[QueueCount]) -> str:
    rows = [
        (one.name, *map(_figure, (one.waiting, one.in_work, one.to_retry, one.failed, one.workers)))
        for one in work_queues(queues)
    ]
    return table(("QUEUE", "WAITING", "IN WORK", "TO RETRY", "FAILED", "WORKERS"), rows) if rows else ""


def _figure(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"
