"""Execution of one command on one host: its input, both its outputs, its exit code, under a time limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from paramiko.ssh_exception import SSHException

from scripts.errors import ClusterError, ServiceAway
from scripts.one_line import one_line

BY_A_SIGNAL = -1
PIECE = 65536
BROKEN = (SSHException, EOFError, OSError)

# Called with each whole line and whether it came on STDERR.
OnLine = Callable[[bytes, bool], None]


@dataclass(frozen=True)
class Ran:
    """A command that ended by itself; the code is -1 when a signal ended it."""

    code: int
    out: bytes
    err: bytes

    @property
    def reason(self) -> str:
        """The last line that it printed, for an error."""
        lines = (self.err.strip() or self.out.strip()).decode(errors="replace").splitlines()
        ended = "a signal ended it" if self.code == BY_A_SIGNAL else f"exit code {self.code}"
        return one_line(lines[-1]) if lines else ended


def end(channel: Any) -> None:
    """Close a channel or a connection; Paramiko tells the other side, and raises where that is gone."""
    with suppress(*BROKEN):
        channel.close()


def quoted(word: str) -> str:
    r"""Quote a word so that sh, fish and csh read the same: fish knows \' and \\ in single quotes, csh knows !."""
    special = {"'": r"\'", "\\": "\\\\", "!": r"\!"}
    pieces = "".join(f"'{special[char]}'" if char in special else char for char in word)
    return f"'{pieces}'"


def execute(name: str, transport: Any, line: str, stdin: bytes, timeout_s: float, on_line: OnLine | None) -> Ran:
    """Run a line of shell on the host `name` and wait for its end.

    Raises:
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
        raise lost from error
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
