"""What the Docker Engine says of a registry, as one line with a next step."""

from __future__ import annotations

from pathlib import Path

from cluster.image_ref import ImageRef, is_local
from cluster.images import registry_api, registry_login, registry_tls
from scripts.errors import ClusterError, ServiceAway

CERTIFICATES = Path("/etc/docker/certs.d")  # where an engine looks for the CA of a registry

AWAY = (
    "connection refused", "no such host", "i/o timeout", "network is unreachable", "no route to host", ": eof",
    "client.timeout exceeded", "deadline exceeded", "connection reset",
)  # fmt: skip
LOGIN = ("unauthorized", "authentication required", "no basic auth credentials", "denied")
_OTHER_NAME = ("certificate is valid for", "cannot validate certificate for", "is not valid for any names")


def push_failure(ref: ImageRef, problem: str, certificates: Path = CERTIFICATES) -> ClusterError:
    """The error for the engine's words about a push; `certificates` is where this engine looks for CAs."""
    words, registry = " ".join(problem.split()), ref.registry
    if "does not exist locally" in words.lower():
        return ClusterError(f"push {ref}: there is no image of this name on this machine: build it first")
    known = registry_failure(f"push {ref}", registry, problem, certificates)
    if known:
        return known
    logs = "; see `./inv registry.logs`" if is_local(registry) else ""
    if "no space left on device" in words.lower():
        return ClusterError(
            f"push {ref}: the disk is full where {registry} keeps its images: `./inv registry.status --host` shows the "
            "room on its host"
        )
    return ClusterError(f"push {ref}: {registry} refused it: {words}{logs}")


def registry_failure(doing: str, registry: str, problem: str, certificates: Path = CERTIFICATES) -> ClusterError | None:
    """The error for a registry that is away, is not trusted or does not let us in; None for all else.

    The engine says all of these in words alone (Go's net and crypto, the registry's own), and often with status 200.
    """
    words = " ".join(problem.split())
    lower = words.lower()
    if any(phrase in lower for phrase in AWAY):
        remedy = "start it with `./inv registry.up`" if is_local(registry) else "see `registry:` in invoke.yaml"
        return ServiceAway(f"{doing}: no registry answers at {registry}: {remedy}")
    if "http response to https client" in lower:
        return ClusterError(
            f"{doing}: {registry} speaks HTTP without TLS: `./inv registry.up --host` sets up a registry with TLS; for "
            "this one, name it in insecure-registries of the Docker Engine's daemon.json, here and on each agent host"
        )
    if "x509" in lower or "certificate" in lower:
        return ClusterError(f"{doing}: {_certificate(registry, lower, certificates)} ({words})")
    if any(phrase in lower for phrase in LOGIN):
        return ClusterError(f"{doing}: {_refusal(registry)} ({words})")
    return None


def _refusal(registry: str) -> str:
    """Whether the login is wrong, or right and not enough: the engine has the same words for both."""
    if registry_login.access(registry):
        try:
            registry_api.check(registry)
        except ClusterError:
            return registry_login.refused(registry)
        return (
            f"the registry {registry} takes the login, which has no right to this image: ask whoever runs it for the "
            "right, or name a path that is yours in `registry:` of invoke.yaml, as HOST/PATH"
        )
    return registry_login.refused(registry)


def _certificate(registry: str, lower: str, certificates: Path) -> str:
    if "has expired" in lower or "not yet valid" in lower:
        return registry_tls.ended(registry)
    if any(phrase in lower for phrase in _OTHER_NAME):
        return registry_tls.other_name(registry)
    access, path = registry_login.for_registry(registry), certificates / registry / "ca.crt"
    if access and access.ca and not path.exists():
        return f"the Docker Engine does not trust {registry} yet: sudo install -D -m 644 {access.ca} {path}"
    if access and access.ca:
        return registry_tls.untrusted(registry)
    return f"the certificate of {registry} is not trusted: put its CA at {path}, on this machine and on each agent host"
