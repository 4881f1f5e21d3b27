"""The Docker Engine of a host through its SSH connection: `docker system dial-stdio`, as the docker command does."""

from __future__ import annotations

from typing import Any

import docker
from docker.transport.basehttpadapter import BaseHTTPAdapter
from paramiko.ssh_exception import SSHException
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from cluster.engine import TIMEOUT_S
from cluster.hosts.channel_socket import socket_of

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
