"""A socket in place of a channel of SSH, for HTTP libraries.

Paramiko's channel cuts off an answer that is still being read when it is closed, which http.client relies on not to
happen, and Docker's SDK cannot end a stream (logs, events) that it reads from one.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from paramiko.ssh_exception import SSHException

PIECE = 65536
BROKEN = (SSHException, EOFError, OSError)


def end(channel: Any) -> None:
    """Close a channel or a connection; Paramiko tells the other side, and raises where that is gone."""
    with suppress(*BROKEN):
        channel.close()


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
