"""The components as apps: their definitions, or a person's own, filled and read for an engine.

The queue has fixed ports and guest on this machine, and is kept to the host of its data on a cluster.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from cluster.apps import definitions
from cluster.apps.app import DRAIN, AppSpec, Image
from cluster.apps.definitions import Value
from cluster.apps.flags import AppOverrides
from cluster.apps.traits import EngineTraits
from cluster.components import QUEUE, WORKER, Component
from cluster.settings import Settings
from scripts.amqp.broker import redacted
from scripts.amqp.queues import checked_name
from scripts.app_id import canonical_app_id
from scripts.errors import ClusterError, WrongUsage
from scripts.worker import options as worker_options

# What is added to a definition has to find its place there; all else its engine checks.
_SHAPE: Mapping[str, type] = {
    "env": dict, "labels": dict, "constraints": list, "fetch": list, "container": dict, "container.docker": dict,
    "container.volumes": list,
}  # fmt: skip


def app_id_of(overrides: AppOverrides, usual: str) -> str:
    """Return the id that the app will have: --app, else that of the person's own definition, else the usual one."""
    if overrides.definition and not overrides.app_id:
        usual = definitions.load(overrides.source).get("id", "")
        if not isinstance(usual, str) or not usual:
            raise ClusterError(f"{overrides.source}: id is missing: an app needs one, such as /amqp")
    return canonical_app_id(overrides.app_id or usual)


def app_from(
    component: Component, app_id: str, engine: EngineTraits, image: Image, overrides: AppOverrides,
    values: Mapping[str, Value],
) -> AppSpec:  # fmt: skip
    """Return the app of the component's definition, or of the person's own, filled with these values."""
    found: dict[str, Value] = {"IMAGE": image.name, "TAG": image.tag, **values}
    if engine.address:
        found["HOST_PORT"] = engine.address
    source, shown = component.definition, component.definition.name
    if overrides.definition:
        source, shown = overrides.source, str(overrides.source)
    definition = definitions.fill(definitions.load(source), found, shown) | {"id": app_id}
    _check_shape(definition, source, engine.has_images)
    if overrides.constraints:
        definition["constraints"] = [*(definition.get("constraints") or []), *map(list, overrides.constraints)]
    app = definitions.read(definition)
    flagged = {f"--constraint {':'.join(parts)}": list(parts) for parts in overrides.constraints}
    return replace(app, unheld={**app.unheld, **flagged})


def _check_shape(definition: Mapping[str, Any], source: Path, has_image: bool) -> None:
    for path, kind in _SHAPE.items():
        found = definitions.value_at(definition, path.split("."))
        if found is not None and not isinstance(found, kind):
            raise ClusterError(f"{source}: {path} is {found!r}: {'a list' if kind is list else 'an object'} is needed")
    if has_image and not definitions.value_at(definition, ["container", "docker", "image"]):
        raise ClusterError(f'{source}: container.docker.image is missing: write "{{{{IMAGE}}}}" there')


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


# After --drain the worker ends its actions (TERM, KILL after 10 s) and hands their messages back (10 s at most).
_AFTER_DRAIN_S = 30


@dataclass(frozen=True)
class Work:
    """The work of an app: a queue, and the action and options with which workers take its messages.

    `url` is a broker that a person named (empty: the queue of the engine where they run); `drain_s` is how long a stop
    waits for running actions (None: as the definition says). `names_action`: a person chose it, not invoke.yaml.
    """

    queue: str
    action: tuple[str, ...]
    url: str = field(default="", repr=False)
    options: tuple[str, ...] = ()
    drain_s: int | None = None
    names_action: bool = True

    @classmethod
    def of(
        cls, settings: Settings, *, queue: str = "", action: str = "", url: str = "", jobs: int = -1,
        timeout_s: float = 0, attempts: int = 0, keep_alive: bool = False, drain_s: int = -1, rest: str = "",
    ) -> Work:  # fmt: skip
        """Return what flags ask for, with the defaults of invoke.yaml where one is empty, 0 or -1."""
        words = split_command("--options", rest) if rest.strip() else []
        options = ["--tag"]
        if jobs >= 0 or not any(word.startswith("-j") for word in words):
            options += ["-j", str(jobs if jobs >= 0 else settings.worker.jobs)]
        options += ["--timeout", f"{timeout_s:.15g}"] if timeout_s else []
        options += ["--attempts", str(attempts)] if attempts else []
        options += ["--drain", str(drain_s)] if drain_s >= 0 else []
        options += ["--keep-alive"] if keep_alive else []
        options += words
        command = split_command("--action", action or settings.worker.action)
        _check_options(options, command)
        name = checked_name(queue or settings.queue.name)
        return cls(name, tuple(command), url, tuple(options), drain_s if drain_s >= 0 else None, bool(action))


def worker_id(work: Work, overrides: AppOverrides) -> str:
    """Return the id of the app that does this work."""
    usual = "" if overrides.app_id or overrides.definition else definitions.worker_id(work.queue)
    return app_id_of(overrides, usual)


def worker_app(
    settings: Settings, engine: EngineTraits, image: Image, work: Work, broker: Sequence[str],
    overrides: AppOverrides = AppOverrides(),
) -> AppSpec:  # fmt: skip
    """Return workers for an engine.

    `broker` are the words of the worker's command line that say where its broker is.
    """
    if work.url and overrides.definition and "{{BROKER}}" not in json.dumps(definitions.load(overrides.source)):
        raise ClusterError(
            f"-u {redacted(work.url)}: {overrides.source} has no {{{{BROKER}}}} in it, which -u stands for"
        )
    values: Mapping[str, str | Sequence[str]] = {
        "BROKER": broker, "QUEUE": work.queue, "ACTION": work.action, "OPTIONS": work.options,
    }  # fmt: skip
    app = app_from(WORKER, worker_id(work, overrides), engine, image, overrides, values)
    if not overrides.definition:
        app = _as_in_settings(settings, engine, app)
    app = _as_person(engine, app)
    if work.drain_s is not None:
        grace_s = work.drain_s + _AFTER_DRAIN_S
        app = replace(app.with_labels({DRAIN: str(grace_s)}), kill_grace_s=grace_s)
    return overrides.applied_to(app)


def _as_in_settings(settings: Settings, engine: EngineTraits, app: AppSpec) -> AppSpec:
    """Return the workers of the component's own definition as invoke.yaml and the engine have them."""
    worker = settings.worker
    app = replace(app, instances=worker.instances, cpus=worker.cpus, mem_mib=worker.mem_mib)
    if engine.is_here:
        volumes = (replace(one, host_path=worker.tmp) if one.path == "/tmp" else one for one in app.volumes)
        app = replace(app, volumes=tuple(volumes))
    return app


def _as_person(engine: EngineTraits, app: AppSpec) -> AppSpec:
    """Return the workers as run by the user whom their files should belong to, unless the definition names one."""
    if not engine.user or "user" in dict(app.container_options):
        return app
    return replace(app, container_options=(*app.container_options, ("user", engine.user)))


def split_command(flag: str, text: str) -> list[str]:
    """Return a command line as words, by the shell's quoting rules."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ClusterError(f"{flag} {text!r}: {error}") from error
    if not words:
        raise ClusterError(f"{flag} is empty: name a file of components/worker/scripts/ or a command")
    return words


def _check_options(options: Sequence[str], action: Sequence[str]) -> None:
    """Refuse options that cluster_worker would, before workers that run well are replaced by some that cannot start."""
    try:
        taken = worker_options.parse(["-u", "amqp://any", "-q", "any", *options, "--", *action])
    except WrongUsage as error:
        raise ClusterError(f"--options: {error}") from error
    if taken.command != tuple(action):
        raise ClusterError(f"--options: {taken.command[0]!r} is no option; see cluster_worker --help")


def options_of(app: AppSpec) -> worker_options.Options | None:
    """Return the command line of an app's cluster_worker; None where there is none that can be read."""
    return _options_in(app.command)


@cache
def _options_in(command: str) -> worker_options.Options | None:
    try:
        words = shlex.split(command)
        return worker_options.parse(words[words.index("cluster_worker") + 1 :])
    except (ValueError, WrongUsage):
        return None
