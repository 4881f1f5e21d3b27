"""What is there, as a table for people or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from cluster import here, registry_api
from cluster.schedulers import AppStatus
from cluster.settings import Settings
from scripts.broker import open_blocking
from scripts.errors import ClusterError
from scripts.management import QueueCount


def status(settings: Settings, *, as_json: bool) -> str:
    """The apps that run on this machine and the queues of the broker here."""
    apps = [(where.name, app) for where in here.every_scheduler(settings) for app in where.status()]
    queues = _queues(settings) if any(app.id == "/amqp" for _, app in apps) else []
    if as_json:
        found = [{"scheduler": name} | asdict(app) for name, app in apps]
        return json.dumps({"apps": found, "queues": [asdict(queue) for queue in queues]}, indent=2, default=str)
    if not apps:
        return "nothing runs here; `./inv demo` or `./inv queue.run-local` starts something"
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


def _queues(settings: Settings) -> list[QueueCount]:
    """The management API knows all queues, but its figures are up to 5 seconds old; AMQP's are of now."""
    try:
        found = settings.queue.management.queues()
        connection = open_blocking(settings.queue.url)
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
