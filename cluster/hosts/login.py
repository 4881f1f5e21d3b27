"""Logins with keys, those of files and of an ssh-agent, in the order of the person's ssh configuration.

Paramiko's own way knows no IdentitiesOnly and no CertificateFile, and waits for an agent for ever.
"""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from paramiko.agent import AgentSSH
from paramiko.pkey import PKey, PublicBlob, UnknownKeyType
from paramiko.ssh_exception import AuthenticationException, BadAuthenticationType, SSHException

from cluster.hosts.ssh_config import Way, fingerprints, public_half

# An agent may ask the person to touch a key or to agree; in a batch run nobody will.
AGENT_TIMEOUT_S = 30
SECOND_FACTOR = "more than a key is wanted"

_CERTIFICATE = "-cert-v01@openssh.com"
_NO_KEY = (OSError, ValueError, TypeError, SSHException, UnknownKeyType)


class NotLetIn(AuthenticationException):  # type: ignore[misc]
    """No key was taken; `offered` are the named ones that could be tried."""

    def __init__(self, offered: Iterable[Path]) -> None:
        super().__init__("no key was taken")
        self.offered = frozenset(offered)


class Login:
    """Paramiko's `auth_strategy` for one hop."""

    def __init__(self, way: Way) -> None:
        self._way = way

    def authenticate(self, transport: Any) -> None:
        """Log in, or raise NotLetIn; another AuthenticationException means that keys do not help."""
        offered: list[Path] = []
        with _agent(self._way.agent) as agent:
            for key in _keys(self._way, agent.get_keys(), offered):
                if _lets_in(transport, self._way.user, key):
                    return
        raise NotLetIn(offered)


@contextmanager
def _agent(path: str) -> Iterator[AgentSSH]:
    """Connect to the agent at a socket; without one there it has no keys."""
    agent = AgentSSH()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(AGENT_TIMEOUT_S)
        with suppress(OSError, SSHException):
            connection.connect(path)
            agent._connect(connection)
        yield agent


def _lets_in(transport: Any, user: str, key: Any) -> bool:
    try:
        wanted = transport.auth_publickey(user, key)
    except BadAuthenticationType:
        raise
    except (SSHException, OSError) as error:  # an OSError is the agent's, where the connection lives
        if transport.is_active() and "timeout" not in str(error).lower():
            return False
        raise
    if wanted and "publickey" not in wanted:
        raise AuthenticationException(SECOND_FACTOR)
    return not wanted


def _keys(way: Way, held: Iterable[Any], offered: list[Path]) -> Iterator[Any]:
    """Yield the keys to try: those that are named, then the others of the agent; each after its certificates."""
    others = [(_fingerprint(key), key) for key in held]
    certificates = [(owner, file) for file in _certificates(way) for owner in fingerprints(str(file))]
    for file, owner, key in _named(way):
        mine = [one for of, one in others if of == owner != ""] or [key] * (key is not None)
        others = [(of, one) for of, one in others if of != owner]
        offered += [file] * bool(mine)
        for one in mine:
            yield from _certified(one, [certificate for of, certificate in certificates if of == owner])
    for owner, key in others if not way.only_named else ():
        yield from _certified(key, [certificate for of, certificate in certificates if of == owner])


def _certified(key: Any, certificates: Iterable[Path]) -> Iterator[Any]:
    """Yield the key with each of its certificates, which Paramiko shows in its place, and then alone."""
    for certificate in certificates:
        key.public_blob = PublicBlob.from_file(str(certificate))
        yield key
    key.public_blob = None
    yield key


def _named(way: Way) -> Iterator[tuple[Path, str, Any]]:
    """Yield each named key: its file, its fingerprint, and the key where Paramiko can use the file without an agent."""
    for file in way.keys:
        try:
            key = PKey.from_path(file)
            yield file, key.fingerprint, key
        except _NO_KEY:
            found = fingerprints(str(file)) or fingerprints(str(public_half(file))) or [""]
            yield file, found[0], None


def _certificates(way: Way) -> list[Path]:
    """Find the certificates that are named and, as ssh does, those beside a named key."""
    beside = [key.with_name(f"{key.name}-cert.pub") for key in way.keys]
    return [file for file in (*way.certificates, *beside) if file.is_file()]


def _fingerprint(key: Any) -> str:
    """Return an agent's key as ssh shows it; Paramiko makes another fingerprint of a certificate."""
    if not key.get_name().endswith(_CERTIFICATE):
        return str(key.fingerprint)
    return "".join(fingerprints("-", f"{key.get_name()} {b64encode(key.blob).decode()}".encode()))
