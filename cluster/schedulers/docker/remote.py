"""The Docker Engine of a host as a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import AbstractContextManager, contextmanager

import requests
from docker.errors import DockerException
from urllib3.exceptions import HTTPError

from cluster.engine import errors as engine_errors
from cluster.engine.errors import Lookups
from cluster.hosts.listeners import listener
from cluster.hosts.remote import Remote
from cluster.schedulers import App
from cluster.schedulers.docker.parts import Task
from cluster.schedulers.docker.scheduler import Local
from cluster.schedulers.instances import Port
from scripts.errors import ClusterError, ServiceAway


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
        return host_errors(self._remote, doing)

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


@contextmanager
def host_errors(remote: Remote, doing: str) -> Iterator[None]:
    """Turn what the SDK raises for the engine of a host into one-line errors."""

    def port_holder(port: int) -> str:
        return listener(remote, port, ())

    def data_folder() -> str:
        try:
            return str(remote.engine().info()["DockerRootDir"])
        except (KeyError, DockerException, requests.RequestException, HTTPError):
            return ""

    try:
        yield
    except (DockerException, requests.RequestException, HTTPError) as error:
        if isinstance(error, requests.ConnectionError) and not engine_errors.is_silence(error):
            raise ServiceAway(
                f"{remote.name}: {doing}: the connection to its Docker Engine broke in the middle: is the host up? "
                "run this again, it goes on from what is there"
            ) from error
        lookups = Lookups(port_holder, data_folder, machine=remote.name)
        raise engine_errors.explained(f"{remote.name}: {doing}", error, lookups) from error
