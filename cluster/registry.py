"""The private registry: the one on this machine is started where it is not running; what any of them holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import docker
import requests

from cluster import definitions, images
from cluster.apps import with_ports
from cluster.components import REGISTRY
from cluster.image_ref import ImageRef
from cluster.schedulers import App, Scheduler
from cluster.settings import Settings
from scripts.errors import ClusterError, ServiceAway
from scripts.hostport import HostPort

TIMEOUT_S = 10
START_TIMEOUT_S = 60

_MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.index.v1+json"
)


@dataclass(frozen=True)
class StoredImage:
    """An image in a registry; `bytes` is what its layers take there, compressed."""

    name: str
    tag: str
    digest: str
    bytes: int


def is_local(registry: str) -> bool:
    """Whether a registry's address is on a loopback address, which no other machine can reach."""
    host = registry.rpartition(":")[0].strip("[]") or registry
    return host == "localhost" or host == "::1" or host.startswith("127.")


def answers(registry: str) -> bool:
    """Whether something there speaks the registry's protocol."""
    try:
        answer = requests.get(f"http://{registry}/v2/", timeout=TIMEOUT_S)
    except requests.RequestException:
        return False
    # A 401 is a registry that asks for a login.
    return answer.headers.get("Docker-Distribution-Api-Version") == "registry/2.0"


def ensure_up(
    settings: Settings, client: docker.DockerClient, scheduler: Scheduler, say: Callable[[str], None]
) -> None:
    """Run the registry of this machine where none answers; a registry elsewhere is left to who runs it.

    Raises:
        ClusterError: its port is taken by something else, or it does not start.
    """
    if not is_local(settings.registry) or answers(settings.registry):
        return
    ref = ImageRef("cluster-registry", "v1")
    images.build(client, REGISTRY, ref, say)
    say(f"starting the private registry at {settings.registry}")
    filled = definitions.fill(definitions.load(REGISTRY.definition), {"IMAGE": str(ref), "TAG": ref.tag})
    port = HostPort.parse(settings.registry).port
    app = App(REGISTRY.app_id, with_ports(filled, {"registry": port}))
    scheduler.deploy(app, START_TIMEOUT_S)
    if not answers(settings.registry):
        raise ClusterError(f"the registry runs but does not answer at {settings.registry}: see `./inv registry.logs`")


def stored(registry: str) -> list[StoredImage]:
    """All images of a registry that needs no login, by name and tag.

    Raises:
        ServiceAway: it does not answer.
    """
    return sorted(
        (_image(registry, name, tag) for name in _names(registry) for tag in _tags(registry, name)),
        key=lambda image: (image.name, image.tag),
    )


def _names(registry: str) -> list[str]:
    """The catalog comes in pages."""
    names: list[str] = []
    while True:
        last = f"&last={names[-1]}" if names else ""
        page = _get(registry, f"_catalog?n=100{last}").json().get("repositories") or []
        names += page
        if len(page) < 100:
            return names


def _tags(registry: str, name: str) -> list[str]:
    return _get(registry, f"{name}/tags/list").json().get("tags") or []


def _image(registry: str, name: str, tag: str) -> StoredImage:
    answer = _get(registry, f"{name}/manifests/{tag}")
    manifest = answer.json()
    parts: list[dict[str, Any]] = [*manifest.get("layers", []), *manifest.get("manifests", [])]
    size = sum(int(part.get("size", 0)) for part in parts)
    return StoredImage(name, tag, answer.headers.get("Docker-Content-Digest", ""), size)


def _get(registry: str, path: str) -> requests.Response:
    try:
        answer = requests.get(f"http://{registry}/v2/{path}", timeout=TIMEOUT_S, headers={"Accept": _MANIFESTS})
        answer.raise_for_status()
    except requests.RequestException as error:
        raise ServiceAway(
            f"no registry answers at {registry}: `./inv registry.up` starts one on this machine"
        ) from error
    return answer
