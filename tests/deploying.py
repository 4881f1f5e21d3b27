"""Changes of apps as the commands make them, on any engine."""

from __future__ import annotations

from cluster.apps.app import AppSpec, AppStatus
from cluster.operations import operate
from cluster.operations.operate import Target
from cluster.schedulers import DeployOptions, Scheduler


def deploy(engine: Scheduler, app: AppSpec, timeout_s: float = 60) -> AppStatus:
    """Run the app in place of what runs under its id, and return when all of it works."""
    options = DeployOptions(timeout_s=timeout_s)
    return engine.apply(engine.plan(app, options), options)


def scale(engine: Scheduler, app_id: str, instances: int) -> AppStatus:
    """Run so many instances."""
    return operate.scale(_target(engine, app_id), instances, _nobody)


def restart(engine: Scheduler, app_id: str) -> AppStatus:
    """Start every instance anew."""
    return operate.restart(_target(engine, app_id), _nobody)


def rollback(engine: Scheduler, app_id: str, to: str = "") -> AppStatus:
    """Run an earlier version."""
    return operate.rollback(_target(engine, app_id), to, _nobody)


def _target(engine: Scheduler, app_id: str) -> Target:
    return Target(app_id, engine, DeployOptions(timeout_s=60))


def _nobody(line: str) -> None:
    """Hear a line that nobody is to be told."""
