"""Flags that change the definition of an app."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cluster.apps.app import AppSpec, Volume
from scripts.errors import ClusterError

_VARIABLE, _OPTION = re.compile(r"[^\W\d]\w*"), re.compile(r"[^\W\d][\w.-]*")
_VOLUME = re.compile(r"(/[^:]*):(/[^:]*)(?::(ro|rw))?")

# What a deploy says to workers itself, and what would be a password for everyone who can ask the engine.
_LOGIN = ("AMQP_USER", "AMQP_PASSWORD", "AMQP_PASSWORD_FILE")
_OPENS_THE_ENGINE = ("MARATHON_PASSWORD", "DCOS_ACS_TOKEN")


@dataclass(frozen=True)
class AppOverrides:
    """Values that flags put in place of a definition's, or add to them; empty ones and 0 leave it as it is.

    `definition` is the file of a person's own (empty: the component's), `constraints` are Marathon's.
    """

    app_id: str = ""
    definition: str = ""
    instances: int = 0
    cpus: float = 0
    mem_mib: float = 0
    env: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    constraints: tuple[tuple[str, ...], ...] = ()
    engine_options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, *, app: str = "", definition: str = "", instances: int = 0, cpus: float = 0, mem_mib: int = 0,
        env: Sequence[str] = (), volumes: Sequence[str] = (), constraints: Sequence[str] = (),
        engine_options: Sequence[str] = (),
    ) -> AppOverrides:  # fmt: skip
        """Return what flags say."""
        return cls(
            app, definition, instances, cpus, mem_mib, _env(env), _volumes(volumes), _constraints(constraints),
            pairs("--engine-option", engine_options, _OPTION),
        )  # fmt: skip

    @property
    def source(self) -> Path:
        """The file of the person's own definition."""
        return Path(self.definition).expanduser()

    def refuse_containers_own(self, place: str) -> None:
        """Refuse flags that say how containers run: plain processes at this place see the machine as it is."""
        for flag, value in (("--cpus", self.cpus), ("--mem-mib", self.mem_mib)):
            if value:
                raise ClusterError(f"{flag} {value:g}: {place} limits nothing that it runs: leave it out")
        for one in self.volumes:
            if one.host_path != one.path or one.read_only:
                given = f"{one.host_path}:{one.path}{':ro' if one.read_only else ''}"
                raise ClusterError(
                    f"--volume {given}: on {place} actions see the machine's own folders: leave it out, and name "
                    f"{one.host_path} in the action"
                )

    def applied_to(self, app: AppSpec) -> AppSpec:
        """Return the app with what the flags change, but for its id, its definition and Marathon's constraints."""
        return replace(
            app.with_env(self.env),
            instances=self.instances or app.instances,
            cpus=self.cpus or app.cpus,
            mem_mib=self.mem_mib or app.mem_mib,
            volumes=(*app.volumes, *self.volumes),
            engine_options=tuple({**dict(app.engine_options), **self.engine_options}.items()),
        )


def pairs(flag: str, texts: Sequence[str], names: re.Pattern[str]) -> dict[str, str]:
    """Return `NAME=value` flags as a mapping; a name of another shape, or one that is given twice, is refused."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not names.fullmatch(name):
            raise ClusterError(f"{flag} {text!r}: write it as NAME=value")
        if name in found:
            raise ClusterError(f"{flag} {name}: it is given twice; give it once")
        found[name] = value
    return found


def _env(texts: Sequence[str]) -> dict[str, str]:
    found = pairs("--env", texts, _VARIABLE)
    for name in found:
        if name in _LOGIN:
            raise ClusterError(
                f"--env {name}: workers get the queue's login from the deploy, its password in a file: for another, "
                "set AMQP_USER and AMQP_PASSWORD_FILE in the environment of ./inv"
            )
        if name in _OPENS_THE_ENGINE:
            raise ClusterError(
                f"--env {name}: everyone who can ask the engine could read it: set it in the environment of ./inv, and "
                "workers get it in a file"
            )
        if name == "QUEUE_NAME" or name.startswith("CLUSTER_"):
            raise ClusterError(f"--env {name}: this name is the workers' own: choose another")
    return found


def refuse_taken(env: Mapping[str, str], taken: Mapping[str, str]) -> None:
    """Refuse a variable of a flag that a deploy sets from this machine's own environment."""
    for name in env:
        if name in taken:
            raise ClusterError(f"--env {name}: the deploy passes on this machine's {name}: leave the flag out")


def _volumes(texts: Sequence[str]) -> tuple[Volume, ...]:
    found: list[Volume] = []
    for text in texts:
        match = _VOLUME.fullmatch(text)
        if not match:
            raise ClusterError(f"--volume {text!r}: write it as /folder/of/the/host:/folder/in/the/container[:ro]")
        host, container, mode = match.groups(default="rw")
        if any(container == other.path for other in found):
            raise ClusterError(f"--volume {text!r}: {container} in the container is given twice")
        found.append(Volume(host, container, read_only=mode == "ro"))
    return tuple(found)


def _constraints(texts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    found = tuple(tuple(text.split(":", 2)) for text in texts)
    for text, parts in zip(texts, found, strict=True):
        if len(parts) < 2 or not all(parts):
            raise ClusterError(f"--constraint {text!r}: write it as FIELD:OPERATOR[:VALUE], such as hostname:UNIQUE")
    return found
