"""What a private registry says over HTTP: whether it is one, and what it holds (the registry's HTTP API V2)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests

from scripts.errors import ClusterError, ServiceAway

TIMEOUT_S = 10

_PAGE = 100
_MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.index.v1+json"
)


@dataclass(frozen=True)
class StoredImage:
    """An image in a registry; `bytes` is what it takes there, compressed."""

    name: str
    tag: str
    digest: str
    bytes: int


def is_local(registry: str) -> bool:
    """Whether a registry's `host[:port]` is a loopback address, which no other machine can reach."""
    host = registry if registry.endswith("]") or ":" not in registry else registry.rpartition(":")[0]
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def answers(registry: str) -> bool:
    """Whether something there speaks the registry's protocol, be it that it asks for a login."""
    try:
        answer = _ask(registry, "")
    except requests.RequestException:
        return False
    return answer.headers.get("Docker-Distribution-Api-Version") == "registry/2.0"


def stored(registry: str) -> list[StoredImage]:
    """All images of a registry, by name and tag.

    Raises:
        ServiceAway: it does not answer.
        ClusterError: it asks for a login, or is no registry.
    """
    found = (_image(registry, name, tag) for name in _names(registry) for tag in _tags(registry, name))
    return sorted((image for image in found if image), key=lambda image: (image.name, image.tag))


def _names(registry: str) -> Iterator[str]:
    """The catalog comes in pages."""
    last = ""
    while True:
        page = _json(registry, f"_catalog?n={_PAGE}{last}").get("repositories") or []
        yield from page
        if len(page) < _PAGE:
            return
        last = f"&last={page[-1]}"


def _tags(registry: str, name: str) -> list[str]:
    """Its tags; an image whose tags were all deleted has null, or is not found at all."""
    return _json(registry, f"{name}/tags/list").get("tags") or []


def _image(registry: str, name: str, tag: str) -> StoredImage | None:
    answer = _get(registry, f"{name}/manifests/{tag}")
    if answer.status_code == requests.codes.not_found:
        return None  # deleted since it was listed
    manifest = answer.json()
    parts = [manifest.get("config", {}), *manifest.get("layers", []), *manifest.get("manifests", [])]
    size = sum(int(part.get("size", 0)) for part in parts)
    return StoredImage(name, tag, answer.headers.get("Docker-Content-Digest", ""), size)


def _json(registry: str, path: str) -> dict[str, Any]:
    try:
        answer = _get(registry, path).json()
    except requests.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise ClusterError(f"what answers at {registry} is no registry: see `registry:` in invoke.yaml")
    return answer


def _get(registry: str, path: str) -> requests.Response:
    try:
        answer = _ask(registry, path)
    except requests.RequestException as error:
        remedy = "start it with `./inv registry.up`" if is_local(registry) else "see `registry:` in invoke.yaml"
        raise ServiceAway(f"no registry answers at {registry}: {remedy}") from error
    if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
        raise ClusterError(f"the registry {registry} asks for a login: look into it with its own tools")
    if answer.status_code != requests.codes.not_found and not answer.ok:
        raise ClusterError(f"the registry {registry} fails: {answer.status_code} {answer.reason} for /v2/{path}")
    return answer


def _ask(registry: str, path: str) -> requests.Response:
    """As the Docker Engine does: a loopback address in plain HTTP, any other with TLS; no proxy for a loopback one."""
    local = is_local(registry)
    url = f"{'http' if local else 'https'}://{registry}/v2/{path}"
    with requests.Session() as session:
        session.trust_env = not local
        return session.get(url, timeout=TIMEOUT_S, headers={"Accept": _MANIFESTS})
