"""The Docker Engine of this machine as an engine of apps."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import docker

from cluster import engine
from cluster.apps.app import AppSpec
from cluster.engine import docker_errors
from cluster.image_ref import ImageRef
from cluster.images import build as image_build
from cluster.schedulers import Image, Say
from cluster.schedulers.docker import logs as container_logs
from cluster.schedulers.docker import start as bring_up
from cluster.schedulers.docker.body import APP, PROJECT, Task, container_body
from cluster.schedulers.docker.containers import ContainerInstance
from cluster.schedulers.docker.options import OPTIONS
from cluster.schedulers.one_machine import OneMachine
from cluster.settings import Settings


def make(settings: Settings, address: str, say: Say) -> Local:
    """Return the engine of this machine.

    Raises:
        OtherMachine: DOCKER_HOST or the docker context names another machine's.
        ServiceAway: none answers.
    """
    return Local(settings, engine.connect_here(), say)


class Local(OneMachine[ContainerInstance]):
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

    def _found(self, app_id: str = "") -> list[ContainerInstance]:
        found = self._client.containers.list(all=True, filters=self._labels(app_id), ignore_removed=True)
        return sorted(map(ContainerInstance, found), key=lambda one: (one.app.id, one.number))

    def _what_to_make(self, app: AppSpec, number: int, host_ports: tuple[int, ...]) -> dict[str, Any]:
        return container_body(Task(app, self._project, number, host_ports))

    def _refuse_foreign(self, app: AppSpec, prepared: dict[str, dict[str, Any]]) -> None:
        for name, body in prepared.items():
            bring_up.refuse_foreign_container(self._client, self._project, app.id, name)
            bring_up.refuse_foreign_volumes(self._client, self._project, app.id, body)

    def _get_ready(self, app: AppSpec) -> None:
        bring_up.pull_missing(self._client, app, self._say)

    def _start(self, app: AppSpec, name: str, what: dict[str, Any], is_followed: bool) -> ContainerInstance:
        return bring_up.start(self._client, app.id, name, what, is_followed)

    def _run_to_end(self, app: AppSpec, name: str, what: dict[str, Any], timeout_s: float) -> tuple[int, list[str]]:
        one = bring_up.start(self._client, app.id, name, what, is_followed=True)
        try:
            return int(one.container.wait(timeout=timeout_s)["StatusCode"]), one.last_lines(10)
        finally:
            one.container.remove(force=True, v=True)

    def _follow(self, found: Sequence[ContainerInstance], tail: int) -> Iterator[str]:
        return container_logs.follow([one.container for one in found], tail)

    def _delete_data(self, app_id: str) -> list[str]:
        volumes = self._client.volumes.list(filters=self._labels(app_id))
        for volume in volumes:
            volume.remove()
        return sorted(volume.name for volume in volumes)
