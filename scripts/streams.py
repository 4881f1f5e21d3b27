"""The streams of a program, as they may be: closed, full, without a reader, without every letter; with colors."""

from __future__ import annotations

import atexit
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO

BOLD, RED, GREEN, YELLOW = "1", "31", "32", "33"  # SGR of ECMA-48


def colored(text: str, color: str, stream: TextIO) -> str:
    """Return the text as it goes to the stream: in color at a terminal that has colors, where NO_COLOR is not set."""
    return f"\x1b[{color}m{text}\x1b[m" if text and has_colors(stream) else text


def has_colors(stream: TextIO) -> bool:
    """Return whether the stream is a terminal with colors, at which nobody has forbidden them (no-color.org)."""
    return os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR") and stream.isatty()


def prepare() -> None:
    """Let all that is printed be printed, or end the program in order.

    A letter that the locale does not have is written as `\\xe9`. Where STDOUT takes no more, the program ends there:
    without a word where nobody reads on (`| head`), as if by the signal for that, else with one line and exit code 1.
    What STDERR does not take is left out.
    """
    _open_closed()
    sys.stdout = _text(_Stdout, 1, sys.stdout)
    sys.stderr = _text(_Stderr, 2, sys.stderr)


def run(main: Callable[[list[str]], int]) -> NoReturn:
    """Run main(arguments) as a program.

    It ends before Python takes itself apart, which is an abort where a thread that goes on (a host that was cut off)
    is writing just then.
    """
    prepare()
    code: Any = None  # a bug ends it as Python does

    def end() -> None:
        sys.stderr.flush()
        if isinstance(code, int):
            os._exit(code)

    atexit.register(end)  # what is registered later is called earlier
    try:
        try:
            sys.exit(main(sys.argv[1:]))
        finally:
            sys.stdout.flush()
    except SystemExit as ended:
        code = 0 if ended.code is None else ended.code
        raise


def write_bytes(data: bytes) -> None:
    """Write bytes to STDOUT as they are, behind what was printed before."""
    sys.stdout.flush()
    if isinstance(sys.stdout, _Stdout):
        sys.stdout.write_bytes(data)
    else:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()


# These are text streams, as a raw stream in Python is one that a signal interrupts: after a write that was done, which
# Python then does again.
class _Stdout(io.TextIOWrapper):
    _has_failed = False

    def write(self, text: str) -> int:
        """Write a text; once that has failed, nothing more."""
        with self._ending():
            return len(text) if self._has_failed else super().write(text)

    def write_bytes(self, data: bytes) -> None:
        """Write bytes as they are, behind what was written before."""
        self.flush()
        with self._ending():
            if not self._has_failed:
                self.buffer.write(data)
        self.flush()

    def flush(self) -> None:
        """Write what is not yet written."""
        with self._ending():
            if not self._has_failed:
                super().flush()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._has_failed = True
            if isinstance(error, BrokenPipeError):
                raise SystemExit(128 + signal.SIGPIPE) from None
            reason = "it is closed" if error.errno == errno.EBADF else str(error.strerror).lower()
            sys.stderr.write(f"error: STDOUT cannot be written to: {reason}\n")
            raise SystemExit(1) from error


class _Stderr(io.TextIOWrapper):
    def write(self, text: str) -> int:
        """Write as much as goes: that nobody can read it is no reason to leave work half done."""
        word = "error:"
        if text.startswith(word):
            text = colored(word, RED, self) + text.removeprefix(word)
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is not yet written, as much as goes."""
        with suppress(OSError):
            super().flush()


def _open_closed() -> None:
    """Put something in the place of closed streams, or the next file that is opened would be printed to."""
    for stream, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(stream)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)


def _text(kind: type[io.TextIOWrapper], number: int, before: Any) -> io.TextIOWrapper:
    raw = io.FileIO(number, "w", closefd=False)
    encoding = before.encoding if before else "utf-8"
    return kind(io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=number == 2 or raw.isatty())
