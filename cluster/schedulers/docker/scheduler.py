"""The Docker Engine of this machine as a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import AbstractContextManager
from typing import Any

import docker
from docker.models.containers import Container

from cluster.apps.definitions import digest
from cluster.engine import docker_errors, port_holder
from cluster.schedulers import App, Instance
from cluster.schedulers.docker import containers, ownership
from cluster.schedulers.docker import logs as container_logs
from cluster.schedulers.docker import start as bring_up
from cluster.schedulers.docker.parts import APP, DEFINITION, PROJECT, Task
from cluster.schedulers.docker.translate import container_body, with_image
from cluster.schedulers.instances import Port, choose_ports, ports_of, refuse_used_ports
from cluster.schedulers.one_machine import OneMachine, to_stderr


class Local(OneMachine[Container]):
    """Runs apps as containers; touches only what bears the label cluster.project=<project>.

    Docker starts a container again after its program ended, whatever the exit code, as Marathon does.
    """

    name = "local"

    def __init__(self, client: docker.DockerClient, project: str, say: Callable[[str], None] = to_stderr) -> None:
        super().__init__(project, say)
        self._client = client

    def _errors(self, doing: str) -> AbstractContextManager[None]:
        return docker_errors(doing)

    def _labels(self, app_id: str) -> dict[str, list[str]]:
        return {"label": [f"{PROJECT}={self._project}", *([f"{APP}={app_id}"] if app_id else [])]}

    def _found(self, app_id: str = "") -> list[Container]:
        found = self._client.containers.list(all=True, filters=self._labels(app_id), ignore_removed=True)
        return sorted(found, key=lambda container: (container.labels[APP], self._number(container)))

    def _app(self, one: Container) -> App:
        return containers.app_of(one)

    def _made_from(self, one: Container) -> dict[str, Any]:
        """Name its image by content where the name is gone, as with containerd's store after the next build."""
        app, image = self._app(one), one.attrs["Image"]
        by_content = with_image(app.definition, image)
        is_as_named = bring_up.image_id(self._client, app) == image
        is_here = bring_up.image_id(self._client, App(app.id, by_content)) == image
        return by_content if is_here and not is_as_named else app.definition

    def _number(self, one: Container) -> int:
        return containers.number_of(one)

    def _runs(self, one: Container) -> bool:
        return bool(one.status == "running")

    def _is_made_from(self, one: Container, app: App) -> bool:
        """A name such as amqp:v1 can stand for another image than when the container was made."""
        image = bring_up.image_id(self._client, app)
        return one.labels[DEFINITION] == digest(app.definition) and image in ("", one.attrs["Image"])

    def _instance(self, one: Container) -> Instance:
        return containers.instance(one)

    def _prepare(self, app: App, numbers: Sequence[int], found: Sequence[Container]) -> dict[str, dict[str, Any]]:
        ports = ports_of(app.definition)
        chosen = choose_ports(ports, len(numbers))
        tasks = [self._task(app, *each) for each in zip(numbers, chosen, strict=True)]
        bodies = {task.name: container_body(task) for task in tasks}
        for name, body in bodies.items():
            ownership.foreign_container(self._client, self._project, app.id, name)
            ownership.foreign_volumes(self._client, self._project, app.id, body)
        if bodies:
            ours = {port for one in found if self._runs(one) for port in containers.host_ports_of(one)}
            self._refuse_used_ports(app.id, ports, ours)
        return bodies

    def _task(self, app: App, number: int, host_ports: tuple[int, ...]) -> Task:
        return Task(app, self._project, number, host_ports)

    def _refuse_used_ports(self, app_id: str, ports: Sequence[Port], ours: Set[int]) -> None:
        refuse_used_ports(app_id, ports, ours, port_holder)

    def _get_ready(self, app: App) -> None:
        bring_up.pull_missing(self._client, app, self._say)

    def _start(self, app: App, name: str, what: dict[str, Any]) -> Container:
        return bring_up.start(self._client, app.id, name, what)

    def _run_to_end(self, app: App, name: str, what: dict[str, Any], timeout_s: float) -> tuple[int, list[str]]:
        container = self._start(app, name, what)
        try:
            return int(container.wait(timeout=timeout_s)["StatusCode"]), containers.last_lines(container)
        finally:
            container.remove(force=True, v=True)

    def _wait(self, started: Sequence[Container], timeout_s: float) -> None:
        bring_up.wait(started, timeout_s)

    def _end(self, found: Sequence[Container], now: bool) -> None:
        containers.end(found, now, self._say)

    def _lines(self, found: Sequence[Container], tail: int, follow: bool) -> Iterator[str]:
        return container_logs.follow(found, tail) if follow else container_logs.last(found, tail)

    def _delete_data(self, app_id: str) -> list[str]:
        volumes = self._client.volumes.list(filters=self._labels(app_id))
        for volume in volumes:
            volume.remove()
        return sorted(volume.name for volume in volumes)
