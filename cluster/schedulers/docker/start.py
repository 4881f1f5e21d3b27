"""The start of containers: their image pulled, made, and waited for until they work."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import docker
from docker.auth import resolve_repository_name
from docker.errors import APIError, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.utils import parse_repository_tag

from cluster.apps.app import AppSpec
from cluster.engine.pulls import NotPulled, pull
from cluster.images import registry_login
from cluster.schedulers import waiting
from cluster.schedulers.docker import containers
from cluster.schedulers.docker.body import RESTARTS
from cluster.schedulers.docker.containers import CONFLICT
from cluster.schedulers.docker.options import Body, merged
from cluster.schedulers.waiting import NotUp
from scripts.errors import ClusterError


def image_id(client: docker.DockerClient, name: str) -> str:
    """Return the image that a name stands for now; empty where it is not here."""
    try:
        return str(client.images.get(name).id)
    except ImageNotFound:
        return ""


def pull_missing(client: docker.DockerClient, app: AppSpec, say: Callable[[str], None]) -> None:
    """Get the app's image from its registry if it is not here.

    Raises:
        ClusterError: the registry does not give it, with its words.
    """
    if image_id(client, app.image):
        return
    say(f"pulling {app.image}")
    registry, _ = resolve_repository_name(parse_repository_tag(app.image)[0])
    try:
        pull(client, app.image, registry_login.auth_config(registry))
    except NotPulled as error:
        raise ClusterError(
            f"deploy {app.id}: image {app.image} is not here and cannot be pulled ({error}): "
            "build it first (./inv queue.build or ./inv worker.build)"
        ) from error


def start(client: docker.DockerClient, app_id: str, name: str, body: Body, is_followed: bool) -> Container:
    """Make and start a container; one that cannot be started is removed again.

    Until `wait`, if it follows, has seen it work, Docker does not start its program again: so its first end is told.

    Raises:
        ClusterError: someone else made a container of this name a moment ago.
    """
    if is_followed:
        body = merged(body, {"HostConfig": {"RestartPolicy": containers.NEVER}})
    try:
        container = client.containers.get(client.api.create_container_from_config(body, name)["Id"])
    except APIError as error:
        if error.status_code != CONFLICT:
            raise
        raise ClusterError(
            f"deploy {app_id}: a container {name} was made a moment ago by someone else: "
            "is another deploy under way? wait for it, or run this again"
        ) from error
    try:
        container.start()
    except APIError:
        container.remove(force=True, v=True)
        raise
    return container


def wait(made: Sequence[Container], timeout_s: float) -> None:
    """Return when all these containers work.

    A container whose program ends is stopped at once and kept, for its logs to be read. One that is late is left
    running: it may have much data to read, and the next deploy waits for it again.

    Raises:
        NotUp: one has ended, or the time is over.
        ClusterError: one was removed meanwhile.
    """

    def works(container: Container) -> bool:
        _reload(container)
        if containers.is_ended(container):
            raise _crashed(container)
        done = containers.works(container)
        if done:
            _supervise(container)
        return done

    waiting.wait(made, works, lambda container: _late(container, timeout_s), timeout_s)


def _supervise(container: Container) -> None:
    """Let Docker start its program again when it ends from now on; what has ended a moment before is not up."""
    if container.attrs["HostConfig"]["RestartPolicy"]["Name"] != RESTARTS["Name"]:
        containers.start_again(container, RESTARTS)
        _reload(container)
        if container.status in ("exited", "dead"):
            raise _crashed(container)


def _reload(container: Container) -> None:
    try:
        container.reload()
    except NotFound as error:
        raise ClusterError(
            f"container {container.name} was removed while it started: is another deploy or stop under way?"
        ) from error


def _crashed(container: Container) -> NotUp:
    how = containers.ended(container)
    containers.halt(container)
    return NotUp(f"{container.name} {how} and is stopped", containers.last_lines(container))


def _late(container: Container, timeout_s: float) -> NotUp:
    _supervise(container)
    check = containers.check_output(container)
    return NotUp.late(container.name, timeout_s, check, containers.last_lines(container))
