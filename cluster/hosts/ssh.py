"""Connections to hosts, by the person's own ssh configuration, keys, jump hosts and known hosts.

Nothing is ever asked for: neither a password nor a passphrase nor whether a key is right.
"""

from __future__ import annotations

import atexit
import errno
import logging
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import fabric
from paramiko.config import SSHConfig
from paramiko.ssh_exception import (
    AuthenticationException,
    BadAuthenticationType,
    ChannelException,
    NoValidConnectionsError,
    SSHException,
)

from cluster.hosts import ssh_config
from cluster.hosts.channels import BROKEN, NotBegun, end
from cluster.hosts.host import Host
from cluster.hosts.host_keys import KnownOnly
from cluster.hosts.login import SECOND_FACTOR, Login, NotLetIn
from cluster.hosts.remote import Remote
from cluster.hosts.shell import COMMAND_TIMEOUT_S, Ran, Shell
from cluster.hosts.ssh_config import Way
from cluster.settings import Settings
from scripts.errors import ClusterError, ServiceAway
from scripts.hostport import HostPort
from scripts.one_line import one_line

# It logs as errors what is raised as well, and Python prints what nobody else takes.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)

# sshd drops some of more than ten that log in at once (MaxStartups 10:30:100), and counts them a moment longer. One
# jump host stands before many hosts.
_LOGINS_AT_ONCE = 5
_PROXY_END_S = 5
_LOGINS: dict[tuple[str, int], threading.Semaphore] = {}

_FORWARDING_IS_OFF = 1  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, RFC 4254 5.1
# A key in OpenSSH's own format, and how it begins (in base64) where it is not encrypted; PEM says ENCRYPTED.
_OPENSSH, _NO_CIPHER = b"BEGIN OPENSSH PRIVATE KEY", b"b3BlbnNzaC1rZXktdjEAAAAABG5vbmU"


@contextmanager
def connected(settings: Settings, host: Host) -> Iterator[Remote]:
    """Connect to a host; the connection is closed at the end.

    Raises:
        ServiceAway: it, or a jump host, cannot be reached in time.
        ClusterError: it does not let the user in, or shows a key that is not known.
    """
    way = ssh_config.way_to(settings.agents.ssh_config, host)
    timeout_s = settings.agents.timeout_s
    with ExitStack() as opened:
        before: Any = None
        for hop in (*way.jumps, way):
            with connect_errors(host, hop, way, timeout_s):
                before = _open(opened, hop, before, timeout_s)
        ended = threading.Event()
        opened.callback(ended.set)
        threading.Thread(target=_beat, args=(before.transport, timeout_s, ended), daemon=True).start()
        remote = Remote(str(host), way.hostname, way.user, before.transport, timeout_s)
        opened.callback(remote.close)
        yield remote


class _Kept:
    """The connections that this process keeps, by their hosts and the ssh configurations that say how to get there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[Host, str], tuple[Remote, ExitStack]] = {}
        self._of_parent: list[Any] = []

    def get(self, settings: Settings, host: Host) -> Remote:
        """Return the connection to a host, a new one where there is none that works."""
        key = (host, settings.agents.ssh_config)
        with self._lock:
            remote, opened = self._open.get(key, (None, None))
            if remote and remote.is_connected:
                return remote
            if opened:
                del self._open[key]
                opened.close()
            with ExitStack() as opening:
                remote = opening.enter_context(connected(settings, host))
                self._open[key] = (remote, opening.pop_all())
            return remote

    def close(self) -> None:
        """Close all, also while a thread waits for another host."""
        while self._open:
            _, (_, opened) = self._open.popitem()
            opened.close()

    def forget(self) -> None:
        """Leave the connections to the process that this one was forked from: a word of ours would break them."""
        self._of_parent.append(self._open)  # else they would be closed when nobody has them any longer
        for remote, _ in self._open.values():
            remote.disown()
        self._lock, self._open = threading.Lock(), {}


_KEPT = _Kept()
atexit.register(_KEPT.close)
os.register_at_fork(after_in_child=_KEPT.forget)


def kept(settings: Settings, host: Host) -> Remote:
    """Return the one connection to a host that this process keeps until its end; ask anew for each piece of work.

    It is made at the first call, and again when it has broken.

    Raises:
        ServiceAway: it, or a jump host, cannot be reached in time.
        ClusterError: it does not let the user in, or shows a key that is not known.
    """
    return _KEPT.get(settings, host)


class KeptHost(Shell):
    """A host over the one connection that is kept to it, opened when it is first needed and whenever it has broken."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self.name, self._settings, self._host = str(host), settings, host

    def run(
        self, command: str, *, input: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S  # noqa: A002 (as subprocess)
    ) -> Ran:  # fmt: skip
        """Run a command and return how it ended, whatever its exit code; raises as `kept`."""
        try:
            return kept(self._settings, self._host).run(command, input=input, timeout_s=timeout_s)
        except NotBegun:
            # It broke since it was looked at: hours may lie between two commands.
            return kept(self._settings, self._host).run(command, input=input, timeout_s=timeout_s)

    def reach(self, address: HostPort) -> HostPort:
        """Return the address of a port of this machine that leads to `address`; raises as `kept`."""
        return kept(self._settings, self._host).reach(address)


def _open(opened: ExitStack, hop: Way, before: Any, timeout_s: float) -> Any:
    """Open a hop through the one before. Fabric itself checks no key and has no time limit."""
    keys = KnownOnly(hop)
    limits = dict.fromkeys(("timeout", "banner_timeout", "auth_timeout", "channel_timeout"), timeout_s)
    through = {"sock": opened.enter_context(_proxied(hop.command))} if hop.command else {}
    connection = fabric.Connection(
        hop.hostname, user=hop.user, port=hop.port, gateway=before or False,
        config=fabric.Config(ssh_config=SSHConfig(), lazy=True),  # all of it is in `hop`
        connect_kwargs=limits | through | {"auth_strategy": Login(hop), "transport_factory": keys.transport_factory},
    )  # fmt: skip
    connection.client.set_missing_host_key_policy(keys)
    opened.callback(end, connection.client)  # Fabric's own close does nothing to one that was half open
    with _LOGINS.setdefault((hop.hostname, hop.port), threading.Semaphore(_LOGINS_AT_ONCE)):
        connection.open()
    return connection


@contextmanager
def _proxied(command: str) -> Iterator[socket.socket]:
    """Run a ProxyCommand, as ssh does, behind a socket. Paramiko's own has no shell, and spins when it ends."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
        )
    try:
        with ours:
            yield ours
    finally:
        process.terminate()
        try:
            process.wait(_PROXY_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _beat(transport: Any, silence_s: float, ended: threading.Event) -> None:
    """Ask for a sign of life now and then, and close a connection that gives none for `silence_s`.

    Paramiko's keepalive waits for no answer, and TCP alone takes a quarter of an hour to notice that a host is gone.
    """
    while transport.is_active() and not ended.wait(silence_s / 4):
        limit = threading.Timer(silence_s, end, (transport,))
        limit.daemon = True
        limit.start()
        with suppress(*BROKEN):  # it has just ended
            transport.global_request("keepalive@openssh.com", wait=True)
        limit.cancel()


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
