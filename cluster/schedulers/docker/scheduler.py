"""The Docker Engine of this machine as an engine of apps."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cached_property

from cluster import engine
from cluster.apps.app import AppSpec, Image
from cluster.credentials import SecretFile
from cluster.engine import docker_errors, sdk
from cluster.engine.pulls import NotPulled, pull
from cluster.engine.unix_socket import EngineSocket, NoAnswer
from cluster.image_ref import ImageRef
from cluster.images import registry_login
from cluster.schedulers import Overtaken, Say, Wanted
from cluster.schedulers.docker import containers
from cluster.schedulers.docker.body import APP, OPTIONS, PROJECT, Body, Task, container_body, merged, options_body
from cluster.schedulers.docker.containers import CONFLICT, NEVER, Container, ContainerInstance, image_id
from cluster.schedulers.docker.found import Found
from cluster.schedulers.one_machine import OneMachine
from cluster.settings import Settings
from scripts.errors import ClusterError


class Local(OneMachine[ContainerInstance]):
    """Runs apps as containers; touches only what bears the label cluster.project=<project>.

    Docker starts a container again after its program ended, whatever the exit code, as Marathon does.
    """

    name = "local"
    options = tuple(OPTIONS)

    def __init__(
        self, settings: Settings, client: sdk.DockerClient | None, say: Say, socket: EngineSocket | None = None
    ) -> None:
        """Make the engine of a client, or of a socket, for which a client is made when one is needed."""
        super().__init__(settings, say)
        self._given, self._socket = client, socket

    @cached_property
    def _client(self) -> sdk.DockerClient:
        return self._given or engine.connect_here()

    @classmethod
    def make(cls, settings: Settings, address: str, say: Say) -> Local:
        """Return the engine of this machine; raises OtherMachine where another machine's is named."""
        socket = engine.socket_here()
        return cls(settings, None if socket else engine.connect_here(), say, socket)

    @property
    def user(self) -> str:
        """The person who starts workers, by numbers; a rootless engine calls them root."""
        return "0:0" if engine.is_rootless(self._client) else person(os.environ)

    def image(self, tag: str) -> Image:
        """Return the image by its content where a registry holds it."""
        from cluster.images import build as image_build

        name = image_build.deployable(self._client, ImageRef.parse(tag, self._settings.images))
        return Image(name, tag, sources=image_build.sources_of(self._client, name))

    def _errors(self, doing: str) -> AbstractContextManager[None]:
        return docker_errors(doing)

    def _labels(self, app_id: str) -> dict[str, list[str]]:
        return {"label": [f"{PROJECT}={self._project}", *([f"{APP}={app_id}"] if app_id else [])]}

    def _found(self, app_id: str = "") -> list[ContainerInstance]:
        instances = map(ContainerInstance, self._containers(self._labels(app_id)))
        return sorted(instances, key=lambda one: (one.app.id, one.number))

    def _containers(self, labels: dict[str, list[str]]) -> Iterable[Container]:
        if socket := self._socket:
            with suppress(NoAnswer):
                return [Found(attrs, socket, lambda: self._client) for attrs in socket.containers(labels)]
        return self._client.containers.list(all=True, filters=labels, ignore_removed=True)  # type: ignore[no-any-return]

    def _what_to_make(self, app: AppSpec, number: int, host_ports: tuple[int, ...]) -> Body:
        return container_body(Task(app, self._project, number, host_ports))

    def _reader(self, app: AppSpec, file: SecretFile) -> int:
        user = str(options_body((*app.container_options, *app.engine_options), app.id).get("User", ""))
        number = user.partition(":")[0]
        return int(number) if number.isdecimal() else file.owner

    def _refuse_foreign(self, app: AppSpec, prepared: dict[str, Body]) -> None:
        for name, body in prepared.items():
            self._refuse_foreign_container(app.id, name)
            for mount in body["HostConfig"].get("Mounts", []):
                if mount["Type"] == "volume":
                    self._refuse_foreign_volume(app.id, mount["Source"])

    def _refuse_foreign_container(self, app_id: str, name: str) -> None:
        try:
            labels = self._client.containers.get(name).labels
        except sdk.errors.NotFound:
            return
        if labels.get(PROJECT) != self._project or labels.get(APP) != app_id:
            owner = f"app {labels[APP]} of project {labels[PROJECT]}" if APP in labels else "not made by this project"
            raise ClusterError(
                f"deploy {app_id}: there is a container {name} already ({owner}): remove or rename it, "
                "or set another project in invoke.yaml"
            )

    def _refuse_foreign_volume(self, app_id: str, name: str) -> None:
        try:
            labels = self._client.volumes.get(name).attrs["Labels"] or {}
        except sdk.errors.NotFound:
            return
        if labels.get(PROJECT) != self._project:
            raise ClusterError(
                f"deploy {app_id}: there is a volume {name} already (not made by this project): remove it, "
                "or set another project in invoke.yaml"
            )

    def _get_ready(self, app: AppSpec) -> None:
        pull_missing(self._client, app, self._say)

    def _start(self, app: AppSpec, name: str, what: Body, is_followed: bool) -> ContainerInstance:
        """Make and start a container; one that cannot be started is removed again.

        Docker does not start the program of one that is followed again until it is seen to work.
        """
        body = merged(what, {"HostConfig": {"RestartPolicy": NEVER}}) if is_followed else what
        try:
            container = self._client.containers.get(self._client.api.create_container_from_config(body, name)["Id"])
        except sdk.errors.APIError as error:
            if error.status_code != CONFLICT:
                raise
            raise Overtaken(
                f"deploy {app.id}: a container {name} was made a moment ago by someone else: "
                "is another deploy under way? wait for it, or run this again"
            ) from error
        try:
            container.start()
        except sdk.errors.APIError:
            container.remove(force=True, v=True)
            raise
        return ContainerInstance(container)

    def _follow(self, found: Sequence[ContainerInstance], tail: int, wanted: Wanted) -> Iterator[str]:
        return containers.follow({one.name: one.container for one in found}, tail, wanted)

    def _delete_data(self, app_id: str) -> list[str]:
        volumes = self._client.volumes.list(filters=self._labels(app_id))
        for volume in volumes:
            volume.remove()
        return sorted(volume.name for volume in volumes)


def person(environ: Mapping[str, str]) -> str:
    """Return the numbers, `UID:GID`, of the person who runs this: with sudo, the one who has typed it."""
    numbers = environ.get("SUDO_UID", ""), environ.get("SUDO_GID", "")
    if os.getuid() == 0 and all(number.isdecimal() for number in numbers):
        return ":".join(numbers)
    return f"{os.getuid()}:{os.getgid()}"


def pull_missing(client: sdk.DockerClient, app: AppSpec, say: Say) -> None:
    """Get the app's image from its registry if it is not here."""
    if image_id(client, app.image):
        return
    say(f"pulling {app.image}")
    registry, _ = sdk.auth.resolve_repository_name(sdk.utils.parse_repository_tag(app.image)[0])
    try:
        pull(client, app.image, registry_login.auth_config(registry))
    except NotPulled as error:
        raise ClusterError(
            f"deploy {app.id}: image {app.image} is not here and cannot be pulled ({error}): "
            "build it first (./inv queue.build or ./inv worker.build)"
        ) from error
