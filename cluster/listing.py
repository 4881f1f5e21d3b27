"""What is there, as a table for people or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from cluster import here, queue_there, registry_api
from cluster.schedulers import AppStatus, Scheduler
from cluster.settings import Settings
from scripts.amqp.broker import open_blocking
from scripts.amqp.management import Management, QueueCount
from scripts.errors import ClusterError


def status(settings: Settings, *, as_json: bool, marathon: str = "") -> str:
    """The apps that run on a Marathon, else on this machine, and the queues of the broker there."""
    where = here.marathon_of(settings, marathon)
    apps = [(one.name, app) for one in _schedulers(settings, where) for app in one.status()]
    queues = _queues(*_broker(settings, where)) if any(app.id == "/amqp" for _, app in apps) else []
    if as_json:
        found = [{"scheduler": name} | asdict(app) for name, app in apps]
        return json.dumps({"apps": found, "queues": [asdict(queue) for queue in queues]}, indent=2, default=str)
    if not apps:
        return _nothing(settings, where)
    return "\n\n".join(part for part in (_app_table(apps), _queue_table(queues)) if part)


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
    """The management API knows all queues, but its figures are up to 5 seconds old; AMQP's are of now."""
    if management is None:
        return []
    try:
        found = management.queues()
        connection = open_blocking(url)
    except ClusterError:
        return []
    channel = connection.channel()
    now = [channel.queue_declare(queue.name, passive=True).method for queue in found]
    connection.close()
    return [
        replace(queue, ready=fresh.message_count, consumers=fresh.consumer_count)
        for queue, fresh in zip(found, now, strict=True)
    ]


def _app_table(apps: list[tuple[str, AppStatus]]) -> str:
    rows = [
        (instance.name, instance.state, name, " ".join(map(str, instance.ports.values())), instance.detail)
        for name, app in apps
        for instance in app.instances
    ]
    return table(("INSTANCE", "STATE", "SCHEDULER", "ADDRESSES", ""), rows)


def _queue_table(queues: list[QueueCount]) -> str:
    rows = [(queue.name, f"{queue.ready:,}", f"{queue.unacknowledged:,}", str(queue.consumers)) for queue in queues]
    return table(("QUEUE", "WAITING", "IN WORK", "WORKERS"), rows) if rows else ""
