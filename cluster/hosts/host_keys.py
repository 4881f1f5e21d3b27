"""Checks of host keys on every hop: a key must be in the person's known_hosts, or certified by a CA there.

ssh-keygen looks in known_hosts, as ssh does: Paramiko reads neither name patterns nor @revoked or @cert-authority, and
stops at a line it cannot decode.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

import paramiko
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
)

from cluster.hosts import ssh_config
from cluster.hosts.ssh_config import Way
from scripts.errors import ClusterError
from scripts.one_line import one_line

REVOKED, AUTHORITY = "@revoked", "@cert-authority"

_FOUND = re.compile(r"# Host .* found: line (\d+)\b.*")
_RSA = "ssh-rsa"  # the key's name; the signatures made with it are called rsa-sha2-*
_RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")
_NAME_OF_SIGNATURE = len(b"rsa-sha2-512") + 4  # what stands before the signature itself, with the signature's length
_CERTIFIED = "-cert-v01@openssh.com"
_COMMAND = "KnownHostsCommand"


@dataclass(frozen=True)
class KnownKey:
    """A key that is known for a host's name; `place` is `FILE line N`, `marker` REVOKED, AUTHORITY or ""."""

    kind: str
    blob: bytes
    place: str
    marker: str = ""


@dataclass(frozen=True)
class Shown:
    """The key that a host shows, with its certificate where it has one."""

    kind: str
    blob: bytes
    certificate_kind: str = ""
    certificate: bytes = b""

    @property
    def words(self) -> str:
        """The key as people know it."""
        return f"{self.kind} {fingerprint(self.blob)}"


class KnownOnly(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Takes a key that is known for this hop. Paramiko asks about every key, as its own stores are left empty."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._names = names_of(way.hostname, way.port, way.known_as)
        self._known = known_keys(contents(way.known_hosts), self._names) + self._from_command("ORDER", None)
        self.transport_factory = partial(_Transport, known=self._known)

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        """Raise ClusterError unless the key is known."""
        certificate = (key.public_blob.key_type, key.public_blob.key_blob) if key.public_blob else ()
        shown = Shown(key.get_name(), key.asbytes(), *certificate)
        problem = refusal(self._way, [*self._known, *self._from_command("HOSTNAME", shown)], shown)
        if problem:
            raise ClusterError(problem)

    def _from_command(self, reason: str, shown: Shown | None) -> list[KnownKey]:
        """Ask the person's KnownHostsCommand, as ssh does: for the kinds first (ORDER), then for the key (HOSTNAME)."""
        if not self._way.known_command:
            return []
        key = (shown.kind, b64encode(shown.blob).decode(), fingerprint(shown.blob)) if shown else ("NONE",) * 3
        values = dict(zip("%HItKf", ("%", self._names[0], reason, *key), strict=True))
        command = [re.sub("%(.)", lambda token: values[token[1]], word) for word in self._way.known_command]
        done = ssh_config.ask(command)
        if done.returncode:
            why = one_line(done.stderr.decode(errors="replace")) or f"exit {done.returncode}"
            raise ClusterError(f"the {_COMMAND} of the ssh configuration failed: {command[0]}: {why}")
        return known_keys({_COMMAND: done.stdout}, self._names)


def refusal(way: Way, known: Sequence[KnownKey], shown: Shown) -> str:
    """Return why a host's key is not taken, "" if it is."""
    certificate = _certificate(shown)
    ca = _authority(certificate)
    revoked = next((key for key in known if key.marker == REVOKED and key.blob in (shown.blob, ca)), None)
    if revoked:
        return f"its host key {shown.words} is marked as revoked in {revoked.place}: somebody else may answer there"
    if way.revoked and _is_revoked(way.revoked, shown):
        return f"its host key {shown.words} is one of RevokedHostKeys, {way.revoked}, or that file cannot be read"
    if any(key.blob == shown.blob and not key.marker for key in known):
        return ""
    if authorities := [key for key in known if key.marker == AUTHORITY]:
        return _uncertified(way, authorities, shown, certificate)
    other = next((key for key in known if not key.marker), None)
    return _changed(way, other, shown) if other else _unknown(way, shown)


def _uncertified(way: Way, authorities: list[KnownKey], shown: Shown, certificate: SSHCertificate | None) -> str:
    """Return why the certificate does not let the host pass, "" if it does."""
    wanted = f"{authorities[0].place} wants a certificate of its CA"
    if not shown.certificate:
        return f"its host key {shown.words} is not known, and {wanted}: HostCertificate in its sshd_config"
    if not certificate:
        return f"its host certificate cannot be read here: take its key as well: {_keep(way, shown.kind)}"
    ca = _authority(certificate)
    if ca not in [key.blob for key in authorities]:
        return f"its host certificate is of another CA, {fingerprint(ca)}, and {wanted}: who signed it?"
    why = _objection(certificate, shown.certificate, names_of(way.hostname, 22, way.known_as)[0])
    return why and f"its host certificate {why}: let the CA sign its key anew (ssh-keygen -h -s CA -n NAME)"


def _changed(way: Way, other: KnownKey, shown: Shown) -> str:
    file = other.place.rpartition(" line ")[0]
    name = names_of(way.hostname, way.port, way.known_as)[0]
    forget = f"correct {_COMMAND}" if file == _COMMAND else f"ssh-keygen -R '{name}' -f {quote(file)}"
    return (
        f"its host key has changed: it shows {shown.words}, and {other.place} has another; if the host was installed "
        f"anew, {forget} and take the new key, else somebody may stand in between"
    )


def _unknown(way: Way, shown: Shown) -> str:
    return (
        f"its host key is not known, {shown.words}: compare it with what is there (ssh-keygen -lf "
        f"/etc/ssh/ssh_host_{_short(shown.kind)}_key.pub), then take it: {_keep(way, shown.kind)}"
    )


def _keep(way: Way, kind: str) -> str:
    """Return the command that notes a key; ssh-keyscan takes no jumps."""
    if not [file for file in way.known_hosts if str(file) != "/dev/null"]:
        return "name a UserKnownHostsFile in the ssh configuration, and note it there"
    if way.jumps or way.command or way.known_as:
        return f"ssh {way.said}, and answer yes"
    port = "" if way.port == 22 else f"-p {way.port} "
    return f"ssh-keyscan {port}-t {_short(kind)} {way.hostname} >> {quote(str(way.known_hosts[0]))}"


def _short(kind: str) -> str:
    """Shorten ssh-ed25519 to ed25519, ecdsa-sha2-nistp256 to ecdsa."""
    return kind.removeprefix("ssh-").partition("-")[0]


def _is_revoked(file: Path, shown: Shown) -> bool:
    """Tell whether a file has the key or its certificate: a list of revocation (KRL), or public keys, one a line."""
    kind, tried = (shown.certificate_kind, shown.certificate) if shown.certificate else (shown.kind, shown.blob)
    line = kind.encode() + b" " + b64encode(tried)
    answer = ssh_config.ask(["ssh-keygen", "-Q", "-f", str(file), "/dev/stdin"], line).returncode
    if answer in (0, 1):
        return answer == 1
    try:
        return b64encode(shown.blob) in file.read_bytes().split()
    except OSError:
        return True


class _Transport(paramiko.Transport):  # type: ignore[misc]
    """A transport that asks for the kinds of key that are known, as ssh does."""

    def __init__(self, sock: Any, known: Sequence[KnownKey], **options: Any) -> None:
        self._known = known
        super().__init__(sock, **options)

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        return preferred(self._known, super().preferred_keys)


def preferred(known: Sequence[KnownKey], offered: Iterable[str]) -> tuple[str, ...]:
    """Sort the offered kinds of host key: certificates first where a CA is known, then kinds that are known."""
    certified = any(key.marker == AUTHORITY for key in known)
    kinds = {name for key in known for name in (_RSA_SIGNATURES if key.kind == _RSA else (key.kind,))}

    def place(kind: str) -> int:
        return (0 if certified else 3) if kind.endswith(_CERTIFIED) else (1 if kind in kinds else 2)

    return tuple(sorted(offered, key=place))


def names_of(hostname: str, port: int, alias: str = "") -> list[str]:
    """List the names of a host in known_hosts, the best first: HostKeyAlias alone, else with its port, else without."""
    if alias:
        return [alias.lower()]
    name = hostname.lower()
    return [name] if port == 22 else [f"[{name}]:{port}", name]


def contents(files: Iterable[Path]) -> dict[str, bytes]:
    """Read the files that are there and can be read."""
    found = {}
    for file in files:
        with suppress(OSError):
            found[str(file)] = file.read_bytes()
    return found


def known_keys(sources: Mapping[str, bytes], names: Iterable[str]) -> list[KnownKey]:
    """Return the keys of the first of `names` that any source has: contents of known_hosts, by what they are called."""
    for name in names:
        found = [key for source, lines in sources.items() for key in _keys(name, source, lines)]
        if found:
            return found
    return []


def fingerprint(blob: bytes) -> str:
    """Return a key as ssh shows it, `SHA256:...`."""
    return "SHA256:" + b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _keys(name: str, source: str, lines: bytes) -> Iterator[KnownKey]:
    shown = ssh_config.ask(["ssh-keygen", "-F", name, "-f", "/dev/stdin"], lines).stdout.decode(errors="replace")
    place = source
    for line in shown.splitlines():
        if found := _FOUND.fullmatch(line):
            place = f"{source} line {found[1]}"
            continue
        *marker, _, kind, key = line.split()[: 4 if line.startswith("@") else 3]
        with suppress(binascii.Error):
            yield KnownKey(kind, b64decode(key, validate=True), place, *marker)


def _certificate(shown: Shown) -> SSHCertificate | None:
    """Read the certificate that a host shows, None if there is none that can be read."""
    try:
        found = load_ssh_public_identity(b" ".join((shown.certificate_kind.encode(), b64encode(shown.certificate))))
    except (ValueError, UnsupportedAlgorithm):
        return None
    return found if isinstance(found, SSHCertificate) else None


def _authority(certificate: SSHCertificate | None) -> bytes:
    """Return the public key of the CA that signed, b"" if there is none."""
    if not certificate:
        return b""
    return b64decode(certificate.signature_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1])


def _objection(certificate: SSHCertificate, blob: bytes, name: str) -> str:
    """Return why a certificate, of a CA that is known, does not vouch for the host `name`; "" if it does."""
    if certificate.type is not SSHCertificateType.HOST or certificate.critical_options:
        return "is none for a host that can be understood here"
    if not _is_signed(certificate, blob):
        return "is not signed in a way that ssh takes"
    if not certificate.valid_after <= time.time() < certificate.valid_before:
        return "has ended, or is not valid yet, or a clock is wrong"
    names = [one.decode(errors="replace") for one in certificate.valid_principals]
    return "" if name in names else f"is for another name: {one_line(', '.join(names))}"


def _is_signed(certificate: SSHCertificate, blob: bytes) -> bool:
    """Check the signature; ssh does not take one with SHA-1."""
    key = certificate.signature_key()
    if isinstance(key, RSAPublicKey) and b"rsa-sha2-" not in blob[-key.key_size // 8 - _NAME_OF_SIGNATURE :]:
        return False
    with suppress(InvalidSignature):
        certificate.verify_cert_signature()
        return True
    return False
