"""The streams of a program, as they may be: closed, full, without a reader, without every letter."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn


def prepare() -> None:
    """Let all that is printed be printed, or end the program in order.

    A letter that the locale does not have is written as `\\xe9`. Where STDOUT takes no more, the program ends there:
    without a word where nobody reads on (`| head`), as if by the signal for that, else with one line and exit code 1.
    What STDERR does not take is left out.
    """
    _open_closed()
    sys.stdout = _text(_Stdout(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Stderr(2, "w", closefd=False), sys.stderr)


def run(main: Callable[[list[str]], int]) -> NoReturn:
    """Run main(arguments) as a program."""
    prepare()
    try:
        sys.exit(main(sys.argv[1:]))
    finally:
        sys.stdout.flush()


class _Stdout(io.FileIO):
    _has_failed = False

    def write(self, data: Any) -> int:
        """Write as much as goes; once it has failed, nothing more."""
        try:
            return len(data) if self._has_failed else super().write(data)
        except OSError as error:
            self._has_failed = True
            if isinstance(error, BrokenPipeError):
                raise SystemExit(128 + signal.SIGPIPE) from None
            reason = "it is closed" if error.errno == errno.EBADF else str(error.strerror).lower()
            sys.stderr.write(f"error: STDOUT cannot be written to: {reason}\n")
            raise SystemExit(1) from error


class _Stderr(io.FileIO):
    def write(self, data: Any) -> int:
        """Write as much as goes: that nobody can read it is no reason to leave work half done."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _open_closed() -> None:
    """Put something in the place of closed streams, or the next file that is opened would be printed to."""
    for stream, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(stream)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)


def _text(raw: io.FileIO, before: Any) -> io.TextIOWrapper:
    encoding = before.encoding if before else "utf-8"
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=raw.isatty() or raw.fileno() == 2
    )
