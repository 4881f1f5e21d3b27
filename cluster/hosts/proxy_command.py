"""A ProxyCommand as a socket. Paramiko's own runs it without a shell, and spins when the command ends."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_END_S = 5


@contextmanager
def proxied(command: str) -> Iterator[socket.socket]:
    """A socket whose other end is the command's STDIN and STDOUT, as ssh runs it; ended with it."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
            )
        try:
            yield ours
        finally:
            ours.close()
            process.terminate()
            _reap(process)


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
