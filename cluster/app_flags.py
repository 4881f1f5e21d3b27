"""What the flags of a deploy say of an app, beside the work that it is to do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scripts.errors import ClusterError

_VOLUME = re.compile(r"(/[^:]*):(/[^:]*)(?::(ro|rw))?")


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
        match = _VOLUME.fullmatch(text)
        if not match:
            raise ClusterError(f"--volume {text!r}: write it as /folder/of/the/agent:/folder/in/the/container[:ro]")
        host, container, mode = match.groups(default="rw")
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
