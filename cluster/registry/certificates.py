"""The certificates of registries that we run, and our CA, whose key stays in .secrets/ of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster import credentials
from cluster.files import write_atomically
from scripts.errors import ClusterError

CA_TIME = timedelta(days=3650)
SERVER_TIME = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)

_CLOCKS_DIFFER = timedelta(hours=1)
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Pair:
    """A server's certificate and its key, as PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class Authority:
    """The CA of a project; `file` holds its certificate."""

    file: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    def issue(self, host: str, now: datetime) -> Pair:
        """Make a certificate for a server at this name or IP address, with a new key; it ends no later than the CA."""
        key = ec.generate_private_key(ec.SECP256R1())
        ends = min(now + SERVER_TIME, self.certificate.not_valid_after_utc)
        certificate = _signed(f"registry {host}"[:64], key, now, ends, self.certificate.subject, self.key, {
            x509.SubjectAlternativeName([_name(host)]): False,
            x509.BasicConstraints(ca=False, path_length=None): True,
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]): False,
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()): False,
        })  # fmt: skip
        return Pair(certificate.public_bytes(_PEM), _key_pem(key))

    def keep(self) -> None:
        """Keep the CA in .secrets/; does nothing where it is kept already."""
        if not self.file.exists():
            # The key first: without a certificate there is no CA.
            write_atomically(self.file.with_suffix(".key"), _key_pem(self.key))
            write_atomically(self.file, self.certificate.public_bytes(_PEM), mode=0o644)


def place(project: str) -> Path:
    """Return where the certificate of a project's CA is kept; its key lies beside it."""
    return credentials.SECRETS / f"{project}-registry-ca.pem"


def of(project: str, now: datetime) -> Authority:
    """Return the CA of a project; before its first use a new one, which is not kept yet."""
    file, key_file = place(project), place(project).with_suffix(".key")
    if not file.exists():
        return new(project, now)  # a key without a certificate is of a run that was interrupted
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not PEM"
        raise ClusterError(f"the CA in {file} and {key_file} cannot be read ({why}): {_ANEW}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ClusterError(f"{key_file} is not the key of {file}: {_ANEW}")
    if certificate.not_valid_after_utc - RENEW_BEFORE < now:
        raise ClusterError(f"the CA in {file} ends on {certificate.not_valid_after_utc:%Y-%m-%d}: {_ANEW}")
    return Authority(file, certificate, key)


_ANEW = (
    "put back what was there; or delete both and /etc/cluster/registry on the registry's host, and run "
    "`./inv registry.up --host` again: then every host has to be told to trust the new CA"
)


def fingerprint(certificate: x509.Certificate) -> str:
    """Return a certificate's fingerprint, as `openssl x509 -fingerprint -sha256` prints it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def reason_to_renew(pair: Pair | None, host: str, authority: Authority, now: datetime) -> str:
    """Return why a server at this name or IP address needs a new certificate; empty when it has a right one."""
    if pair is None:
        return "there is none"
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        key = serialization.load_pem_private_key(pair.key, password=None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, x509.ExtensionNotFound):
        return "it cannot be read"
    if key.public_key() != certificate.public_key():
        return "its key is another's"
    if not is_of(certificate, authority):
        return "it is of another CA"
    if _name(host) not in names:
        return f"it is not for {host}"
    ends = certificate.not_valid_after_utc
    return f"it ends on {ends:%Y-%m-%d}" if ends - RENEW_BEFORE < now else ""


def is_of(certificate: x509.Certificate, authority: Authority) -> bool:
    """Return whether this CA has signed the certificate."""
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def new(project: str, now: datetime) -> Authority:
    """Make a CA, which is not kept anywhere yet."""
    key = ec.generate_private_key(ec.SECP384R1())
    subject = f"{project} registry CA"
    certificate = _signed(subject, key, now, now + CA_TIME, _common_name(subject), key, {
        x509.BasicConstraints(ca=True, path_length=0): True,
        x509.KeyUsage(False, False, False, False, False, True, True, False, False): True,  # signs, and nothing else
    })  # fmt: skip
    return Authority(place(project), certificate, key)


def _signed(
    subject: str, key: ec.EllipticCurvePrivateKey, now: datetime, ends: datetime, issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey, extensions: Mapping[x509.ExtensionType, bool],
) -> x509.Certificate:  # fmt: skip
    """Return a certificate for a key; of each extension it is said whether it is critical."""
    builder = x509.CertificateBuilder().subject_name(_common_name(subject)).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).issuer_name(issuer)
    builder = builder.not_valid_before(now - _CLOCKS_DIFFER).not_valid_after(ends)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    for extension, is_critical in extensions.items():
        builder = builder.add_extension(extension, is_critical)
    return builder.sign(issuer_key, hashes.SHA256())


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
