"""The private registry of this machine: started where it is not running."""

from __future__ import annotations

import json
from collections.abc import Callable

import docker

from cluster.apps import definitions
from cluster.apps.app import AppSpec
from cluster.components import REGISTRY
from cluster.engine import port_holder
from cluster.image_ref import ImageRef, is_local
from cluster.images import build as image_build
from cluster.images.registry_api import answers
from cluster.schedulers import DeployOptions, Scheduler
from cluster.schedulers.instances import port_is_free
from cluster.settings import Settings
from scripts.errors import ClusterError
from scripts.hostport import HostPort

START_TIMEOUT_S = 60

# Not in the registry that it is: its name must not change with that one's address.
IMAGE = ImageRef("cluster-registry", "v1")


def ensure_up(
    settings: Settings, client: docker.DockerClient, scheduler: Scheduler, say: Callable[[str], None]
) -> None:
    """Run the registry of this machine where none answers; a registry elsewhere is left to who runs it.

    Raises:
        ClusterError: its port is taken by something else, or it does not start.
    """
    if not is_local(settings.registry) or answers(settings.registry):
        return
    port = HostPort.parse(settings.registry).port
    if not _is_deployed(scheduler):
        refuse_taken_port(port)
    image_build.build(client, REGISTRY, IMAGE, say)
    say(f"starting the private registry at {settings.registry}")
    scheduler.apply(scheduler.plan(registry_app(port)), DeployOptions(timeout_s=START_TIMEOUT_S))
    if not answers(settings.registry):
        raise ClusterError(f"the registry runs but does not answer at {settings.registry}: see `./inv registry.logs`")


def dry_run(settings: Settings, scheduler: Scheduler) -> str:
    """What `ensure_up` would start, as JSON."""
    if not is_local(settings.registry) or answers(settings.registry):
        return "{}"
    return json.dumps(scheduler.plan(registry_app(HostPort.parse(settings.registry).port)).sent, indent=2)


def registry_app(port: int) -> AppSpec:
    """Return the registry on this port of this machine."""
    filled = definitions.fill(definitions.load(REGISTRY.definition), {"IMAGE": str(IMAGE), "TAG": IMAGE.tag})
    return definitions.read(filled).with_host_ports({"registry": port})


def refuse_taken_port(port: int) -> None:
    """Say before anything is built that something else listens there.

    Raises:
        ClusterError: something does.
    """
    if port_is_free(port):
        return
    by = port_holder(port) or "another program (as root, ss -ltnp shows which)"
    raise ClusterError(
        f"the registry cannot run on port {port} of this machine: {by} listens there and is no registry: stop it, or "
        f"set another port in invoke.yaml, such as registry: localhost:{port + 1}"
    )


def _is_deployed(scheduler: Scheduler) -> bool:
    return any(app.id == REGISTRY.app_id for app in scheduler.status())
