"""What the Docker Engine says when a push fails, as one line with a next step."""

from __future__ import annotations

from cluster.image_ref import ImageRef
from cluster.registry_api import is_local
from scripts.errors import ClusterError, ServiceAway

_AWAY = ("connection refused", "no such host", "i/o timeout", "network is unreachable", "no route to host", ": eof")
_LOGIN = ("unauthorized", "authentication required", "no basic auth credentials", "denied")


def push_failure(ref: ImageRef, problem: str) -> ClusterError:
    """The error for the engine's words about a push.

    The engine says all of these with HTTP status 200, in words alone (Go's net and the registry's own).
    """
    words, registry = " ".join(problem.split()), ref.registry
    lower = words.lower()
    if "does not exist locally" in lower:
        return ClusterError(f"push {ref}: there is no image of this name on this machine: build it first")
    if any(phrase in lower for phrase in _AWAY):
        remedy = "start it with `./inv registry.up`" if is_local(registry) else "see `registry:` in invoke.yaml"
        return ServiceAway(f"push {ref}: no registry answers at {registry}: {remedy}")
    if "http response to https client" in lower:
        return ClusterError(
            f"push {ref}: {registry} speaks HTTP without TLS: name it in insecure-registries of the Docker Engine's "
            "daemon.json, on this machine and on each agent host"
        )
    if "x509" in lower or "certificate" in lower:
        return ClusterError(
            f"push {ref}: the certificate of {registry} is not trusted: put its CA at "
            f"/etc/docker/certs.d/{registry}/ca.crt, on this machine and on each agent host ({words})"
        )
    if any(phrase in lower for phrase in _LOGIN):
        return ClusterError(f"push {ref}: {registry} does not let you in: docker login {registry} ({words})")
    logs = "; see `./inv registry.logs`" if is_local(registry) else ""
    return ClusterError(f"push {ref}: {registry} refused it: {words}{logs}")
