"""A channel of SSH that HTTP libraries take for a socket.

Paramiko's own is one nearly: but its `close` cuts off an answer that is still being read, which http.client relies on
not to happen, and Docker's SDK cannot end a stream (logs, events) that it reads from one.
"""

from __future__ import annotations

import errno
import io
from contextlib import suppress
from typing import Any

from paramiko.ssh_exception import SSHException


def end(channel: Any) -> None:
    """Close a channel or a connection; Paramiko tells the other side, and raises where that is gone."""
    with suppress(SSHException, EOFError, OSError):
        channel.close()


class ChannelSocket:
    """As much of a socket as http.client, urllib3 and Docker's SDK use."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self._readers = 0
        self._is_closed = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come."""
        return bool(self.channel.closed or self.channel.eof_received)

    def settimeout(self, timeout_s: float | None) -> None:
        """The limit for each read and write."""
        self.channel.settimeout(timeout_s)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of it; as with any socket it is an OSError when the other side is gone."""
        try:
            self.channel.sendall(bytes(data))
        except (SSHException, EOFError) as error:
            raise ConnectionAbortedError(errno.ECONNABORTED, "the SSH connection to the host broke") from error

    def makefile(self, mode: str = "rb", buffering: int | None = None) -> io.BufferedReader:
        """A file to read from; the channel stays open until it is closed, too."""
        self._readers += 1
        return _Reader(self)

    def shutdown(self, how: int) -> None:
        """Wake whoever reads: there is no more."""
        end(self.channel)

    def close(self) -> None:
        """End it when all files made from it are closed."""
        self._is_closed = True
        self._end_when_unused()

    def reader_closed(self) -> None:
        """One of the files was closed."""
        self._readers -= 1
        self._end_when_unused()

    def _end_when_unused(self) -> None:
        if self._is_closed and self._readers <= 0:
            end(self.channel)


class _Raw(io.RawIOBase):
    """Where Docker's SDK looks for the socket, as `sock`."""

    def __init__(self, sock: ChannelSocket) -> None:
        super().__init__()
        self.sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data: bytes = self.sock.channel.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self.sock.reader_closed()


class _Reader(io.BufferedReader):
    """Where Docker's SDK looks for what it can poll, as `channel`."""

    def __init__(self, sock: ChannelSocket) -> None:
        super().__init__(_Raw(sock))
        self.channel = sock.channel
