"""One command on one host: its input, both its outputs, its exit code, under a time limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from paramiko.ssh_exception import SSHException

from cluster.hosts.channel_socket import end
from scripts.one_line import one_line

_PIECE = 65536
BY_A_SIGNAL = -1

# Told each whole line and whether it came on STDERR.
Show = Callable[[bytes, bool], None]


@dataclass(frozen=True)
class Ran:
    """A command that ended by itself; the code is -1 when a signal ended it."""

    code: int
    out: bytes
    err: bytes

    @property
    def reason(self) -> str:
        """The last thing it said, for a line of ours."""
        lines = (self.err.strip() or self.out.strip()).decode(errors="replace").splitlines()
        ended = "a signal ended it" if self.code == BY_A_SIGNAL else f"exit code {self.code}"
        return one_line(lines[-1]) if lines else ended


class Lost(Exception):
    """The connection ended before the command did."""


def quoted(word: str) -> str:
    r"""A word quoted so that sh, fish and csh read the same: fish knows \' and \\ in single quotes, csh knows !."""
    special = {"'": r"\'", "\\": "\\\\", "!": r"\!"}
    pieces = "".join(f"'{special[char]}'" if char in special else char for char in word)
    return f"'{pieces}'"


def execute(transport: Any, line: str, stdin: bytes, timeout_s: float, show: Show | None) -> Ran:
    """Run a line of shell and wait for its end.

    Raises:
        TimeoutError: it did not end in time; it may go on over there.
        Lost: the host went away in the middle.
    """
    try:
        channel = transport.open_session(timeout=timeout_s)
    except (SSHException, EOFError, OSError) as error:
        raise Lost from error
    out, err = _Gathered(show, False), _Gathered(show, True)
    expired = threading.Event()
    limit = threading.Timer(timeout_s, _end, (channel, expired))
    limit.daemon = True
    limit.start()
    try:
        code = _talk(channel, line, stdin, out, err)
    finally:
        limit.cancel()
        end(channel)
    if expired.is_set():
        raise TimeoutError
    if code == BY_A_SIGNAL and not (channel.eof_received and transport.is_active()):
        raise Lost
    return Ran(code, out.finish(), err.finish())


def _talk(channel: Any, line: str, stdin: bytes, out: _Gathered, err: _Gathered) -> int:
    """All three streams at once, so that none can block another; a channel that is closed ends them all."""
    try:
        channel.exec_command(line)
    except (SSHException, EOFError, OSError):
        return BY_A_SIGNAL
    others = [
        threading.Thread(target=_feed, args=(channel, stdin), daemon=True),
        threading.Thread(target=_drain, args=(partial(channel.recv_stderr, _PIECE), err), daemon=True),
    ]
    for thread in others:
        thread.start()
    _drain(partial(channel.recv, _PIECE), out)
    others[1].join()
    return int(channel.recv_exit_status())


def _end(channel: Any, expired: threading.Event) -> None:
    expired.set()
    end(channel)


def _feed(channel: Any, data: bytes) -> None:
    try:
        channel.sendall(data)
        channel.shutdown_write()
    except (OSError, EOFError):
        return  # it does not read all of it, or has ended


def _drain(receive: Callable[[], bytes], into: _Gathered) -> None:
    while data := receive():
        into.feed(data)


class _Gathered:
    """All of one stream; whole lines are shown as they come."""

    def __init__(self, show: Show | None, is_error: bool) -> None:
        self._all = bytearray()
        self._shown = 0
        self._show, self._is_error = show, is_error

    def feed(self, data: bytes) -> None:
        self._all += data
        if self._show:
            self._show_to(self._all.rfind(b"\n") + 1)

    def finish(self) -> bytes:
        if self._show:
            self._show_to(len(self._all))
        return bytes(self._all)

    def _show_to(self, end: int) -> None:
        if self._show and end > self._shown:
            for line in bytes(self._all[self._shown : end]).removesuffix(b"\n").split(b"\n"):
                self._show(line, self._is_error)
            self._shown = end
