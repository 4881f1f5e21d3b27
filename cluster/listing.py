"""What is there, as a table for people or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from cluster import here, queue_counts, queue_there, registry_api
from cluster.schedulers import AppStatus, Scheduler
from cluster.settings import Settings
from cluster.work_queues import work_queues
from scripts.action.worker_log import printable
from scripts.amqp.management import Management, OpenBreaker, QueueCount
from scripts.errors import ClusterError


def status(settings: Settings, *, as_json: bool, marathon: str = "") -> str:
    """The apps that run on a Marathon, else on this machine, and the queues of the broker there."""
    where = here.marathon_of(settings, marathon)
    apps = [(one.name, app) for one in _schedulers(settings, where) for app in one.status()]
    broker = _broker(settings, where) if any(app.id == "/amqp" for _, app in apps) else (None, "")
    queues, breakers = _queues(*broker), _open_breakers(broker[0])
    if as_json:
        found = [{"scheduler": name} | asdict(app) for name, app in apps]
        at_broker = {"queues": list(map(asdict, queues)), "open_breakers": list(map(asdict, breakers))}
        return json.dumps({"apps": found} | at_broker, indent=2, default=str)
    if not apps:
        return _nothing(settings, where)
    parts = (_app_table(apps), _queue_table(queues), "\n".join(map(_takes_nothing, breakers)))
    return "\n\n".join(part for part in parts if part)


def images(settings: Settings, *, as_json: bool) -> str:
    """The images in the registry."""
    found = registry_api.stored(settings.registry)
    if as_json:
        return json.dumps([asdict(image) for image in found], indent=2)
    rows = [(image.name, image.tag, image.digest[:19], f"{image.bytes / 1e6:,.0f} MB") for image in found]
    return table(("NAME", "TAG", "DIGEST", "SIZE"), rows) if rows else f"the registry {settings.registry} is empty"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Columns as wide as their widest cell, two blanks apart."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows])
    return "\n".join(line.rstrip() for line in lines)


def _schedulers(settings: Settings, marathon: str) -> list[Scheduler]:
    return [here.marathon(settings, marathon, print)] if marathon else here.every_scheduler(settings)


def _nothing(settings: Settings, marathon: str) -> str:
    if marathon:
        return f"nothing of the project {settings.project} runs on Marathon at {marathon}"
    return "nothing runs here; `./inv demo` or `./inv queue.run-local` starts something"


def _broker(settings: Settings, marathon: str) -> tuple[Management | None, str]:
    """The management API and the URL of the queue; none when it does not run at the moment."""
    if not marathon:
        return settings.queue.management, settings.queue.url
    try:
        found = queue_there.find(settings, marathon)
    except ClusterError:
        return None, ""
    return found.management, found.url


def _queues(management: Management | None, url: str) -> list[QueueCount]:
    if management is None:
        return []
    try:
        return queue_counts.now(management, url)
    except ClusterError:
        return []


def _open_breakers(management: Management | None) -> list[OpenBreaker]:
    if management is None:
        return []
    try:
        return management.open_breakers()
    except ClusterError:
        return []


def _takes_nothing(breaker: OpenBreaker) -> str:
    """One line on such a worker, of whose words anybody may be the author."""
    return printable(
        f"{breaker.host}: the worker with pid {breaker.pid} takes nothing of {breaker.queue} since {breaker.since}: "
        f"{breaker.reason}; it tries one now and then. Mend the action or the host, then ./inv worker.restart"
    )


def _app_table(apps: list[tuple[str, AppStatus]]) -> str:
    rows = [
        (instance.name, instance.state, name, " ".join(map(str, instance.ports.values())), instance.detail)
        for name, app in apps
        for instance in app.instances
    ]
    return table(("INSTANCE", "STATE", "SCHEDULER", "ADDRESSES", ""), rows)


def _queue_table(queues: list[QueueCount]) -> str:
    rows = [
        (one.name, *(f"{count:,}" for count in (one.waiting, one.in_work, one.to_retry, one.failed, one.workers)))
        for one in work_queues(queues)
    ]
    return table(("QUEUE", "WAITING", "IN WORK", "TO RETRY", "FAILED", "WORKERS"), rows) if rows else ""
