"""The two outputs: results go to STDOUT, everything else to STDERR."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from scripts.errors import ClusterError
from scripts.one_line import visible
from scripts.streams import write_bytes

if TYPE_CHECKING:
    from cluster.settings import Settings


def say(text: str) -> None:
    """Print a line for a person. Much in it comes from others, who are not to rule the terminal."""
    print(visible(text, kept="\n\t"), file=sys.stderr, flush=True)


def result(text: str) -> None:
    """Print a line for `$( )` and pipes, or a table."""
    print(visible(text, kept="\n\t"), flush=True)


def width() -> int | None:
    """Return how wide a table may be: as the terminal, in a pipe as it comes."""
    return _terminal().columns if sys.stdout.isatty() else None


def _terminal() -> os.terminal_size:
    try:
        return os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return os.terminal_size((80, 24))


def redrawn(texts: Iterable[str]) -> None:
    """Print texts each in the place of the one before, until Ctrl-C; in a pipe one below the other."""
    is_terminal, above = sys.stdout.isatty(), 0

    def placed() -> Iterator[str]:
        nonlocal above
        for text in texts:
            lines = text.splitlines()[: _terminal().lines - 1] if is_terminal else [text]
            up = f"\x1b[{above}F" if above else ""
            above = len(lines) if is_terminal else 0
            yield up + "\n".join(f"{line}\x1b[K" for line in lines) + "\x1b[J" if is_terminal else f"{text}\n"

    results(placed())


def result_bytes(data: bytes) -> None:
    """Write bytes for `$( )` and pipes as they are; on a terminal what follows begins a line."""
    write_bytes(data)
    if data and not data.endswith(b"\n") and sys.stdout.isatty():
        print(file=sys.stderr)


def results(lines: Iterable[str]) -> None:
    """Print lines for pipes, as they come and as they are. Those that never end are left with Ctrl-C, silently."""
    try:
        for line in lines:
            print(line, flush=True)
    except KeyboardInterrupt as interrupt:  # its argument is the signal, where a task has caught it
        raise SystemExit(128 + (interrupt.args or (signal.SIGINT,))[0]) from None


def confirm(cost: str, *, yes: bool) -> None:
    """Ask a person whether to go on, although it costs something, such as "3 messages of 'myqueue' are deleted".

    With `yes` nobody is asked. Ctrl-C and the end of the input are a no.

    Raises:
        ClusterError: the answer is no, or there is no terminal to ask at.
    """
    if yes:
        return
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):  # it may be closed
        raise ClusterError(f"{cost}. Nothing is done yet: there is no terminal to ask at, so give --yes to go on")
    try:
        print(visible(f"{cost}. Go on? [y/N] ", kept="\n\t"), end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        answer = ""
    if not answer:  # the cursor still stands behind the question
        say("")
    if answer.strip().lower() not in ("y", "yes"):
        raise ClusterError("nothing was done")


def bold(text: str) -> str:
    """Return a heading."""
    return text


def settings_of(config: Mapping[str, Any], registry: str = "") -> Settings:
    """Return the checked settings of an Invoke context's configuration; a `registry` counts more than theirs."""
    from cluster.image_ref import checked_registry
    from cluster.settings import Settings

    return Settings.read({**config, "registry": checked_registry(registry) if registry else config["registry"]})
