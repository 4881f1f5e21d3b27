"""The registry's app: the component's definition for this machine, or for a host with TLS and a login."""

from __future__ import annotations

from dataclasses import replace

from cluster.apps import definitions
from cluster.apps.app import AppSpec, Volume
from cluster.components import REGISTRY
from cluster.image_ref import ImageRef, registry_address

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


def local_app(registry: str) -> AppSpec:
    """Return the registry of this machine, at the port of its address."""
    filled = definitions.fill(definitions.load(REGISTRY.definition), {"IMAGE": str(IMAGE), "TAG": IMAGE.tag})
    return definitions.read(filled).with_host_ports({"registry": registry_address(registry).port})


def host_app(address: str, certificate: str) -> AppSpec:
    """Return the registry of a host, which everybody reaches at this address.

    `certificate` is a fingerprint: the registry reads its certificate when it starts, so another one makes another
    app, which replaces what runs.
    """
    app = local_app(address).with_env(_ENV).with_labels({"address": address, "certificate": certificate})
    return replace(app, volumes=(*app.volumes, Volume(FOLDER, FOLDER, read_only=True)))
