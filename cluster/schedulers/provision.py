"""The engine of this machine for whoever begins with nothing: installed where that may be done."""

from __future__ import annotations

from dataclasses import replace

from cluster import engine
from cluster.schedulers import Say, Scheduler, selection
from cluster.schedulers.process import rabbitmq
from cluster.settings import Settings
from scripts.errors import ServiceAway


def provide(settings: Settings, say: Say, *, containers: bool = True) -> Scheduler:
    """Return an engine of this machine: one that runs containers where it can be had and is wanted, else processes.

    Raises:
        ServiceAway: neither can run here.
        ClusterError: apt-get fails.
    """
    if not containers or settings.scheduler == "process":
        return _processes(settings, say)
    try:
        engine.ensure(say)
    except ServiceAway as error:
        say(f"{error}\nso this runs without containers, as plain processes")
        return _processes(settings, say)
    return selection.local(settings, say)


def _processes(settings: Settings, say: Say) -> Scheduler:
    rabbitmq.ensure_installed(say)
    return selection.scheduler(settings, selection.here(replace(settings, scheduler="process")), say)
