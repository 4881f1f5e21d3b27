"""The apps of this machine: the components' definitions, filled and fitted to one host."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster import credentials
from cluster.apps import definitions
from cluster.components import QUEUE, WORKER
from cluster.schedulers import App
from cluster.schedulers.instances import DRAIN
from cluster.settings import Settings
from scripts.amqp.queues import checked_name
from scripts.errors import ClusterError, WrongUsage
from scripts.worker import options as worker_options

# RabbitMQ lets guest in from a loopback address only, and through a published port a client has another address.
# On one machine the port itself is published on 127.0.0.1 alone.
_GUEST_FROM_ANYWHERE = {"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-rabbit loopback_users []"}

# After --drain the worker ends its actions (TERM, KILL after 10 s) and hands their messages back (10 s at most).
_AFTER_DRAIN_S = 30

# In a container: the folder that has it here is closed to the container's user, and may be below its /tmp.
_PASSWORD_FILE = "/run/secrets/amqp-password"


@dataclass(frozen=True)
class Work:
    """What a worker app is to do: with which action and options it takes messages of which queue from which broker.

    `cpus` is in cores and `mem_mib` the memory limit of one instance; `drain_s` is how long a stop waits for running
    actions (None: as the definition says); `user` is who a container runs as, in Docker's words (empty: the image's);
    without a container (`in_container`) files are where they are on this machine.
    """

    queue: str
    action: tuple[str, ...]
    url: str
    instances: int = 1
    cpus: float = 1
    mem_mib: int = 512
    options: tuple[str, ...] = ()
    drain_s: int | None = None
    user: str = ""
    in_container: bool = True


def queue_app(settings: Settings, image: str, tag: str) -> App:
    """The queue on this machine, on the ports of the settings."""
    ports = settings.queue
    definition = definitions.fill(
        definitions.load(QUEUE.definition), {"IMAGE": image, "TAG": tag, "QUEUE_HOST": "localhost"}
    )
    definition = with_ports(
        definition,
        {"amqp": ports.port, "management": ports.management_port, "prometheus": ports.prometheus_port},
    )
    definition["mem"] = ports.mem_mib
    return guest_from_anywhere(App(definition["id"], definition))


def guest_from_anywhere(app: App) -> App:
    """The queue that lets guest in from every address that can reach it."""
    return App(app.id, app.definition | {"env": (app.definition.get("env") or {}) | _GUEST_FROM_ANYWHERE})


def worker_app(settings: Settings, work: Work, image: str, tag: str) -> App:
    """Workers on this machine."""
    broker, env, password_file = credentials.for_apps(work.url, settings, _PASSWORD_FILE if work.in_container else "")
    values: dict[str, Any] = {
        "IMAGE": image,
        "TAG": tag,
        "BROKER": ["-u", broker],
        "QUEUE": work.queue,
        "ACTION": list(work.action),
        "OPTIONS": list(work.options),
    }
    definition = definitions.fill(definitions.load(WORKER.definition), values)
    definition |= {
        "id": definitions.worker_id(work.queue),
        "instances": work.instances,
        "cpus": work.cpus,
        "mem": work.mem_mib,
        "env": definition.get("env", {}) | env,
    }
    definition = with_drain(definition, work.drain_s)
    return App(definition["id"], with_user(with_volumes(definition, settings, password_file), work.user))


def with_drain(definition: dict[str, Any], drain_s: int | None) -> dict[str, Any]:
    """The definition whose every stop gives running actions so many seconds; None: as long as it says itself."""
    if drain_s is None:
        return definition
    grace_s = drain_s + _AFTER_DRAIN_S
    labels = {**(definition.get("labels") or {}), DRAIN: str(grace_s)}
    return definition | {"labels": labels, "taskKillGracePeriodSeconds": grace_s}


def with_ports(definition: dict[str, Any], host_ports: Mapping[str, int]) -> dict[str, Any]:
    """The definition with fixed host ports for the port mappings of these names."""
    container = definition["container"]
    mappings = [
        mapping | {"hostPort": host_ports.get(mapping.get("name", ""), mapping.get("hostPort", 0))}
        for mapping in container.get("portMappings", [])
    ]
    return definition | {"container": container | {"portMappings": mappings}}


def with_volumes(definition: dict[str, Any], settings: Settings, password_file: str) -> dict[str, Any]:
    """Return the definition with /tmp from the settings' folder and, where there is one, the password file."""
    container = definition["container"]
    volumes = [
        volume | {"hostPath": settings.worker.tmp} if volume["containerPath"] == "/tmp" else volume
        for volume in container.get("volumes", [])
    ]
    if password_file:
        volumes.append({"containerPath": _PASSWORD_FILE, "hostPath": password_file, "mode": "RO"})
    return definition | {"container": container | {"volumes": volumes}}


def with_user(definition: dict[str, Any], user: str) -> dict[str, Any]:
    """The definition whose container runs as this user, so that files that actions leave are that person's."""
    if not user:
        return definition
    container = definition["container"]
    docker = container["docker"]
    parameters = [*docker.get("parameters", []), {"key": "user", "value": user}]
    return definition | {"container": container | {"docker": docker | {"parameters": parameters}}}


def split_command(flag: str, text: str) -> list[str]:
    """A command line as words, by the shell's quoting rules.

    Raises:
        ClusterError: it is empty or a quote is not closed.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ClusterError(f"{flag} {text!r}: {error}") from error
    if not words:
        raise ClusterError(f"{flag} is empty: name a file of components/worker/scripts/ or a command")
    return words


def worker_wish(
    settings: Settings, *, queue: str, action: str, url: str, instances: int, jobs: int, timeout_s: float,
    attempts: int, keep_alive: bool, drain_s: int, rest: str,
) -> Work:  # fmt: skip
    """What the flags of a worker task ask for, with the defaults of invoke.yaml where a value is empty, 0 or -1.

    Raises:
        ClusterError: a number that makes no sense, words whose quotes do not close, an option that is none.
    """
    for flag, value, least in (("--instances", instances, 0), ("--jobs", jobs, -1), ("--attempts", attempts, 0)):
        if value < least:
            raise ClusterError(f"{flag} {value}: use 1 or more")
    options = split_command("--options", rest) if rest.strip() else []
    flags = ["--tag"]
    if jobs >= 0 or not any(word.startswith("-j") for word in options):
        flags += ["-j", str(jobs if jobs >= 0 else settings.worker.jobs)]
    flags += ["--timeout", f"{timeout_s:.15g}"] if timeout_s else []
    flags += ["--attempts", str(attempts)] if attempts else []
    flags += ["--drain", str(drain_s)] if drain_s >= 0 else []
    flags += ["--keep-alive"] if keep_alive else []
    flags += options
    words = split_command("--action", action or settings.worker.action)
    _check_options(flags, words)
    return Work(
        queue=checked_name(queue or settings.queue.name),
        action=tuple(words),
        url=url or settings.queue.url,
        instances=instances or settings.worker.instances,
        cpus=settings.worker.cpus,
        mem_mib=settings.worker.mem_mib,
        options=tuple(flags),
        drain_s=drain_s if drain_s >= 0 else None,
    )


def _check_options(options: Sequence[str], action: Sequence[str]) -> None:
    """See that cluster_worker takes the options, before workers that run well are replaced by some that cannot start.

    Raises:
        ClusterError: it would not.
    """
    try:
        taken = worker_options.parse(["-u", "amqp://any", "-q", "any", *options, "--", *action])
    except WrongUsage as error:
        raise ClusterError(f"--options: {error}") from error
    if taken.command != tuple(action):
        raise ClusterError(f"--options: {taken.command[0]!r} is no option; see cluster_worker --help")
