"""Host keys, checked on every hop: only a key that the person's known_hosts has for the host is taken."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from shlex import quote
from typing import Any

import paramiko

from cluster.hosts.known_hosts import KnownKey, fingerprint, known_keys, names_of
from cluster.hosts.ssh_config import Way
from scripts.errors import ClusterError

SECOND_FACTOR = "more than a key is wanted"

_RSA = "ssh-rsa"  # the key's name; the signatures made with it are called rsa-sha2-*
_RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")


class KnownOnly(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Takes a key that is known for this hop. Paramiko asks it about every key, as its own stores are left empty."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self.known = known_keys(way.known_hosts, names_of(way.hostname, way.port, way.known_as))

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        """Raise ClusterError unless the key is known."""
        problem = refusal(self._way, self.known, key.get_name(), key.asbytes())
        if problem:
            raise ClusterError(problem)

    def transport_factory(self) -> Any:
        """What makes Paramiko's transport ask for the kinds of key that are known, as ssh does."""
        return partial(_transport, kinds=[known.kind for known in self.known])


def refusal(way: Way, known: Iterable[KnownKey], kind: str, blob: bytes) -> str:
    """Why a host's key is not taken, "" when it is."""
    known = list(known)
    shown = f"{kind} {fingerprint(blob)}"
    same = [entry for entry in known if entry.blob == blob]
    revoked = next((entry for entry in same if entry.revoked), None)
    if revoked:
        return f"its host key {shown} is marked as revoked in {revoked.place}: somebody else may answer there"
    if same:
        return ""
    if any(not entry.revoked for entry in known):
        forget = f"ssh-keygen -R '{_name(way)}' -f {quote(_file(known[0]))}"
        return (
            f"its host key has changed: it shows {shown}, and {known[0].place} has another; if the host was installed "
            f"anew, {forget} and take the new key, else somebody may stand in between"
        )
    return (
        f"its host key is not known, {shown}: compare it with what is there (ssh-keygen -lf "
        f"/etc/ssh/ssh_host_{_short(kind)}_key.pub), then take it: {_keep(way, kind)}"
    )


def _keep(way: Way, kind: str) -> str:
    """The command that notes a key; ssh-keyscan takes no jumps."""
    if way.jumps or way.command or way.known_as:
        return f"ssh {way.said}, and answer yes"
    port = "" if way.port == 22 else f"-p {way.port} "
    file = quote(str(way.known_hosts[0])) if way.known_hosts else "~/.ssh/known_hosts"
    return f"ssh-keyscan {port}-t {_short(kind)} {way.hostname} >> {file}"


def _short(kind: str) -> str:
    """ssh-ed25519 is ed25519, ecdsa-sha2-nistp256 is ecdsa."""
    return kind.removeprefix("ssh-").partition("-")[0]


def _name(way: Way) -> str:
    return names_of(way.hostname, way.port, way.known_as)[0]


def _file(known: KnownKey) -> str:
    return known.place.rpartition(" line ")[0]


class _Transport(paramiko.Transport):  # type: ignore[misc]
    """Paramiko's, which asks the terminal where a host wants more than a key; nobody may sit there."""

    def auth_interactive_dumb(self, *_: Any, **__: Any) -> list[str]:
        raise paramiko.AuthenticationException(SECOND_FACTOR)


def _transport(sock: Any, kinds: list[str], **options: Any) -> Any:
    transport = _Transport(sock, **options)
    offered = transport.get_security_options()
    offered.key_types = preferred(kinds, offered.key_types)
    return transport


def preferred(kinds: Iterable[str], offered: Iterable[str]) -> tuple[str, ...]:
    """The offered kinds of host key, known ones first."""
    known = {name for kind in kinds for name in (_RSA_SIGNATURES if kind == _RSA else (kind,))}
    return tuple(sorted(offered, key=lambda kind: kind not in known))
