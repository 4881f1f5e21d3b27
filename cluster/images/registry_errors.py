"""The kinds of trouble with a registry: how each is recognized, and what to do about it here and on a host.

This machine's own Docker Engine is told here which CA to trust: it reads a file of it for each push and pull.
"""

from __future__ import annotations

import os
import shlex
import ssl
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import docker
import requests

from cluster import engine
from cluster.engine.errors import causes
from cluster.files import write_atomically
from cluster.image_ref import is_local
from cluster.images import registry_login
from scripts.errors import ClusterError, ServiceAway

CERTIFICATES = Path("/etc/docker/certs.d")  # a folder a registry

_OF_THIS_MACHINE = "http+docker://localhost"  # how the SDK calls an engine at a UNIX socket


class Trouble(Enum):
    """A kind of trouble; its value lists the phrases that tell it, in the order in which they are looked for.

    The Docker Engine has words alone for them (Go's net and crypto/x509, the registry's own), often with status 200.
    """

    FULL = ("no space left on device",)
    AWAY = (
        "connection refused", "no such host", "i/o timeout", "network is unreachable", "no route to host", ": eof",
        "client.timeout exceeded", "deadline exceeded", "connection reset",
    )  # fmt: skip
    NO_TLS = ("http response to https client",)
    ENDED = ("certificate has expired or is not yet valid",)
    OTHER_NAME = ("certificate is valid for", "cannot validate certificate for", "is not valid for any names")
    UNTRUSTED = ("x509", "certificate")
    LOGIN = ("unauthorized", "authentication required", "no basic auth credentials", "denied")
    ABSENT = ("manifest unknown", "name unknown", "not found")
    NO_RIGHT = ()  # the engine has the words of LOGIN for it


# X509_V_ERR_... of OpenSSL's x509_vfy.h
_OF_OPENSSL = {9: Trouble.ENDED, 10: Trouble.ENDED, 62: Trouble.OTHER_NAME, 64: Trouble.OTHER_NAME}

_HERE = {
    Trouble.FULL: "the disk is full where {registry} keeps its images: `./inv registry.status --host HOST` shows its "
    "room",
    Trouble.NO_TLS: "{registry} speaks no TLS: is it a registry? `./inv registry.up --host HOST` sets up one that "
    "does; or name this one in insecure-registries of daemon.json, for the Docker Engine here and on each agent host",
    Trouble.ENDED: "the certificate of {registry} has ended, or a clock is wrong: `./inv registry.up --host HOST` "
    "renews that of a registry of ours",
    Trouble.OTHER_NAME: "the certificate of {registry} is for another name: say `registry:` in invoke.yaml as the "
    "certificate does, or `./inv registry.up --host HOST --address {registry}` for a registry of ours",
    Trouble.NO_RIGHT: "the registry {registry} takes the login, which has no right to {what}: ask whoever runs it for "
    "the right, or name a path that is yours in `registry:` of invoke.yaml, as HOST/PATH",
}
_ON_A_HOST = _HERE | {
    Trouble.FULL: "the disk is full where Docker keeps its data: docker system prune there, or give it more room",
    Trouble.AWAY: "that host does not reach {registry}: is the registry up (./inv registry.status), a firewall "
    "between?",
    Trouble.NO_TLS: "{registry} speaks no TLS: ./inv registry.up --host HOST sets up one that does",
    Trouble.UNTRUSTED: "that host does not trust the registry's certificate: ./inv agents.trust",
    Trouble.LOGIN: "{registry} does not take the login that it got, or gives it no right to this image: ./inv "
    "registry.up --host HOST sets that of a registry of ours right",
}


def trouble_in(words: str) -> Trouble | None:
    """Recognize the trouble that an engine's words are about; None for any other."""
    lower = words.lower()
    return next((trouble for trouble in Trouble if any(phrase in lower for phrase in trouble.value)), None)


def failure(
    registry: str, trouble: Trouble, words: str = "", *, what: str = "this image", engine_ca: Path | None = None
) -> ClusterError:
    """Return the one-line error for trouble (but ABSENT) met on this machine, with the `words` that were said of it.

    `what` is what the login has no right to; `engine_ca` is where the Docker Engine that met the trouble looks for the
    registry's CA, None where this program met it.
    """
    if trouble is Trouble.AWAY:
        step = "start it with `./inv registry.up`" if is_local(registry) else "see `registry:` in invoke.yaml"
        return ServiceAway(f"no registry answers at {registry}: {step}")
    if trouble is Trouble.UNTRUSTED:
        line = _untrusted(registry, engine_ca)
    elif trouble is Trouble.LOGIN:
        line = _login_refused(registry)
    else:
        line = _HERE[trouble].format(registry=registry, what=what)
    return ClusterError(f"{line} ({words})" if words else line)


def tls_failure(registry: str, error: requests.exceptions.SSLError) -> ClusterError:
    """Return the one-line error for a TLS connection that did not come about."""
    found = next((cause for cause in causes(error) if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if found is None:
        return failure(registry, Trouble.NO_TLS)
    trouble = _OF_OPENSSL.get(found.verify_code, Trouble.UNTRUSTED)
    return failure(registry, trouble, found.verify_message.rstrip("."))


def remedy_on_a_host(registry: str, words: str) -> str:
    """Return the next step for the words of a host's engine; empty where they are about nothing known here."""
    trouble = trouble_in(words)
    return _ON_A_HOST[trouble].format(registry=registry) if trouble in _ON_A_HOST else ""


def of_another_ca(registry: str, ca: Path) -> str:
    """Return the line for a registry whose certificate is not of our CA."""
    return (
        f"the certificate of {registry} is not of our CA, {ca}: somebody else's registry has this address, or "
        ".secrets/ is not the one that it was set up with"
    )


def ca_file(client: docker.DockerClient, registry: str) -> Path:
    """Return where this engine looks for the CA of a registry."""
    folder = CERTIFICATES
    if engine.is_rootless(client):
        config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        folder = Path(config) / "docker" / "certs.d"
    return folder / registry / "ca.crt"


def trust(client: docker.DockerClient, registry: str, ca: Path, say: Callable[[str], None]) -> None:
    """Let the engine trust what this CA says of the registry; where we may not, say the command that does it."""
    path = ca_file(client, registry)
    if client.api.base_url != _OF_THIS_MACHINE:
        say(f"the Docker Engine of DOCKER_HOST is on another machine, which has to trust {registry}, too: {path} there")
        return
    try:
        if path.is_file() and path.read_bytes() == ca.read_bytes():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, ca.read_bytes(), mode=0o644)
    except OSError:  # we are not root, or the system's files are read-only
        say(f"let this machine's Docker Engine trust {registry}: {_command_to_trust(ca, path)}")
    else:
        say(f"this machine's Docker Engine trusts {registry} from now on: {path}")


def _command_to_trust(ca: Path, engine_ca: Path) -> str:
    """Return the command that lets a Docker Engine trust a CA."""
    return f"sudo install -D -m 644 {shlex.quote(str(ca))} {shlex.quote(str(engine_ca))}"


def _untrusted(registry: str, engine_ca: Path | None) -> str:
    access = registry_login.for_registry(registry)
    ca = access.ca if access else None
    if ca and engine_ca and not engine_ca.exists():
        return f"the Docker Engine does not trust {registry} yet: {_command_to_trust(ca, engine_ca)}"
    if ca:
        return of_another_ca(registry, ca)
    if engine_ca:
        return (
            f"the certificate of {registry} is not trusted: put its CA at {engine_ca}, on this machine and on each "
            "agent host"
        )
    return (
        f"the certificate of {registry} is not trusted: take the .secrets/ that it was set up with, or name its CA "
        f'({{"user": ..., "password": ..., "ca": FILE}}) in {registry_login.place(registry)}'
    )


def _login_refused(registry: str) -> str:
    if registry_login.for_registry(registry):
        return (
            f"the registry {registry} does not take the login in {registry_login.place(registry)}: "
            "`./inv registry.up --host HOST` sets that of a registry of ours right"
        )
    if registry_login.auth_config(registry):
        return f"the registry {registry} does not take the login that docker has for it: docker login {registry}"
    return (
        f"the registry {registry} asks for a login, and there is none for it: take the .secrets/ that it was set up "
        f'with, or write {{"user": ..., "password": ...}} into {registry_login.place(registry)}'
    )
