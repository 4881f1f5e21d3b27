"""The start of containers: names that are free, an image that is here, a container that is made and started."""

from __future__ import annotations

import docker
from docker.auth import resolve_repository_name
from docker.errors import APIError, NotFound
from docker.utils import parse_repository_tag

from cluster.apps.app import AppSpec
from cluster.engine.pulls import NotPulled, pull
from cluster.images import registry_login
from cluster.schedulers import Say
from cluster.schedulers.docker.body import APP, PROJECT
from cluster.schedulers.docker.containers import CONFLICT, NEVER, ContainerInstance, image_id
from cluster.schedulers.docker.options import Body, merged
from scripts.errors import ClusterError


def refuse_foreign_container(client: docker.DockerClient, project: str, app_id: str, name: str) -> None:
    """Refuse a container's name that is taken by another app or by someone else."""
    try:
        labels = client.containers.get(name).labels
    except NotFound:
        return
    if labels.get(PROJECT) != project or labels.get(APP) != app_id:
        owner = f"app {labels[APP]} of project {labels[PROJECT]}" if APP in labels else "not made by this project"
        raise ClusterError(
            f"deploy {app_id}: there is a container {name} already ({owner}): remove or rename it, "
            "or set another project in invoke.yaml"
        )


def refuse_foreign_volumes(client: docker.DockerClient, project: str, app_id: str, body: Body) -> None:
    """Refuse data volumes that someone else has made under our names."""
    mounts = body["HostConfig"].get("Mounts", [])
    for name in (mount["Source"] for mount in mounts if mount["Type"] == "volume"):
        try:
            labels = client.volumes.get(name).attrs["Labels"] or {}
        except NotFound:
            continue
        if labels.get(PROJECT) != project:
            raise ClusterError(
                f"deploy {app_id}: there is a volume {name} already (not made by this project): remove it, "
                "or set another project in invoke.yaml"
            )


def pull_missing(client: docker.DockerClient, app: AppSpec, say: Say) -> None:
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


def start(client: docker.DockerClient, app_id: str, name: str, body: Body, is_followed: bool) -> ContainerInstance:
    """Make and start a container; one that cannot be started is removed again.

    One that is followed has its first end told: Docker does not start its program again until it is seen to work.

    Raises:
        ClusterError: someone else made a container of this name a moment ago.
    """
    if is_followed:
        body = merged(body, {"HostConfig": {"RestartPolicy": NEVER}})
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
    return ContainerInstance(container)
