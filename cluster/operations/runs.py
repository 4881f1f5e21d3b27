"""Runs whose results are at a broker: which there are, and the end of one before its time."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

from cluster.operations.brokers import Broker, broker_meant
from cluster.operations.status_tables import table
from cluster.queue import counts
from cluster.queue.runs.ending import end_run
from cluster.schedulers import Say
from cluster.settings import Settings
from cluster.terminal import counted
from scripts.amqp.broker import broker_errors, open_blocking, redacted
from scripts.amqp.queues import checked_name, run_of
from scripts.errors import ClusterError

_RUN = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class WaitingRun:
    """A run with a queue of results: so many wait there, and so many collectors take them now; None is not known."""

    run: str
    queue: str
    results: int | None
    collectors: int | None


def listed(settings: Settings, *, at: str, marathon: str, url: str, as_json: bool, say: Say) -> str:
    """Return the runs at the broker that flags mean, as a table for people or JSON for programs."""
    found = at_broker(broker_meant(settings, url, at, marathon, say))
    if as_json:
        return json.dumps([asdict(run) for run in found], indent=2)
    rows = [(run.run, run.queue, _figure(run.results), _collected(run.collectors)) for run in found]
    return table(("RUN", "QUEUE", "RESULTS", "COLLECTED"), rows) if rows else "no run has results at the broker"


def at_broker(broker: Broker) -> list[WaitingRun]:
    """Return the runs that have a queue of results, by queue and run; raises as `counts.now`."""
    found = counts.now(broker.management(), broker.url, lambda name: run_of(name) is not None)
    named = [(run_of(one.name), one) for one in found]
    return [WaitingRun(name[1], name[0], one.ready, one.consumers) for name, one in named if name]


def cancel(
    settings: Settings, run: str, *, queue: str, at: str, marathon: str, url: str, yes: bool, say: Say
) -> None:  # fmt: skip
    """End a run: delete its results, and take what has not begun off the queue; workers drop the rest of it.

    Raises:
        ClusterError: no such run is known at the broker, or it is being collected, and `yes` is not said.
    """
    if not _RUN.fullmatch(run):
        raise ClusterError(
            f"--run {run!r}: a run is called by 8 hexadecimal digits: ./inv map.list shows which there are"
        )
    broker = broker_meant(settings, url, at, marathon, say)
    known = [one for one in at_broker(broker) if one.run == run and queue in ("", one.queue)]
    if any(one.collectors for one in known) and not yes:
        raise ClusterError(f"--run {run}: its results are being collected: stop that ./inv map, or add --yes")
    queues = [one.queue for one in known] or [checked_name(queue or settings.queue.name)]
    with broker_errors(broker.url), open_blocking(broker.url) as connection:
        ended = [end_run(connection, name, run) for name in queues]
    results, items = sum(one[0] for one in ended), sum(one[1] for one in ended)
    if not known and not items:  # its results may have gone with an earlier try, which was interrupted
        raise ClusterError(
            f"--run {run}: no such run is at {redacted(broker.url)}: ./inv map.list shows which there are"
        )
    say(
        f"run {run} is cancelled: {counted(results, 'result')} deleted, {counted(items, 'item')} taken off "
        f"{', '.join(map(repr, queues))}; what workers have in hand, or still meet, they drop"
    )


def _figure(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _collected(consumers: int | None) -> str:
    return "?" if consumers is None else "now" if consumers else "no"
