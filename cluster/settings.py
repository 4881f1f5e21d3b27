"""What invoke.yaml and the INVOKE_* environment say, read once and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.image_ref import refuse_login
from scripts.amqp.management import Management
from scripts.errors import ClusterError
from scripts.number import number

ROOT = Path(__file__).resolve().parent.parent
SCHEDULERS = ("local", "process", "marathon")

_PROJECT = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


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
        """The queue on this machine, for AMQP."""
        return f"amqp://127.0.0.1:{self.port}"

    @property
    def management_url(self) -> str:
        """RabbitMQ's own page and API on this machine."""
        return f"http://127.0.0.1:{self.management_port}"

    @property
    def management(self) -> Management:
        """The same, to be asked as RabbitMQ's own first user, who may come from this machine alone."""
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
class Settings:
    """Every default of invoke.yaml; `project` begins the name of all that is made on a machine."""

    project: str
    registry: str
    scheduler: str
    marathon: str
    queue: QueueSettings
    worker: WorkerSettings
    agents: AgentSettings

    def __post_init__(self) -> None:
        refuse_login(self.registry)

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Settings:
        """Take the settings out of a configuration (invoke.yaml's shape; further keys are not ours).

        Raises:
            ClusterError: a value that cannot be, with its key.
        """
        settings = cls(
            project=str(config["project"]),
            registry=str(config["registry"] or ""),
            scheduler=str(config["scheduler"]),
            marathon=str(config["marathon"] or ""),
            queue=QueueSettings(**_fields(QueueSettings, config, "queue")),
            worker=WorkerSettings(**_fields(WorkerSettings, config, "worker")),
            agents=AgentSettings(**_fields(AgentSettings, config, "agents")),
        )
        if not _PROJECT.fullmatch(settings.project):
            raise ClusterError(
                f"project: {settings.project!r} in invoke.yaml: use 1 to 32 of a-z, 0-9 and -, such as cluster"
            )
        if not settings.agents.timeout_s > 0:
            raise ClusterError(
                f"agents.timeout_s: {settings.agents.timeout_s:g} in invoke.yaml: use more than 0 seconds"
            )
        if settings.scheduler not in SCHEDULERS:
            raise ClusterError(f"scheduler: {settings.scheduler!r} in invoke.yaml: use one of {', '.join(SCHEDULERS)}")
        return settings


def _fields(kind: type, config: Mapping[str, Any], section: str) -> dict[str, Any]:
    return {name: _value(config[section][name], f"{section}.{name}", of) for name, of in kind.__annotations__.items()}


def _value(value: Any, key: str, kind: str) -> Any:
    if kind == "str":
        return str(value)
    try:
        return number(int if kind == "int" else float, value)
    except ValueError as error:
        raise ClusterError(f"{key}: {value!r} in invoke.yaml: {error} is needed") from None
