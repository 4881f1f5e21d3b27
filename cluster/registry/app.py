"""The registry's app on a host: the component's definition with TLS and a login."""

from __future__ import annotations

from dataclasses import replace

from cluster.apps import definitions
from cluster.apps.app import AppSpec, Volume
from cluster.components import REGISTRY
from cluster.image_ref import registry_address

# On the host, and in the container, which sees the first one only to read.
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


def registry_app(image: str, tag: str, address: str, certificate: str) -> AppSpec:
    """Return the registry that everybody reaches at this address of a host.

    `certificate` is a fingerprint: with another one the app is another, so that a deploy replaces what runs, which has
    read its certificate when it started.
    """
    filled = definitions.fill(definitions.load(REGISTRY.definition), {"IMAGE": image, "TAG": tag})
    app = definitions.read(filled).with_host_ports({"registry": registry_address(address).port})
    app = app.with_env(_ENV).with_labels({"address": address, "certificate": certificate})
    return replace(app, volumes=(*app.volumes, Volume(FOLDER, FOLDER, read_only=True)))
