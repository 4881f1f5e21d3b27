"""Certificates of host keys, made by a CA of the person's known_hosts (@cert-authority); see ssh-keygen(1)."""

from __future__ import annotations

import time
from base64 import b64decode, b64encode
from contextlib import suppress

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
)

from scripts.one_line import one_line

_NAME_OF_SIGNATURE = len(b"rsa-sha2-512") + 4  # what stands before the signature itself, with the signature's length


def authority(kind: str, blob: bytes) -> bytes:
    """Return the public key of the CA that signed a certificate, b"" if that cannot be read."""
    certificate = _read(kind, blob)
    if not certificate:
        return b""
    line = certificate.signature_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return b64decode(line.split()[1])


def objection(kind: str, blob: bytes, name: str) -> str:
    """Return why a certificate, of a CA that is known, does not vouch for the host `name`; "" if it does."""
    certificate = _read(kind, blob)
    if not certificate or certificate.type is not SSHCertificateType.HOST or certificate.critical_options:
        return "is none for a host that can be understood here"
    if not _is_signed(certificate, blob):
        return "is not signed in a way that ssh takes"
    if not certificate.valid_after <= time.time() < certificate.valid_before:
        return "has ended, or is not valid yet, or a clock is wrong"
    names = [one.decode(errors="replace") for one in certificate.valid_principals]
    return "" if name in names else f"is for another name: {one_line(', '.join(names))}"


def _read(kind: str, blob: bytes) -> SSHCertificate | None:
    try:
        found = load_ssh_public_identity(b" ".join((kind.encode(), b64encode(blob))))
    except (ValueError, UnsupportedAlgorithm):
        return None
    return found if isinstance(found, SSHCertificate) else None


def _is_signed(certificate: SSHCertificate, blob: bytes) -> bool:
    """Check the signature; ssh does not take one with SHA-1."""
    key = certificate.signature_key()
    if isinstance(key, RSAPublicKey) and b"rsa-sha2-" not in blob[-key.key_size // 8 - _NAME_OF_SIGNATURE :]:
        return False
    with suppress(InvalidSignature):
        certificate.verify_cert_signature()
        return True
    return False
