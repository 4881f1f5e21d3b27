"""A registry's certificate: the one that it shows, and in one line why it is not trusted."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import requests
from cryptography import x509

from cluster.engine.errors import causes
from cluster.images import registry_login
from scripts.errors import ClusterError, ServiceAway
from scripts.hostport import HostPort

# X509_V_ERR_... of OpenSSL's x509_vfy.h
_NOT_YET, _ENDED, _OTHER_NAME, _OTHER_IP = 9, 10, 62, 64
_HTTPS_PORT = 443


def shown(registry: str, timeout_s: float) -> x509.Certificate:
    """The certificate that a registry shows, be it trusted or not.

    Raises:
        ServiceAway: nothing answers there, or without TLS.
    """
    at = address(registry)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((at.host, at.port), timeout_s) as connection,
            context.wrap_socket(connection, server_hostname=at.host) as tls,
        ):
            return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError) as error:
        raise ServiceAway(
            f"nothing at {registry} answers with TLS ({error}): see `registry:` in invoke.yaml"
        ) from error


def address(registry: str) -> HostPort:
    """Where a registry listens; without a port that of HTTPS, as Docker has it."""
    has_port = ":" in registry.rpartition("]")[2]
    return HostPort.parse(registry if has_port else f"{registry}:{_HTTPS_PORT}")


def failure(registry: str, error: requests.exceptions.SSLError) -> ClusterError:
    """The one-line error for a TLS connection that did not come about."""
    found = next((cause for cause in causes(error) if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if found is None:
        return ClusterError(
            f"what answers at {registry} speaks no TLS: is it a registry? see `registry:` in invoke.yaml"
        )
    code = found.verify_code
    words = (
        ended(registry) if code in (_NOT_YET, _ENDED)
        else other_name(registry) if code in (_OTHER_NAME, _OTHER_IP)
        else untrusted(registry)
    )  # fmt: skip
    return ClusterError(f"{words} ({found.verify_message.rstrip('.')})")


def ended(registry: str) -> str:
    """For a certificate that is not of this time."""
    return (
        f"the certificate of {registry} has ended, or a clock is wrong: `./inv registry.up --host` renews that of a "
        "registry of ours"
    )


def other_name(registry: str) -> str:
    """For a certificate that is of another address."""
    return (
        f"the certificate of {registry} is for another name: say `registry:` in invoke.yaml as the certificate does, "
        f"or `./inv registry.up --host ... --address {registry}` for a registry of ours"
    )


def anothers(registry: str, ca: Path) -> str:
    """For a registry whose certificate is not of our CA."""
    return (
        f"the certificate of {registry} is not of our CA, {ca}: somebody else's registry has this address, or "
        ".secrets/ is not the one that it was set up with"
    )


def untrusted(registry: str) -> str:
    """For a certificate of a CA that we do not know."""
    access = registry_login.for_registry(registry)
    if access and access.ca:
        return anothers(registry, access.ca)
    return (
        f"nobody here trusts the certificate of {registry}: take the .secrets/ that it was set up with, or name its CA "
        f'({{"user": ..., "password": ..., "ca": FILE}}) in {registry_login.place(registry)}'
    )
