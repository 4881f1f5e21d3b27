"""The apps of a cluster: the components' definitions, or a person's own, filled for Marathon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster import definitions
from cluster.apps import Work, with_drain
from cluster.components import QUEUE, WORKER
from cluster.hosts.trust import ARCHIVE
from cluster.schedulers import App
from cluster.settings import Settings
from scripts.errors import ClusterError

# Data that an agent's engine makes a folder for is root's; the queue's image runs as a plain user without one's powers.
_OWN_DATA = "chown rabbitmq:rabbitmq /var/lib/rabbitmq && exec env HOME=/var/lib/rabbitmq"
_AS_RABBITMQ = "setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups"


@dataclass(frozen=True)
class Image:
    """What a definition calls an image: by its content; `tag` is what the person said, `has_login` what agents need."""

    name: str
    tag: str
    has_login: bool = False


@dataclass(frozen=True)
class Wish:
    """What flags say of an app beside its work: its id and file (empty: the component's), and what is added to it.

    `numbers` (`instances`, `cpus`, `mem`) are put in place of the definition's.
    """

    app_id: str = ""
    definition: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    volumes: Sequence[Mapping[str, str]] = ()
    constraints: Sequence[Sequence[str]] = ()


def wish(
    *, app: str, definition: str, instances: int, cpus: float, mem_mib: int, env: Sequence[str],
    volumes: Sequence[str], constraints: Sequence[str],
) -> Wish:  # fmt: skip
    """What the flags of worker.deploy say; empty ones and 0 leave the definition as it is.

    Raises:
        ClusterError: one that makes no sense.
    """
    numbers = {"instances": instances, "cpus": cpus, "mem": mem_mib}
    for flag, value in (("--cpus", cpus), ("--mem-mib", mem_mib)):
        if value < 0:
            raise ClusterError(f"{flag} {value:g}: use more than 0")
    return Wish(
        app_id=app,
        definition=definition,
        numbers={key: value for key, value in numbers.items() if value},
        env=parsed_env(env),
        volumes=parsed_volumes(volumes),
        constraints=parsed_constraints(constraints),
    )


def queue_app(settings: Settings, image: Image, host: str, marathon: str, wish: Wish) -> App:
    """The queue, kept to one host, where its data stays."""
    values = _values(image, marathon) | {"QUEUE_HOST": host}
    definition = _filled(QUEUE.definition, wish, values)
    if not wish.definition:
        definition = _as_owner_of_its_data(definition) | {"mem": settings.queue.mem_mib}
    return _finished(definition, definition["id"], image, wish)


def worker_app(work: Work, image: Image, marathon: str, wish: Wish) -> App:
    """Workers that find the queue through Marathon, wherever it runs."""
    values = _values(image, marathon) | {
        "BROKER": ["-m", marathon, "-a", QUEUE.app_id],
        "QUEUE": work.queue,
        "ACTION": list(work.action),
        "OPTIONS": list(work.options),
    }
    definition = _filled(WORKER.definition, wish, values)
    if not wish.definition:
        definition |= {"instances": work.instances, "cpus": work.cpus, "mem": work.mem_mib}
    app_id = definition["id"] if wish.definition else definitions.worker_id(work.queue)
    return _finished(with_drain(definition, work.drain_s), app_id, image, wish)


def kept_host(on: str, present: Mapping[str, Any] | None, agents: Sequence[str], may_leave_data: bool) -> str:
    """The agent that keeps the queue's data: the named one, else where it is, else the only one there is.

    Raises:
        ClusterError: nobody says which, or it is not the one that has the data.
    """
    before = _host_of(present or {})
    if before and on and on != before and not may_leave_data:
        raise ClusterError(
            f"--on {on}: the queue's messages are on {before} (/var/lib/cluster/amqp) and would stay there, and the "
            f"queue begin empty: deploy it on {before}, or add --move-without-data"
        )
    found = on or before or (agents[0] if len(agents) == 1 else "")
    if not found:
        raise ClusterError(
            "--on is missing: name the agent that shall keep the queue's messages, as Marathon calls it"
            + (f", such as {agents[0]}" if agents else "")
        )
    return found


def _host_of(app: Mapping[str, Any]) -> str:
    constraints = app.get("constraints") or []
    return next((str(one[2]) for one in constraints if len(one) == 3 and one[:2] == ["hostname", "CLUSTER"]), "")


def _values(image: Image, marathon: str) -> dict[str, Any]:
    return {"IMAGE": image.name, "TAG": image.tag, "HOST_PORT": marathon}


def _filled(own: Path, wish: Wish, values: Mapping[str, Any]) -> dict[str, Any]:
    source = Path(wish.definition).expanduser() if wish.definition else own
    definition = definitions.fill(definitions.load(source), values, source.name if not wish.definition else source)
    if not isinstance(definition.get("id"), str):
        raise ClusterError(f"{source}: id is missing: an app needs one, such as /amqp")
    return definition


def _finished(definition: dict[str, Any], app_id: str, image: Image, wish: Wish) -> App:
    """The definition with what flags add; a definition's own constraints stay."""
    app_id = definitions.checked_id(wish.app_id or app_id)
    definition = definition | dict(wish.numbers) | {"id": app_id}
    if wish.env:
        definition["env"] = {**(definition.get("env") or {}), **wish.env}
    if wish.constraints:
        definition["constraints"] = [*(definition.get("constraints") or []), *map(list, wish.constraints)]
    if wish.volumes:
        container = definition.get("container") or {}
        volumes = [*(container.get("volumes") or []), *map(dict, wish.volumes)]
        definition["container"] = {**container, "volumes": volumes}
    if image.has_login:
        definition["fetch"] = [*(definition.get("fetch") or []), {"uri": f"file://{ARCHIVE}"}]
    return App(app_id, definition)


def _as_owner_of_its_data(definition: dict[str, Any]) -> dict[str, Any]:
    """The queue begun as root, which gives the data's folder to RabbitMQ's user and goes on as that one."""
    container = definition["container"]
    docker = container["docker"]
    parameters = [*docker.get("parameters", []), {"key": "user", "value": "root"}]
    command = definition["cmd"].removeprefix("exec ")
    return definition | {
        "cmd": f"{_OWN_DATA} {_AS_RABBITMQ} {command}",
        "container": container | {"docker": docker | {"parameters": parameters}},
    }


def parsed_env(pairs: Sequence[str]) -> dict[str, str]:
    """`NAME=value` flags; later ones win.

    Raises:
        ClusterError: one has another shape.
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise ClusterError(f"--env {pair!r}: write it as NAME=value")
        found[name] = value
    return found


def parsed_volumes(texts: Sequence[str]) -> list[dict[str, str]]:
    """`HOST:CONTAINER[:ro]` flags as Marathon's volumes.

    Raises:
        ClusterError: one has another shape.
    """
    found = []
    for text in texts:
        host, container, mode = [*text.split(":"), "rw"][:3] if text.count(":") < 3 else ("", "", "")
        if not host.startswith("/") or not container.startswith("/") or mode not in ("ro", "rw"):
            raise ClusterError(f"--volume {text!r}: write it as /folder/of/the/agent:/folder/in/the/container[:ro]")
        found.append({"containerPath": container, "hostPath": host, "mode": mode.upper()})
    return found


def parsed_constraints(texts: Sequence[str]) -> list[list[str]]:
    """`FIELD:OPERATOR[:VALUE]` flags as Marathon's constraints.

    Raises:
        ClusterError: one has another shape.
    """
    found = [text.split(":", 2) for text in texts]
    for text, parts in zip(texts, found, strict=True):
        if len(parts) < 2 or not all(parts):
            raise ClusterError(f"--constraint {text!r}: write it as FIELD:OPERATOR[:VALUE], such as hostname:UNIQUE")
    return found
