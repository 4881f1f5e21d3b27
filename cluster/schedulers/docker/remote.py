"""The Docker Engine of a host as a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from contextlib import AbstractContextManager

from cluster.hosts.engine_errors import engine_errors, listener
from cluster.hosts.remote import Remote
from cluster.schedulers import App
from cluster.schedulers.docker.parts import Task
from cluster.schedulers.docker.scheduler import Local
from cluster.schedulers.instances import Port
from scripts.errors import ClusterError


class HostEngine(Local):
    """Runs apps on a host of the cluster: open to the network, with their data in the host's own folders."""

    name = "host"

    def __init__(self, remote: Remote, project: str, say: Callable[[str], None]) -> None:
        super().__init__(remote.engine(), project, say)
        self._remote = remote

    def deployed(self, app_id: str) -> App | None:
        """The app as it was deployed there, running or not."""
        with self._errors(f"look for {app_id}"):
            return next((self._app(one) for one in self._found(app_id)), None)

    def _errors(self, doing: str) -> AbstractContextManager[None]:
        return engine_errors(self._remote, doing)

    def _task(self, app: App, number: int, host_ports: tuple[int, ...]) -> Task:
        return Task(app, self._project, number, host_ports, on_host=True)

    def _refuse_used_ports(self, app_id: str, ports: Sequence[Port], ours: Set[int]) -> None:
        for port in ports:
            by = "" if port.host in ours else listener(self._remote, port.host, self._client.containers.list())
            if by:
                raise ClusterError(
                    f"{self._remote.name}: port {port.host} is in use by {by}: stop it there, or choose another port, "
                    f"such as --address {self._remote.address}:{port.host + 1}"
                )
