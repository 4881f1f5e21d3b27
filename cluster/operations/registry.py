"""The private registry: of this machine, or of a host of the cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import docker

from cluster import engine
from cluster.apps.app import AppSpec
from cluster.components import REGISTRY
from cluster.hosts import ssh
from cluster.hosts.host import Host
from cluster.image_ref import is_local, registry_address
from cluster.images import build as image_build
from cluster.images.registry_api import answers
from cluster.interrupts import Interrupted
from cluster.registry import host as host_registry
from cluster.registry.plan import IMAGE, START_TIMEOUT_S, local_app
from cluster.schedulers import DeployOptions, Say, Scheduler, selection
from cluster.settings import Settings
from scripts.errors import ClusterError


def up(settings: Settings, host: str, address: str, *, dry_run: bool, say: Say) -> str:
    """Run the private registry of this machine, or of a host, where it does not run as it should; return its address.

    With `dry_run`, return what would be done, as JSON.
    """
    if host:
        return (host_registry.dry_run if dry_run else host_registry.up)(settings, host, address, say)
    if address:
        raise ClusterError("--address is that of a host's registry: give the host, too, with --host")
    client, here = engine.connect(), selection.local(settings, say)
    if dry_run:
        return dry_run_here(settings, here)
    ensure_up(settings, client, here, say)
    return settings.registry


def ensure_up(settings: Settings, client: docker.DockerClient, here: Scheduler, say: Say) -> None:
    """Run the registry of this machine where none answers; a registry elsewhere is left to who runs it."""
    registry = settings.registry
    app = _missing(registry, here)
    if app is None:
        return
    here.plan(app)  # refuses a port that is taken before anything is built
    image_build.build(client, REGISTRY, IMAGE, say)
    say(f"starting the private registry at {registry}")
    here.apply(here.plan(app), DeployOptions(timeout_s=START_TIMEOUT_S))
    if not answers(registry):
        raise ClusterError(f"the registry runs but does not answer at {registry}: see `./inv registry.logs`")


def dry_run_here(settings: Settings, here: Scheduler) -> str:
    """Return what `ensure_up` would start, as JSON."""
    app = _missing(settings.registry, here)
    return json.dumps(here.plan(app).sent if app else {}, indent=2)


def _missing(registry: str, here: Scheduler) -> AppSpec | None:
    """Return the app to deploy; None where the registry is elsewhere, or one answers that is right or not ours."""
    if not is_local(registry):
        return None
    wanted = local_app(registry)
    if answers(registry):
        instances = [one for app in here.status() if app.id == REGISTRY.app_id for one in app.instances]
        ports = {address.port for one in instances for address in one.ports.values()}
        if registry_address(registry).port not in ports or here.plan(wanted).kind == "nothing":
            return None
    return wanted


def logs(settings: Settings, host: str, tail: int, follow: bool, say: Say) -> Iterator[str]:
    """Yield the last lines that the registry of this machine, or of a host, printed."""
    with _engine(settings, host, say) as where:
        yield from where.logs(REGISTRY.app_id, tail, follow)


def stop(settings: Settings, host: str, say: Say) -> None:
    """Stop the registry of this machine, or of a host; its images, its certificate and its login stay."""
    with _engine(settings, host, say) as where:
        say(f"stopping the registry on {where.place}; its images stay there")
        try:
            where.stop(REGISTRY.app_id)
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted: {where.place} goes on stopping it; ./inv registry.status shows it"
            ) from None


@contextmanager
def _engine(settings: Settings, host: str, say: Say) -> Iterator[Scheduler]:
    """Yield the engine that runs the registry of this machine, or of a host (ClusterError: none does)."""
    if not host:
        yield selection.running(selection.of_this_machine(settings, say), REGISTRY.app_id)
        return
    with ssh.connected(settings, Host.parse(host)) as remote:
        there = selection.on_host(settings, remote, say)
        if there.present(REGISTRY.app_id) is None:
            raise ClusterError(f"{host}: no registry of this project is there: `./inv registry.up --host {host}`")
        yield there
