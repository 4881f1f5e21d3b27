"""Which scheduler runs apps on this machine."""

from __future__ import annotations

from cluster.schedulers import Scheduler
from cluster.settings import Settings
from scripts.errors import ClusterError, ServiceAway


def scheduler(settings: Settings) -> Scheduler:
    """The scheduler that invoke.yaml names.

    Raises:
        ServiceAway: it is `local` and no Docker Engine answers.
    """
    return process(settings) if settings.scheduler == "process" else local(settings)


def every_scheduler(settings: Settings) -> list[Scheduler]:
    """All schedulers that may have something running here; without an engine that is `process` alone."""
    try:
        return [local(settings), process(settings)]
    except ServiceAway:
        return [process(settings)]


def running(settings: Settings, app_id: str) -> Scheduler:
    """The scheduler under which an app runs here.

    Raises:
        ClusterError: under none.
    """
    for where in every_scheduler(settings):
        if app_id in [app.id for app in where.status()]:
            return where
    raise ClusterError(f"{app_id} does not run here: `./inv status` shows what does")


def local(settings: Settings) -> Scheduler:
    """The Docker Engine of this machine."""
    from cluster import engine
    from cluster.schedulers.local import Local

    return Local(engine.connect(), settings.project)


def process(settings: Settings) -> Scheduler:
    """Plain processes of this machine."""
    from cluster.schedulers.process import Process

    return Process(settings.project)
