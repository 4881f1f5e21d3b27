"""Connections to hosts, by the person's own ssh configuration, keys, jump hosts and known hosts.

Nothing is ever asked for: neither a password nor a passphrase nor whether a key is right.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import fabric
from paramiko.config import SSHConfig

from cluster.hosts import ssh_config
from cluster.hosts.channel_socket import BROKEN, end
from cluster.hosts.connect_errors import connect_errors
from cluster.hosts.host import Host
from cluster.hosts.host_keys import KnownOnly
from cluster.hosts.login import Login
from cluster.hosts.remote import Remote
from cluster.hosts.ssh_config import Way
from cluster.settings import Settings

# It logs as errors what is raised as well, and Python prints what nobody else takes.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)


# sshd drops some of more than ten that log in at once (MaxStartups 10:30:100), and counts them a moment longer. One
# jump host stands before many hosts.
_LOGINS_AT_ONCE = 5
_PROXY_END_S = 5
_LOGINS: dict[tuple[str, int], threading.Semaphore] = {}


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
