"""The Docker Engine of a host through its SSH connection: `docker system dial-stdio`, as the docker command does."""

from __future__ import annotations

import queue
from typing import Any

import docker
import urllib3
from docker.transport.basehttpadapter import BaseHTTPAdapter
from paramiko.ssh_exception import SSHException
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from cluster.engine import TIMEOUT_S
from cluster.hosts.channel_socket import ChannelSocket

# sshd allows 10 sessions a connection (MaxSessions), which commands and files need, too.
_KEPT_OPEN = 4
_URL = "http+docker://ssh"


def client(transport: Any, docker_command: str, api_version: str, open_timeout_s: float) -> docker.DockerClient:
    """Return the SDK's client, which speaks through channels of this SSH connection and leaves it open."""
    made = docker.DockerClient(base_url="tcp://localhost:1", version=api_version, timeout=TIMEOUT_S)
    made.api.mount(_URL, _Adapter(transport, f"{docker_command} system dial-stdio", open_timeout_s))
    made.api.base_url = _URL
    made.api.trust_env = False  # a proxy of this machine has no meaning there
    return made


class _Adapter(BaseHTTPAdapter):  # type: ignore[misc]
    """requests' way to the one pool of connections."""

    def __init__(self, transport: Any, command: str, open_timeout_s: float) -> None:
        self._pool = _Pool(transport, command, open_timeout_s)
        super().__init__()

    def get_connection(self, url: Any, proxies: Any = None) -> _Pool:
        return self._pool

    def close(self) -> None:
        super().close()
        self._pool.close()


class _Pool(HTTPConnectionPool):
    scheme = "ssh"

    def __init__(self, transport: Any, command: str, open_timeout_s: float) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S, maxsize=_KEPT_OPEN)
        self._opening = (transport, command, open_timeout_s)

    def _new_conn(self) -> Any:
        return _Connection(*self._opening)

    def _get_conn(self, timeout: float | None = None) -> Any:
        """A kept connection that still stands; urllib3 would look with select, which costs a pipe a channel."""
        if self.pool is None:
            raise urllib3.exceptions.ClosedPoolError(self, "the pool is closed")
        try:
            kept = self.pool.get(block=False)
        except queue.Empty:
            return self._new_conn()
        if kept and kept.sock and kept.sock.is_over:
            kept.close()
        return kept or self._new_conn()


class _Connection(HTTPConnection):
    """HTTP over a channel whose other end is the engine's socket."""

    def __init__(self, transport: Any, command: str, open_timeout_s: float) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._opening = (transport, command, open_timeout_s)

    def connect(self) -> None:
        transport, command, open_timeout_s = self._opening
        try:
            channel = transport.open_session(timeout=open_timeout_s)
            channel.settimeout(self.timeout)
            channel.exec_command(command)
        except (SSHException, EOFError) as error:
            raise ConnectionError("the SSH connection to the host broke") from error
        self.sock = ChannelSocket(channel)
