"""A certificate authority of the tests' own, and what it signs."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cluster.registry import certificates

_PEM = serialization.Encoding.PEM


def write_certificates(folder: Path, host: str) -> None:
    """Write ca.pem, and in cert.pem and key.pem what a server at this address and its clients may show."""
    now = datetime.now(UTC)
    ca, key = certificates.new("test", now), ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]))
        .issuer_name(ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False)
        .sign(ca.key, hashes.SHA256())
    )
    no_password = serialization.NoEncryption()
    (folder / "ca.pem").write_bytes(ca.certificate.public_bytes(_PEM))
    (folder / "cert.pem").write_bytes(certificate.public_bytes(_PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, no_password))


def server_context(folder: Path) -> ssl.SSLContext:
    """Return what a server needs that shows these certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
