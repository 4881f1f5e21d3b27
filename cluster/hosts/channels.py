"""Channels of an SSH connection, each with one command: run to its end under a time limit, or Docker's `dial-stdio`."""

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
from cluster.hosts.shell import BY_A_SIGNAL, Ran
from scripts.errors import ClusterError, ServiceAway

PIECE = 65536
BROKEN = (SSHException, EOFError, OSError)

# sshd allows 10 sessions a connection (MaxSessions), which commands and files need, too.
_KEPT_OPEN = 4
_URL = "http+docker://channel"  # not //ssh, for which the SDK looks for a channel of Paramiko in place of a socket

# Called with each whole line and whether it came on STDERR.
OnLine = Callable[[bytes, bool], None]


def end(channel: Any) -> None:
    """Close a channel or a connection; Paramiko tells the other side, and raises where that is gone."""
    with suppress(*BROKEN):
        channel.close()


def quoted(word: str) -> str:
    r"""Quote a word so that sh, fish and csh read the same: fish knows \' and \\ in single quotes, csh knows !."""
    special = {"'": r"\'", "\\": "\\\\", "!": r"\!"}
    pieces = "".join(f"'{special[char]}'" if char in special else char for char in word)
    return f"'{pieces}'"


class NotBegun(ServiceAway):
    """The connection was broken before a command was sent: it can be sent again on another."""


def execute(name: str, transport: Any, line: str, stdin: bytes, timeout_s: float, on_line: OnLine | None) -> Ran:
    """Run a line of shell on the host `name` and wait for its end.

    Raises:
        NotBegun: the connection had broken before.
        ServiceAway: the host went away in the middle.
        ClusterError: the line did not end in time; it may go on over there.
    """
    lost = ServiceAway(
        f"{name}: the connection broke in the middle: is the host down? what was begun there may be half done; when it "
        "is up again, run this again"
    )
    try:
        channel = transport.open_session(timeout=timeout_s)
    except BROKEN as error:
        raise NotBegun(str(lost)) from error
    out, err = _Output(on_line, is_error=False), _Output(on_line, is_error=True)
    expired = threading.Event()
    limit = threading.Timer(timeout_s, _cut, (channel, expired))
    limit.daemon = True
    limit.start()
    try:
        code = _talk(channel, line, stdin, out, err)
    finally:
        limit.cancel()
        end(channel)
    if expired.is_set():
        raise ClusterError(
            f"{name}: the command did not end within {timeout_s:g} s; it may still run there: look, or give it longer "
            "(--timeout)"
        )
    if code == BY_A_SIGNAL and not (channel.eof_received and transport.is_active()):
        raise lost
    return Ran(code, out.finish(), err.finish())


def _talk(channel: Any, line: str, stdin: bytes, out: _Output, err: _Output) -> int:
    """Serve all three streams at once, so that none can block another; a channel that is closed ends them all."""
    try:
        channel.exec_command(line)
    except BROKEN:
        return BY_A_SIGNAL
    threading.Thread(target=_feed, args=(channel, stdin), daemon=True).start()
    draining = threading.Thread(target=err.drain, args=(channel.recv_stderr,), daemon=True)
    draining.start()
    out.drain(channel.recv)
    draining.join()
    return int(channel.recv_exit_status())


def _cut(channel: Any, expired: threading.Event) -> None:
    expired.set()
    end(channel)


def _feed(channel: Any, data: bytes) -> None:
    with suppress(OSError, EOFError):  # it does not read all of it, or has ended
        channel.sendall(data)
        channel.shutdown_write()


class _Output:
    """The output on one stream; whole lines are shown as they come."""

    def __init__(self, on_line: OnLine | None, *, is_error: bool) -> None:
        self._all, self._begun = bytearray(), b""
        self._on_line, self._is_error = on_line, is_error

    def drain(self, receive: Callable[[int], bytes]) -> None:
        while data := receive(PIECE):
            self._all += data
            if self._on_line:
                *lines, self._begun = (self._begun + data).split(b"\n")
                for line in lines:
                    self._on_line(line, self._is_error)

    def finish(self) -> bytes:
        if self._on_line and self._begun:
            self._on_line(self._begun, self._is_error)
        return bytes(self._all)


def engine_client(transport: Any, docker_command: str, api_version: str, open_timeout_s: float) -> docker.DockerClient:
    """Return the SDK's client, which speaks through channels of this SSH connection and leaves it open.

    The SDK gets sockets in place of channels: Paramiko's channel, when it is closed, cuts off an answer that is still
    being read, which http.client relies on not to happen, and the SDK cannot end a stream (logs, events) that it reads
    from one.
    """

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
