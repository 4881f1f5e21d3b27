"""The private registry of this machine: started where none runs, replaced where an earlier version started it."""

from __future__ import annotations

import json
from collections.abc import Callable

import docker

from cluster.apps.app import AppSpec
from cluster.components import REGISTRY
from cluster.image_ref import is_local, registry_address
from cluster.images import build as image_build
from cluster.images.registry_api import answers
from cluster.registry.plan import IMAGE, START_TIMEOUT_S, local_app
from cluster.schedulers import DeployOptions, Scheduler
from cluster.settings import Settings
from scripts.errors import ClusterError


def ensure_up(
    settings: Settings, client: docker.DockerClient, scheduler: Scheduler, say: Callable[[str], None]
) -> None:
    """Run the registry of this machine where none answers; a registry elsewhere is left to who runs it."""
    registry = settings.registry
    app = _missing(registry, scheduler)
    if app is None:
        return
    scheduler.plan(app)  # refuses a port that is taken before anything is built
    image_build.build(client, REGISTRY, IMAGE, say)
    say(f"starting the private registry at {registry}")
    scheduler.apply(scheduler.plan(app), DeployOptions(timeout_s=START_TIMEOUT_S))
    if not answers(registry):
        raise ClusterError(f"the registry runs but does not answer at {registry}: see `./inv registry.logs`")


def dry_run(settings: Settings, scheduler: Scheduler) -> str:
    """Return what `ensure_up` would start, as JSON."""
    app = _missing(settings.registry, scheduler)
    return json.dumps(scheduler.plan(app).sent if app else {}, indent=2)


def _missing(registry: str, scheduler: Scheduler) -> AppSpec | None:
    """Return the app to deploy; None where the registry is elsewhere, or one answers that is right or not ours."""
    if not is_local(registry):
        return None
    app = local_app(registry)
    if answers(registry) and not (_is_ours(registry, scheduler) and scheduler.plan(app).kind != "nothing"):
        return None
    return app


def _is_ours(registry: str, scheduler: Scheduler) -> bool:
    port = registry_address(registry).port
    instances = [one for app in scheduler.status() if app.id == REGISTRY.app_id for one in app.instances]
    return any(port == address.port for one in instances for address in one.ports.values())
