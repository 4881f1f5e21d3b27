"""What a host's Docker Engine says of the registry, as what to do about it."""

from __future__ import annotations

from cluster.images import registry_tls
from cluster.images.push_errors import AWAY, LOGIN

_ABSENT = ("manifest unknown", "name unknown", "not found")


def remedy(registry: str, problem: str) -> str:
    """The next step for an engine's words about a registry, "" when they are about something else.

    They are Go's (net, crypto/x509) and the registry's own; the engine passes them on as text.
    """
    lower = problem.lower()
    if "no space left on device" in lower:
        return "the disk is full where Docker keeps its data: docker system prune there, or give it more room"
    if any(phrase in lower for phrase in AWAY):
        return f"that host does not reach {registry}: is the registry up (./inv registry.status), a firewall between?"
    if "http response to https client" in lower:
        return f"{registry} speaks no TLS: ./inv registry.up --host HOST sets up one that does"
    if "has expired" in lower or "not yet valid" in lower:
        return registry_tls.ended(registry)
    if "x509" in lower or "certificate" in lower:
        return "that host does not trust the registry's certificate: ./inv agents.trust"
    if any(phrase in lower for phrase in LOGIN):
        return (
            f"{registry} does not take the login that it got, or gives it no right to this image: "
            "./inv registry.up --host HOST sets that of a registry of ours right"
        )
    return ""


def says_absent(problem: str) -> bool:
    """Whether the registry answered, and has no such image."""
    lower = problem.lower()
    return any(phrase in lower for phrase in _ABSENT) and not any(phrase in lower for phrase in LOGIN)
