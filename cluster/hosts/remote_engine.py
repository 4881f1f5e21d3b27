"""The Docker Engine of a host through its SSH connection: `docker system dial-stdio`, as the docker command does.

The SDK gets sockets in place of channels: Paramiko's channel, when it is closed, cuts off an answer that is still being
read, which http.client relies on not to happen, and the SDK cannot end a stream (logs, events) that it reads from one.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import docker
from docker.transport.basehttpadapter import BaseHTTPAdapter
from paramiko.ssh_exception import SSHException
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from cluster.engine import TIMEOUT_S
from cluster.hosts.execution import BROKEN, PIECE, end

# sshd allows 10 sessions a connection (MaxSessions), which commands and files need, too.
_KEPT_OPEN = 4
_URL = "http+docker://channel"  # not //ssh, for which the SDK looks for a channel of Paramiko in place of a socket


def client(transport: Any, docker_command: str, api_version: str, open_timeout_s: float) -> docker.DockerClient:
    """Return the SDK's client, which speaks through channels of this SSH connection and leaves it open."""

    class Connection(HTTPConnection):
        def connect(self) -> None:
            try:
                channel = transport.open_session(timeout=open_timeout_s)
                channel.exec_command(f"{docker_command} system dial-stdio")
            except (SSHException, EOFError) as error:
                raise ConnectionError("the SSH connection to the host broke") from error
            self.sock = socket_of(channel)
            self.sock.settimeout(self.timeout)

    class Pool(HTTPConnectionPool):
        scheme, ConnectionCls = "ssh", Connection

    made = docker.DockerClient(base_url="tcp://localhost:1", version=api_version, timeout=TIMEOUT_S)
    made.api.mount(_URL, _Adapter(Pool("localhost", timeout=TIMEOUT_S, maxsize=_KEPT_OPEN)))
    made.api.base_url = _URL
    made.api.trust_env = False  # a proxy of this machine has no meaning there
    return made


class _Adapter(BaseHTTPAdapter):  # type: ignore[misc]
    """requests' way to the one pool of connections."""

    def __init__(self, pool: HTTPConnectionPool) -> None:
        self._pool = pool
        super().__init__()

    def get_connection(self, url: Any, proxies: Any = None) -> HTTPConnectionPool:
        return self._pool

    def close(self) -> None:
        super().close()
        self._pool.close()


def socket_of(channel: Any) -> socket.socket:
    """Return a socket whose other end is the channel; each ends with the other."""
    ours, theirs = socket.socketpair()
    threading.Thread(target=_receive, args=(channel, theirs), daemon=True).start()
    return ours


def _receive(channel: Any, theirs: socket.socket) -> None:
    with theirs:
        sending = threading.Thread(target=_carry, args=(theirs.recv, channel.sendall, channel), daemon=True)
        sending.start()
        _carry(channel.recv, theirs.sendall, channel)
        with suppress(OSError):
            theirs.shutdown(socket.SHUT_RDWR)  # wakes the thread that sends
        sending.join()


def _carry(receive: Callable[[int], bytes], send: Callable[[bytes], object], channel: Any) -> None:
    with suppress(*BROKEN):
        while data := receive(PIECE):
            send(data)
    end(channel)
