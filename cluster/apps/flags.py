"""What the flags of a deploy say of an app, beside the work that it is to do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scripts.errors import ClusterError

_VOLUME = re.compile(r"(/[^:]*):(/[^:]*)(?::(ro|rw))?")

# What a deploy says to workers itself, and what would be a password for everyone who can ask Marathon.
_LOGIN = ("AMQP_USER", "AMQP_PASSWORD", "AMQP_PASSWORD_FILE")
_OPENS_MARATHON = ("MARATHON_PASSWORD", "DCOS_ACS_TOKEN")


@dataclass(frozen=True)
class Wish:
    """What flags say of an app beside its work: its id and file (empty: the component's), and what is added to it.

    `numbers` (`instances`, `cpus`, `mem`) are put in place of the definition's. `broker` is the URL of one that is not
    the cluster's queue (empty: it is).
    """

    app_id: str = ""
    definition: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    volumes: Sequence[Mapping[str, str]] = ()
    constraints: Sequence[Sequence[str]] = ()
    broker: str = field(default="", repr=False)


def wish(
    *, app: str, definition: str, instances: int, cpus: float, mem_mib: int, env: Sequence[str],
    volumes: Sequence[str], constraints: Sequence[str], url: str = "",
) -> Wish:  # fmt: skip
    """What the flags of worker.deploy say; empty ones and 0 leave the definition as it is.

    Raises:
        ClusterError: one that makes no sense.
    """
    numbers = {"instances": instances, "cpus": cpus, "mem": mem_mib}
    return Wish(
        app_id=app,
        definition=definition,
        numbers={key: value for key, value in numbers.items() if value},
        env=parsed_env(env),
        volumes=parsed_volumes(volumes),
        constraints=parsed_constraints(constraints),
        broker=url,
    )


def parsed_env(pairs: Sequence[str]) -> dict[str, str]:
    """`NAME=value` flags.

    Raises:
        ClusterError: one has another shape, or a name that is there already or is not for flags.
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise ClusterError(f"--env {pair!r}: write it as NAME=value")
        _refuse_reserved(name)
        if name in found:
            raise ClusterError(f"--env {name}: it is given twice; give it once")
        found[name] = value
    return found


def refuse_taken(env: Mapping[str, str], taken: Mapping[str, str]) -> None:
    """Let no variable of a flag be lost to one that a deploy sets from this machine's own environment.

    Raises:
        ClusterError: one is set by both.
    """
    for name in env:
        if name in taken:
            raise ClusterError(f"--env {name}: the deploy passes on this machine's {name}: leave the flag out")


def _refuse_reserved(name: str) -> None:
    if name in _LOGIN:
        raise ClusterError(
            f"--env {name}: workers get the queue's login from the deploy, its password in a file: for another, set "
            "AMQP_USER and AMQP_PASSWORD_FILE in the environment of ./inv"
        )
    if name in _OPENS_MARATHON:
        raise ClusterError(
            f"--env {name}: everyone who can ask Marathon could read it: set it in the environment of ./inv, and "
            "workers get it in a file"
        )
    if name == "QUEUE_NAME" or name.startswith("CLUSTER_"):
        raise ClusterError(f"--env {name}: this name is the workers' own: choose another")


def parsed_volumes(texts: Sequence[str]) -> list[dict[str, str]]:
    """`HOST:CONTAINER[:ro]` flags as Marathon's volumes.

    Raises:
        ClusterError: one has another shape, or two have one place in the container.
    """
    found: list[dict[str, str]] = []
    for text in texts:
        match = _VOLUME.fullmatch(text)
        if not match:
            raise ClusterError(f"--volume {text!r}: write it as /folder/of/the/agent:/folder/in/the/container[:ro]")
        host, container, mode = match.groups(default="rw")
        if any(container == other["containerPath"] for other in found):
            raise ClusterError(f"--volume {text!r}: {container} in the container is given twice")
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
