"""Other people's containers and volumes under names that a deploy needs; refused before anything is stopped."""

from __future__ import annotations

import docker
from docker.errors import NotFound

from cluster.schedulers.docker.body import APP, PROJECT
from cluster.schedulers.docker.options import Body
from scripts.errors import ClusterError


def foreign_container(client: docker.DockerClient, project: str, app_id: str, name: str) -> None:
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


def foreign_volumes(client: docker.DockerClient, project: str, app_id: str, body: Body) -> None:
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
