"""The Docker Engine of a host of the cluster as an engine of apps."""

from __future__ import annotations

from collections.abc import Set
from contextlib import AbstractContextManager

from cluster.apps.app import AppSpec
from cluster.hosts.remote import Remote, engine_errors, listener
from cluster.schedulers import Say
from cluster.schedulers.docker.body import Body, Task, container_body
from cluster.schedulers.docker.scheduler import Local
from cluster.settings import Settings
from scripts.errors import ClusterError


class HostEngine(Local):
    """Runs apps on a host: open to the network, with their data in the host's own folders."""

    name = "host"
    is_here = False

    def __init__(self, settings: Settings, remote: Remote, say: Say) -> None:
        super().__init__(settings, remote.engine(), say)
        self._remote, self.place, self.flag = remote, remote.name, ""

    def _errors(self, doing: str) -> AbstractContextManager[None]:
        return engine_errors(self._remote, doing)

    def _what_to_make(self, app: AppSpec, number: int, host_ports: tuple[int, ...]) -> Body:
        return container_body(Task(app, self._project, number, host_ports, on_host=True))

    def _refuse_used_ports(self, app: AppSpec, ours: Set[int]) -> None:
        for port in app.ports:
            by = "" if port.host in ours else listener(self._remote, port.host, self._client.containers.list())
            if by:
                raise ClusterError(
                    f"{self._remote.name}: port {port.host} is in use by {by}: stop it there, or choose another port, "
                    f"such as --address {self._remote.address}:{port.host + 1}"
                )
