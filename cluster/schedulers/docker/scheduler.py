"""The Docker Engine of this machine as an engine of apps."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import docker
from docker.models.containers import Container

from cluster import engine
from cluster.apps.app import AppSpec, Instance, Port
from cluster.engine import docker_errors, port_holder
from cluster.image_ref import ImageRef
from cluster.images import build as image_build
from cluster.schedulers import Image, Say
from cluster.schedulers.docker import containers, ownership
from cluster.schedulers.docker import logs as container_logs
from cluster.schedulers.docker import start as bring_up
from cluster.schedulers.docker.body import APP, PROJECT, Task, container_body
from cluster.schedulers.docker.options import OPTIONS
from cluster.schedulers.instances import choose_ports, refuse_used_ports
from cluster.schedulers.one_machine import OneMachine
from cluster.settings import Settings


def make(settings: Settings, address: str, say: Say) -> Local:
    """Return the engine of this machine.

    Raises:
        OtherMachine: DOCKER_HOST or the docker context names another machine's.
        ServiceAway: none answers.
    """
    return Local(settings, engine.connect_here(), say)


class Local(OneMachine[Container]):
    """Runs apps as containers; touches only what bears the label cluster.project=<project>.

    Docker starts a container again after its program ended, whatever the exit code, as Marathon does.
    """

    name = "local"
    options = tuple(OPTIONS)

    def __init__(self, settings: Settings, client: docker.DockerClient, say: Say) -> None:
        super().__init__(settings, say)
        self._client = client

    @property
    def user(self) -> str:
        """The person who starts workers; root leaves it to the image's plain user, rootless engines call them root."""
        if engine.is_rootless(self._client):
            return "0:0"
        return f"{os.getuid()}:{os.getgid()}" if os.getuid() else ""

    def image(self, tag: str) -> Image:
        """Return the image by its content where a registry holds it."""
        return Image(image_build.deployable(self._client, ImageRef.parse(tag, self._settings.images)), tag)

    def _errors(self, doing: str) -> AbstractContextManager[None]:
        return docker_errors(doing)

    def _labels(self, app_id: str) -> dict[str, list[str]]:
        return {"label": [f"{PROJECT}={self._project}", *([f"{APP}={app_id}"] if app_id else [])]}

    def _found(self, app_id: str = "") -> list[Container]:
        found = self._client.containers.list(all=True, filters=self._labels(app_id), ignore_removed=True)
        return sorted(found, key=lambda container: (container.labels[APP], self._number(container)))

    def _app(self, one: Container) -> AppSpec:
        return containers.app_of(one)

    def _made_from(self, one: Container) -> AppSpec:
        """Name its image by content where the name is gone, as with containerd's store after the next build."""
        app, image = self._app(one), one.attrs["Image"]
        is_as_named = bring_up.image_id(self._client, app.image) == image
        is_here = bring_up.image_id(self._client, image) == image
        return replace(app, image=image) if is_here and not is_as_named else app

    def _number(self, one: Container) -> int:
        return containers.number_of(one)

    def _runs(self, one: Container) -> bool:
        return bool(one.status == "running")

    def _is_made_from(self, one: Container, app: AppSpec) -> bool:
        """Go by the image's content: a name such as amqp:v1 can stand for another than when the container was made."""
        before, image = self._app(one), bring_up.image_id(self._client, app.image)
        is_same_image = image == one.attrs["Image"] if image else before.image == app.image
        return is_same_image and replace(before, image="").digest == replace(app, image="").digest

    def _instance(self, one: Container) -> Instance:
        return containers.instance(one)

    def _prepare(self, app: AppSpec, numbers: Sequence[int], found: Sequence[Container]) -> dict[str, dict[str, Any]]:
        chosen = choose_ports(app.ports, len(numbers))
        tasks = [self._task(app, *each) for each in zip(numbers, chosen, strict=True)]
        bodies = {task.name: container_body(task) for task in tasks}
        for name, body in bodies.items():
            ownership.foreign_container(self._client, self._project, app.id, name)
            ownership.foreign_volumes(self._client, self._project, app.id, body)
        if bodies:
            ours = {port for one in found if self._runs(one) for port in containers.host_ports_of(one)}
            self._refuse_used_ports(app.id, app.ports, ours)
        return bodies

    def _task(self, app: AppSpec, number: int, host_ports: tuple[int, ...]) -> Task:
        return Task(app, self._project, number, host_ports)

    def _refuse_used_ports(self, app_id: str, ports: Sequence[Port], ours: Set[int]) -> None:
        refuse_used_ports(app_id, ports, ours, port_holder)

    def _get_ready(self, app: AppSpec) -> None:
        bring_up.pull_missing(self._client, app, self._say)

    def _start(self, app: AppSpec, name: str, what: dict[str, Any], is_followed: bool) -> Container:
        return bring_up.start(self._client, app.id, name, what, is_followed)

    def _run_to_end(self, app: AppSpec, name: str, what: dict[str, Any], timeout_s: float) -> tuple[int, list[str]]:
        container = bring_up.start(self._client, app.id, name, what, is_followed=True)
        try:
            return int(container.wait(timeout=timeout_s)["StatusCode"]), containers.last_lines(container)
        finally:
            container.remove(force=True, v=True)

    def _wait(self, started: Sequence[Container], timeout_s: float) -> None:
        bring_up.wait(started, timeout_s)

    def _end(self, found: Sequence[Container], now: bool = False, drain: bool = True) -> None:
        containers.end(found, self._say, now, drain)

    def _lines(self, found: Sequence[Container], tail: int, follow: bool) -> Iterator[str]:
        return container_logs.follow(found, tail) if follow else container_logs.last(found, tail)

    def _delete_data(self, app_id: str) -> list[str]:
        volumes = self._client.volumes.list(filters=self._labels(app_id))
        for volume in volumes:
            volume.remove()
        return sorted(volume.name for volume in volumes)
