"""Errors of a connection, as one line that names the host, the cause and the next step."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paramiko.ssh_exception import (
    AuthenticationException,
    BadAuthenticationType,
    ChannelException,
    NoValidConnectionsError,
    SSHException,
)

from cluster.hosts.host import Host
from cluster.hosts.login import SECOND_FACTOR, NotLetIn
from cluster.hosts.ssh_config import Way
from scripts.errors import ClusterError, ServiceAway
from scripts.one_line import one_line

_FORWARDING_IS_OFF = 1  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, RFC 4254 5.1
# A key in OpenSSH's own format, and how it begins (in base64) where it is not encrypted; PEM says ENCRYPTED.
_OPENSSH, _NO_CIPHER = b"BEGIN OPENSSH PRIVATE KEY", b"b3BlbnNzaC1rZXktdjEAAAAABG5vbmU"


@contextmanager
def connect_errors(host: Host, hop: Way, way: Way, timeout_s: float) -> Iterator[None]:
    """Turn what Fabric, Paramiko and sockets raise while `hop`, on the way to `host`, is reached into one line."""
    who = f"{host}: " if hop is way else f"{host}: the jump host {hop.said}: "
    try:
        yield
    except ClusterError as error:
        raise type(error)(who + str(error)) from error
    except AuthenticationException as error:
        raise ClusterError(who + _not_let_in(hop, error, timeout_s)) from error
    except ChannelException as error:
        raise ServiceAway(who + _not_forwarded(hop, way, error)) from error
    except (SSHException, OSError, EOFError) as error:
        raise ServiceAway(who + _away(hop, error, timeout_s)) from error


def _away(hop: Way, error: BaseException, timeout_s: float) -> str:
    place = "the ProxyCommand" if hop.command else f"{hop.hostname} port {hop.port}"
    if isinstance(error, socket.gaierror):
        return f"no address is known for the name {hop.hostname}: is it right, and in DNS, /etc/hosts or ssh's config?"
    if isinstance(error, NoValidConnectionsError):  # of all addresses; a refusal says most, as there is a machine
        if errno.ECONNREFUSED not in {inner.errno for inner in error.errors.values()}:
            return f"no way to {place}: is it up, and the address right?"
        return f"connection refused at {place}: start sshd there (systemctl start ssh), or give its port as NAME:PORT"
    if _is_silence(error):
        return (
            f"{place} did not answer within {timeout_s:g} s: is it up and the port right, does a firewall drop this? "
            "(agents.timeout_s in invoke.yaml)"
        )
    if isinstance(error, ConnectionError | EOFError) or "banner" in str(error) or "Incompatible ssh" in str(error):
        return f"{place} does not speak SSH to us: is that sshd's port (NAME:PORT)? or it turns us away: see its log"
    if isinstance(error, OSError) and error.strerror:
        return f"{place}: {error.strerror}: is the address right and the network up?"
    return f"{place}: {one_line(error)}: try `ssh -v {hop.said}`"


def _is_silence(error: BaseException) -> bool:
    words = str(error).lower()
    return any(isinstance(one, TimeoutError) for one in (error, error.__cause__, error.__context__)) or (
        "timeout" in words or words.endswith("timed out") or "no existing session" in words
    )


def _not_forwarded(hop: Way, way: Way, error: ChannelException) -> str:
    before = way.jumps[(*way.jumps, way).index(hop) - 1].said if way.jumps else "ssh"
    if error.code == _FORWARDING_IS_OFF:
        return f"the jump host {before} forwards nothing: AllowTcpForwarding yes in its sshd_config"
    return f"the jump host {before} cannot reach {hop.hostname} port {hop.port}: is it up, and known to that host?"


def _not_let_in(hop: Way, error: BaseException, timeout_s: float) -> str:
    if _is_silence(error):
        return f"it did not decide within {timeout_s:g} s whether {hop.user} may log in: see sshd's log there"
    if SECOND_FACTOR in str(error):
        return f"the key is not enough: it wants a password or a code of {hop.user}, too; nobody is asked for that here"
    if isinstance(error, BadAuthenticationType) and "publickey" not in error.allowed_types:
        return f"it takes no keys, only {', '.join(error.allowed_types)}: PubkeyAuthentication yes in its sshd_config"
    offered = error.offered if isinstance(error, NotLetIn) else frozenset(hop.keys)
    unused = next((key for key in hop.keys if key not in offered), None)
    if unused and not offered:
        return _useless(hop, unused)
    of_agent = ["those of the ssh-agent"] * (bool(hop.agent) and not hop.only_named)
    tried = " and ".join([*(str(key) for key in hop.keys if key in offered), *of_agent])
    said = (
        f"{hop.user} is not let in with {tried or 'no key (the IdentityFile is not there)'}: "
        f"ssh-copy-id {hop.said}, or name another User or IdentityFile"
    )
    return f"{said}; {_useless(hop, unused)}" if unused else said


def _useless(hop: Way, key: Path) -> str:
    """Say why a key could not even be tried: only an agent could have used it."""
    start = "" if hop.agent else "eval $(ssh-agent); "
    if needs_passphrase(key):
        return f"the key {key} needs a passphrase, and no ssh-agent has it: {start}ssh-add {key}"
    what = "is of a kind that only ssh-agent can use here" if key.is_file() else "has only its public half here"
    return f"the key {key} {what}, and none has it: {start}ssh-add, with its private half"


def needs_passphrase(key: Path) -> bool:
    """Tell whether a private key is encrypted."""
    try:
        content = key.read_bytes()
    except OSError:
        return False
    return b"ENCRYPTED" in content or (_OPENSSH in content and _NO_CIPHER not in content)
