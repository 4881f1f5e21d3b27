"""The registry's app, and the plan for a registry's host: what it should have, from what it has; acts on nothing."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import bcrypt
from cryptography import x509

from cluster.apps import definitions
from cluster.apps.app import AppSpec, Volume
from cluster.components import REGISTRY
from cluster.image_ref import ImageRef, checked_registry, is_local, registry_address
from cluster.images import registry_login
from cluster.images.registry_login import Access
from cluster.registry import certificates
from cluster.registry.certificates import Authority, Pair
from cluster.settings import Settings
from scripts.errors import ClusterError
from scripts.hostport import HostPort

# Not in the registry that it is: its name must not change with that one's address.
IMAGE = ImageRef("cluster-registry", "v1")
START_TIMEOUT_S = 60

# On the host, and in the container, where the first one is read-only.
FOLDER = "/etc/cluster/registry"
DATA = "/var/lib/cluster/registry"
CERTIFICATE, KEY, HTPASSWD = f"{FOLDER}/cert.pem", f"{FOLDER}/key.pem", f"{FOLDER}/htpasswd"

OWNER = "901:901"  # the plain user of the image (components/registry/Dockerfile)

_ENV = {
    "REGISTRY_HTTP_TLS_CERTIFICATE": CERTIFICATE,
    "REGISTRY_HTTP_TLS_KEY": KEY,
    "REGISTRY_AUTH": "htpasswd",
    "REGISTRY_AUTH_HTPASSWD_REALM": "cluster",
    "REGISTRY_AUTH_HTPASSWD_PATH": HTPASSWD,
}

PORT = 5000
_USER = "cluster"
# The registry works the hash out anew for each request of each push and pull. Its cost makes up for passwords that
# people think of; nobody guesses one of 192 random bits, so it may be small.
_COST = 5
_PASSWORD_BYTES = 24


Found = Mapping[str, bytes | None]  # the registry's files on a host by their paths; None is not there


@dataclass(frozen=True)
class Plan:
    """The registry of a host as it should be; `news` says, by path, why a file is not as it was found.

    The certificate is the last of the `files`, so that an interrupted run is detected and redone.
    """

    address: str
    access: Access
    ca: Authority
    files: dict[str, bytes] = field(repr=False)
    news: dict[str, str]

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate of the registry."""
        return x509.load_pem_x509_certificate(self.files[CERTIFICATE])

    @property
    def app(self) -> AppSpec:
        """The registry as the host's engine runs it, for all who reach it at this address.

        It reads its certificate when it starts, so another one makes another app, which replaces what runs.
        """
        labels = {"address": self.address, "certificate": certificates.fingerprint(self.certificate)}
        app = local_app(self.address).with_env(_ENV).with_labels(labels)
        return replace(app, volumes=(*app.volumes, Volume(FOLDER, FOLDER, read_only=True)))


def local_app(registry: str) -> AppSpec:
    """Return the registry of this machine, at the port of its address."""
    filled = definitions.fill(definitions.load(REGISTRY.definition), {"IMAGE": str(IMAGE), "TAG": IMAGE.tag})
    return definitions.read(filled).with_host_ports({"registry": registry_address(registry).port})


def address(settings: Settings, host_address: str, given: str) -> str:
    """Return the address at which everybody reaches the registry: given, else of invoke.yaml, else the host's own."""
    configured = settings.registry if settings.registry and not is_local(settings.registry) else ""
    chosen = given or configured or str(HostPort(host_address, PORT))
    if is_local(checked_registry(chosen)) or registry_address(chosen).host in ("0.0.0.0", "::"):
        raise ClusterError(
            f"{chosen} stands for another machine on each machine that asks: give the address at which all of them "
            "reach the registry's host, --address HOST:PORT"
        )
    return chosen


def for_host(where: str, found: Found, ca: Authority, now: datetime) -> Plan:
    """Return the plan for a host with these files: what is right stays, all else is made anew."""
    htpasswd, key, certificate = (found.get(path) for path in (HTPASSWD, KEY, CERTIFICATE))
    access = _login(htpasswd, registry_login.for_registry(where), registry_login.every(), ca)
    host, news = registry_address(where).host, dict[str, str]()
    pair = Pair(certificate, key) if certificate and key else None
    lack = certificates.reason_to_renew(pair, host, ca, now)
    if pair is None or lack:
        pair = ca.issue(host, now)
        news = {KEY: "new, with its certificate", CERTIFICATE: f"new: {lack}"}
    if htpasswd is None or not lets_in(htpasswd, access.user, access.password):
        news[HTPASSWD] = "new: there is none" if htpasswd is None else "new: it does not let our login in"
        htpasswd = htpasswd_file(access.user, access.password)
    return Plan(where, access, ca, {HTPASSWD: htpasswd, KEY: pair.key, CERTIFICATE: pair.certificate}, news)


def _login(htpasswd: bytes | None, kept: Access | None, others: Iterable[Access], ca: Authority) -> Access:
    """Return the login that is kept for the address, else one that the host lets in already, else a new one."""
    access = kept or next((one for one in others if lets_in(htpasswd, one.user, one.password)), None)
    user, password = (access.user, access.password) if access else (_USER, secrets.token_urlsafe(_PASSWORD_BYTES))
    return Access(user, password, ca.file)


def htpasswd_file(user: str, password: str) -> bytes:
    """Return the file that the registry reads: the user and the bcrypt hash of the password."""
    return f"{user}:".encode() + bcrypt.hashpw(password.encode(), bcrypt.gensalt(_COST)) + b"\n"


def lets_in(file: bytes | None, user: str, password: str) -> bool:
    """Return whether this htpasswd file lets this user in, and nobody else."""
    name, colon, hashed = (file or b"").strip().partition(b":")
    try:
        return bool(colon) and name == user.encode() and bcrypt.checkpw(password.encode(), hashed)
    except ValueError:  # not a hash of bcrypt
        return False


def refuse_other_authority(found: Found, ca: Authority, name: str) -> None:
    """Let nobody take over the registry that somebody else has set up on the host `name`."""
    try:
        certificate = x509.load_pem_x509_certificate(found.get(CERTIFICATE) or b"")
    except ValueError:
        return
    if not certificates.is_of(certificate, ca):
        raise ClusterError(
            f"{name}: the registry there was set up with another CA ({certificate.issuer.rfc4514_string()}) than that "
            f"of .secrets/: take the .secrets/ that it was set up with, or remove {CERTIFICATE} there to set it up anew"
        )
