"""The queue as an app: on this machine with fixed ports and guest, on a cluster kept to the host of its data."""

from __future__ import annotations

from dataclasses import replace

from cluster.apps.app import AppSpec, Image
from cluster.apps.flags import AppOverrides
from cluster.apps.templates import EngineTraits, app_from, app_id_of
from cluster.components import QUEUE
from cluster.settings import Settings
from scripts.errors import ClusterError

# RabbitMQ lets guest in from a loopback address only, and through a published port a client has another address.
# On one machine the port itself is published on 127.0.0.1 alone.
_GUEST_FROM_ANYWHERE = {"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-rabbit loopback_users []"}

# Data that an engine makes a folder for is root's; the queue's image runs as a plain user without root's powers.
_OWN_DATA = "chown rabbitmq:rabbitmq /var/lib/rabbitmq && exec env HOME=/var/lib/rabbitmq"
_AS_RABBITMQ = "setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups"
# For chown, for setpriv, and for the init process, which is root's, to send RabbitMQ the signal that stops it.
_POWERS_OF_ROOT = ("CHOWN", "SETUID", "SETGID", "KILL")


def queue_app(
    settings: Settings, engine: EngineTraits, image: Image, host: str = "localhost",
    overrides: AppOverrides = AppOverrides(),
) -> AppSpec:  # fmt: skip
    """Return the queue for an engine, its data kept on `host`."""
    app_id = app_id_of(overrides, QUEUE.app_id)
    app = app_from(QUEUE, app_id, engine, image, overrides, {"QUEUE_HOST": host})
    if not overrides.definition:
        app = replace(app, mem_mib=settings.queue.mem_mib)
        app = _as_owner_of_its_data(app) if engine.makes_data_folders else app
    if engine.is_here:
        queue = settings.queue
        ports = {"amqp": queue.port, "management": queue.management_port, "prometheus": queue.prometheus_port}
        app = guest_from_anywhere(app.with_host_ports(ports))
    return overrides.applied_to(app)


def guest_from_anywhere(app: AppSpec) -> AppSpec:
    """Return the queue that lets guest in from every address that can reach it."""
    return app.with_env(_GUEST_FROM_ANYWHERE)


def kept_host(on: str, present: AppSpec | None, hosts: list[str], may_leave_data: bool) -> str:
    """Return the host that keeps the queue's data: the named one, else where it is, else the only one there is."""
    before = present.pinned_to if present else ""
    if before and on and on != before and not may_leave_data:
        raise ClusterError(
            f"--on {on}: the queue is kept on {before}; the messages that it has there (/var/lib/cluster/amqp) would "
            f"stay, and it begin empty: deploy it on {before}, or, if it never ran there, add --move-without-data"
        )
    found = on or before or (hosts[0] if len(hosts) == 1 else "")
    if not found:
        raise ClusterError(
            "--on is missing: name the host that shall keep the queue's messages, as its engine calls it"
            + (f", such as {hosts[0]}" if hosts else "")
        )
    return found


def _as_owner_of_its_data(app: AppSpec) -> AppSpec:
    """Begin the queue as root, which gives the data's folder to RabbitMQ's user and goes on as that one."""
    powers = (("user", "root"), *(("cap-add", power) for power in _POWERS_OF_ROOT))
    return replace(
        app,
        command=f"{_OWN_DATA} {_AS_RABBITMQ} {app.command.removeprefix('exec ')}",
        container_options=(*app.container_options, *powers),
    )
