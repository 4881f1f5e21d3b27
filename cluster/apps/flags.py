"""Flags that change the definition of an app."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cluster.apps.app import AppSpec, Volume
from scripts.errors import ClusterError

_VARIABLE, _OPTION = re.compile(r"[^\W\d]\w*"), re.compile(r"[^\W\d][\w.-]*")
_TIME = re.compile(r"(?:(?:(\d{1,4})-)?(\d{1,4}):([0-5]\d):([0-5]\d)|(\d{1,6}))", re.ASCII)
_VOLUME = re.compile(r"(/[^:]*):(/[^:]*)(?::(ro|rw))?")

# What a deploy says to workers itself, and what would be a password for everyone who can ask the engine.
_LOGIN = ("AMQP_USER", "AMQP_PASSWORD", "AMQP_PASSWORD_FILE")
_OPENS_THE_ENGINE = ("MARATHON_PASSWORD", "DCOS_ACS_TOKEN")


@dataclass(frozen=True)
class AppOverrides:
    """Values that flags put in place of a definition's, or add to them; empty ones, 0 and -1 leave it as it is.

    `definition` is the file of a person's own (empty: the component's), `constraints` are Marathon's. `instances` are
    -1 where no flag says how many. `option_flags` are options of the engine that have flags of their own.
    """

    app_id: str = ""
    definition: str = ""
    instances: int = -1
    max_instances: int = 0
    time_limit_s: float = 0
    cpus: float = 0
    mem_mib: float = 0
    env: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    constraints: tuple[tuple[str, ...], ...] = ()
    engine_options: Mapping[str, str] = field(default_factory=dict)
    option_flags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, *, app: str = "", definition: str = "", instances: int = -1, max_instances: int = 0, time: str = "",
        cpus: float = 0, mem_mib: int = 0, env: Sequence[str] = (), volumes: Sequence[str] = (),
        constraints: Sequence[str] = (), engine_options: Sequence[str] = (), here: bool = False, rabbitmq: str = "",
    ) -> AppOverrides:  # fmt: skip
        """Return what flags say."""
        options = pairs("--engine-option", engine_options, _OPTION)
        flags = {name: text for name, text in {"here": "yes" if here else "", "rabbitmq": rabbitmq}.items() if text}
        if twice := next((name for name in flags if name in options), ""):
            raise ClusterError(
                f"--{twice} and --engine-option {twice}={options[twice]} are one thing: give one of them"
            )
        return cls(
            app, definition, instances, max_instances, time_limit(time), cpus, mem_mib, _env(env), _volumes(volumes),
            _constraints(constraints), options, flags,
        )  # fmt: skip

    @property
    def source(self) -> Path:
        """The file of the person's own definition."""
        return Path(self.definition).expanduser()

    def refuse_limits(self, place: str) -> None:
        """Refuse flags that limit what runs, for a place that limits nothing."""
        for flag, value in (("--cpus", self.cpus), ("--mem-mib", self.mem_mib)):
            if value:
                raise ClusterError(f"{flag} {value:g}: {place} limits nothing that it runs: leave it out")

    def refuse_volumes(self, place: str) -> None:
        """Refuse folders in containers: plain processes at this place see the machine as it is."""
        for one in self.volumes:
            if one.host_path != one.path or one.read_only:
                given = f"{one.host_path}:{one.path}{':ro' if one.read_only else ''}"
                raise ClusterError(
                    f"--volume {given}: on {place} actions see the machine's own folders: leave it out, and name "
                    f"{one.host_path} in the action"
                )

    def applied_to(self, app: AppSpec) -> AppSpec:
        """Return the app with what the flags change, but for its id, its definition and Marathon's constraints."""
        usual = 0 if self.max_instances else app.instances
        return replace(
            app.with_env(self.env),
            instances=self.instances if self.instances >= 0 else usual,
            max_instances=self.max_instances,
            time_limit_s=self.time_limit_s,
            cpus=self.cpus or app.cpus,
            mem_mib=self.mem_mib or app.mem_mib,
            volumes=(*app.volumes, *self.volumes),
            engine_options=tuple({**dict(app.engine_options), **self.engine_options, **self.option_flags}.items()),
        )


def time_limit(text: str) -> float:
    """Return the seconds of a time limit as batch systems write it: minutes, H:MM:SS or D-HH:MM:SS; empty is 0."""
    if not text:
        return 0
    match = _TIME.fullmatch(text)
    days, hours, minutes, seconds, alone = (int(part or 0) for part in match.groups()) if match else (0,) * 5
    found = ((days * 24 + hours) * 60 + minutes + alone) * 60 + seconds
    if not found:
        raise ClusterError(f"--time {text!r}: write minutes, H:MM:SS or D-HH:MM:SS, such as 90, 4:00:00 or 1-12:00:00")
    return found


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
