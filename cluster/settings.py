"""The settings of invoke.yaml, checked; settings_files.py reads them from all places where they are given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.image_ref import checked_registry, refuse_login
from scripts.amqp.management import Management
from scripts.errors import ClusterError
from scripts.number import MOST, number
from scripts.one_line import one_line

ROOT = Path(__file__).resolve().parent.parent

_PROJECT = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_MAY_BE_EMPTY = (
    "registry", "marathon", "agents.hosts", "agents.hosts_file", "agents.ssh_config", "slurm.login", "slurm.shared",
)  # fmt: skip
# The least and the most of a number, by the last part of its key.
_RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("port", "management_port", "prometheus_port"), (1, 65535)),
    "mem_mib": (1, MOST),
    "instances": (1, MOST),
    "jobs": (0, 10_000),
    "cpus": (0.001, MOST),
    "timeout_s": (0.001, MOST),
}


@dataclass(frozen=True)
class QueueSettings:
    """Defaults of the queue component; ports are on 127.0.0.1 of this machine."""

    name: str
    tag: str
    port: int
    management_port: int
    prometheus_port: int
    mem_mib: int

    @property
    def url(self) -> str:
        """The URL of the queue on this machine."""
        return f"amqp://127.0.0.1:{self.port}"

    @property
    def management_url(self) -> str:
        """The URL of RabbitMQ's web page and API on this machine."""
        return f"http://127.0.0.1:{self.management_port}"

    @property
    def management(self) -> Management:
        """RabbitMQ's API on this machine, for its own first user, who may come from this machine alone."""
        return Management(self.management_url, "guest", "guest", "/")


@dataclass(frozen=True)
class WorkerSettings:
    """Defaults of the worker component."""

    tag: str
    action: str
    instances: int
    jobs: int
    cpus: float
    mem_mib: int
    tmp: str


@dataclass(frozen=True)
class AgentSettings:
    """The agent hosts and how they are reached over SSH; `timeout_s` is for each step of reaching one."""

    hosts: str
    hosts_file: str
    ssh_config: str
    timeout_s: float


@dataclass(frozen=True)
class SlurmSettings:
    """The login node of a Slurm (empty: this machine), and the folder there that all its nodes see (empty: usual)."""

    login: str
    shared: str


Options = Mapping[str, str]


@dataclass(frozen=True)
class EngineSettings:
    """The options of the engines that `scheduler:` may name, by their names; --engine-option says otherwise."""

    local: Options
    process: Options
    marathon: Options
    slurm: Options


@dataclass(frozen=True)
class Settings:
    """Every default of invoke.yaml; `project` begins the name of all that is made on a machine.

    `registry` is an address, and `registry_path` where our images are in it.
    """

    project: str
    registry: str
    scheduler: str
    marathon: str
    queue: QueueSettings
    worker: WorkerSettings
    agents: AgentSettings
    slurm: SlurmSettings
    engines: EngineSettings
    registry_path: str = ""

    @property
    def images(self) -> str:
        """The prefix of our images' names."""
        return f"{self.registry}/{self.registry_path}" if self.registry_path else self.registry

    def __post_init__(self) -> None:
        refuse_login(self.registry)

    @classmethod
    def read(cls, config: Mapping[str, Any], places: Mapping[str, str] | None = None) -> Settings:
        """Read and check a configuration of invoke.yaml's shape; `places` says where its keys were given."""
        checked = {}
        for key, of in KEYS.items():
            section, _, name = key.rpartition(".")
            value = (config[section] if section else config)[name]
            checked[key] = _value(value, key, of, (places or {}).get(key, "invoke.yaml"))
        sections = {
            name: of(**{field: checked.pop(f"{name}.{field}") for field in of.__annotations__})
            for name, of in SECTIONS.items()
        }
        text = checked.pop("registry")
        registry, _, path = (checked_registry(text) if "/" in text else text).partition("/")
        return cls(registry=registry, registry_path=path, **checked, **sections)


SECTIONS: Mapping[str, Any] = {
    "queue": QueueSettings, "worker": WorkerSettings, "agents": AgentSettings, "slurm": SlurmSettings,
    "engines": EngineSettings,
}  # fmt: skip
# Every key, such as `queue.port`, and what it is.
KEYS = {name: of for name, of in Settings.__annotations__.items() if name not in {*SECTIONS, "registry_path"}} | {
    f"{section}.{name}": of for section, kind in SECTIONS.items() for name, of in kind.__annotations__.items()
}


def _value(value: Any, key: str, kind: str, place: str) -> Any:
    try:
        if kind == "Options":
            return _options(value)
        if kind == "str":
            return _text(value, key)
        return number(int if kind == "int" else float, value, *_RANGES.get(key.rpartition(".")[2], ()))
    except ValueError as error:
        problem = error if kind in ("Options", "str") else f"{error} is needed"
        raise ClusterError(f"{key}: {one_line(repr(value), 80)} in {place}: {problem}") from None


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str | int | None) or isinstance(value, bool):
        raise ValueError("text is needed; write it in quotes")
    text = "" if value is None else str(value)
    if key == "project" and not _PROJECT.fullmatch(text):
        raise ValueError("use 1 to 32 of a-z, 0-9 and -, such as cluster")
    if key == "scheduler" and text not in EngineSettings.__annotations__:
        raise ValueError(f"use one of {', '.join(EngineSettings.__annotations__)}")
    if not text.strip() and key not in _MAY_BE_EMPTY:
        raise ValueError("it is empty")
    return text


def _options(value: Any) -> Options:
    """Read options: a mapping in a file, `NAME=VALUE,NAME=VALUE` in the environment."""
    if isinstance(value, str):
        pairs = [(text, *text.partition("=")) for text in value.split(",") if text.strip()]
        if wrong := [text for text, name, equals, _ in pairs if not equals or not name.strip()]:
            raise ValueError(f"{wrong[0]!r} is no NAME=VALUE")
        value = {name.strip(): one.strip() for _, name, _, one in pairs}
    if value is not None and not hasattr(value, "items"):  # invoke's own mapping is no Mapping
        raise ValueError("options are needed: {NAME: VALUE}, or NAME=VALUE,NAME=VALUE in the environment")
    for name, one in (value or {}).items():
        if isinstance(one, bool) or not isinstance(one, str | int | float):
            raise ValueError(f"{name} is no text; write it in quotes")
    return {str(name): str(one) for name, one in (value or {}).items()}
