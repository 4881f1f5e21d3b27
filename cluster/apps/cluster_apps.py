"""The apps of a cluster: the components' definitions, or a person's own, filled for Marathon."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.apps import definitions
from cluster.apps.flags import Wish
from cluster.apps.one_machine import Work, with_drain
from cluster.components import QUEUE, WORKER
from cluster.hosts.files import LOGIN_ARCHIVE
from cluster.schedulers import App
from cluster.settings import Settings
from scripts.amqp.broker import redacted, without_login
from scripts.app_id import canonical_app_id
from scripts.errors import ClusterError

# Data that an agent's engine makes a folder for is root's; the queue's image runs as a plain user without one's powers.
_OWN_DATA = "chown rabbitmq:rabbitmq /var/lib/rabbitmq && exec env HOME=/var/lib/rabbitmq"
_AS_RABBITMQ = "setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups"
# For chown, for setpriv, and for the init process, which is root's, to send RabbitMQ the signal that stops it.
_POWERS_OF_ROOT = ("CHOWN", "SETUID", "SETGID", "KILL")


_SHAPE: Mapping[str, type] = {
    "env": dict, "labels": dict, "constraints": list, "fetch": list, "container": dict, "container.docker": dict,
    "container.volumes": list,
}  # fmt: skip


@dataclass(frozen=True)
class Image:
    """What a definition calls an image: by its content; `tag` is what the person said, `has_login` what agents need.

    Without `architectures` nobody knows for which it is built.
    """

    name: str
    tag: str
    has_login: bool = False
    architectures: Collection[str] = ()


def queue_app(settings: Settings, image: Image, host: str, marathon: str, wish: Wish) -> App:
    """The queue, kept to one host, where its data stays."""
    name = app_id(wish, QUEUE.app_id)
    values = _values(image, marathon) | {"QUEUE_HOST": host}
    definition = _filled(QUEUE.definition, wish, values)
    if not wish.definition:
        definition = _as_owner_of_its_data(definition) | {"mem": settings.queue.mem_mib}
    return _finished(definition, name, image, wish)


def worker_app(work: Work, image: Image, marathon: str, wish: Wish) -> App:
    """Workers that find the queue through Marathon, wherever it runs, or at a broker that was named."""
    name = app_id(wish, definitions.worker_id(work.queue))
    if wish.broker and wish.definition:
        _refuse_without_broker(wish)
    values = _values(image, marathon) | {
        "BROKER": ["-u", without_login(wish.broker)] if wish.broker else ["-m", marathon, "-a", QUEUE.app_id],
        "QUEUE": work.queue,
        "ACTION": list(work.action),
        "OPTIONS": list(work.options),
    }
    definition = _filled(WORKER.definition, wish, values)
    if not wish.definition:
        definition |= {"instances": work.instances, "cpus": work.cpus, "mem": work.mem_mib}
    return _finished(with_drain(definition, work.drain_s), name, image, wish)


def app_id(wish: Wish, usual: str) -> str:
    """The id that the app will have: --app, else that of one's own definition, else the usual one.

    Raises:
        ClusterError: no id of Marathon's, or a definition without one.
    """
    own = _own_id(definitions.load(_source(wish)), _source(wish)) if wish.definition else usual
    return canonical_app_id(wish.app_id or own)


def as_many_as_now(wish: Wish, present: Mapping[str, Any] | None) -> Wish:
    """The wish with the present number of instances where nobody names one: a new image shall not stop workers."""
    if present is None or wish.definition or "instances" in wish.numbers:
        return wish
    return replace(wish, numbers={**wish.numbers, "instances": present.get("instances", 1)})


def kept_host(on: str, present: Mapping[str, Any] | None, agents: Sequence[str], may_leave_data: bool) -> str:
    """The agent that keeps the queue's data: the named one, else where it is, else the only one there is.

    Raises:
        ClusterError: nobody says which, or it is not the one that has the data.
    """
    before = data_host(present or {})
    if before and on and on != before and not may_leave_data:
        raise ClusterError(
            f"--on {on}: the queue is kept on {before}; the messages that it has there (/var/lib/cluster/amqp) would "
            f"stay, and it begin empty: deploy it on {before}, or, if it never ran there, add --move-without-data"
        )
    found = on or before or (agents[0] if len(agents) == 1 else "")
    if not found:
        raise ClusterError(
            "--on is missing: name the agent that shall keep the queue's messages, as Marathon calls it"
            + (f", such as {agents[0]}" if agents else "")
        )
    return found


def data_host(app: Mapping[str, Any]) -> str:
    """The agent that an app is kept to, where its data is; empty for an app that may run on any."""
    constraints = app.get("constraints") or []
    return next((str(one[2]) for one in constraints if len(one) == 3 and one[:2] == ["hostname", "CLUSTER"]), "")


def _values(image: Image, marathon: str) -> dict[str, Any]:
    return {"IMAGE": image.name, "TAG": image.tag, "HOST_PORT": marathon}


def _filled(own: Path, wish: Wish, values: Mapping[str, Any]) -> dict[str, Any]:
    source = _source(wish) if wish.definition else own
    definition = definitions.fill(definitions.load(source), values, source if wish.definition else source.name)
    _check_shape(definition, source)
    return definition


def _refuse_without_broker(wish: Wish) -> None:
    source = _source(wish)
    if "{{BROKER}}" not in json.dumps(definitions.load(source)):
        raise ClusterError(f"-u {redacted(wish.broker)}: {source} has no {{{{BROKER}}}} in it, which -u stands for")


def _check_shape(definition: Mapping[str, Any], source: Path) -> None:
    """What is added to a definition has to find its place there; all else Marathon itself checks."""
    for path, kind in _SHAPE.items():
        found: Any = definition
        for key in path.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if found is not None and not isinstance(found, kind):
            raise ClusterError(f"{source}: {path} is {found!r}: {'a list' if kind is list else 'an object'} is needed")
    if not ((definition.get("container") or {}).get("docker") or {}).get("image"):
        raise ClusterError(f'{source}: container.docker.image is missing: write "{{{{IMAGE}}}}" there')


def _source(wish: Wish) -> Path:
    return Path(wish.definition).expanduser()


def _own_id(definition: Mapping[str, Any], source: Path) -> str:
    found = definition.get("id")
    if not isinstance(found, str):
        raise ClusterError(f"{source}: id is missing: an app needs one, such as /amqp")
    return found


def _finished(definition: dict[str, Any], name: str, image: Image, wish: Wish) -> App:
    """The definition with what flags add; a definition's own constraints stay."""
    definition = definition | dict(wish.numbers) | {"id": name}
    if wish.env:
        definition["env"] = {**(definition.get("env") or {}), **wish.env}
    if wish.constraints:
        definition["constraints"] = [*(definition.get("constraints") or []), *map(list, wish.constraints)]
    if wish.volumes:
        container = definition.get("container") or {}
        volumes = [*(container.get("volumes") or []), *map(dict, wish.volumes)]
        definition["container"] = {**container, "volumes": volumes}
    if image.has_login:
        definition["fetch"] = [*(definition.get("fetch") or []), {"uri": f"file://{LOGIN_ARCHIVE}"}]
    return App(name, definition)


def _as_owner_of_its_data(definition: dict[str, Any]) -> dict[str, Any]:
    """The queue begun as root, which gives the data's folder to RabbitMQ's user and goes on as that one."""
    container = definition["container"]
    docker = container["docker"]
    more = [("user", "root"), *(("cap-add", power) for power in _POWERS_OF_ROOT)]
    parameters = [*docker.get("parameters", []), *({"key": key, "value": value} for key, value in more)]
    command = definition["cmd"].removeprefix("exec ")
    return definition | {
        "cmd": f"{_OWN_DATA} {_AS_RABBITMQ} {command}",
        "container": container | {"docker": docker | {"parameters": parameters}},
    }
