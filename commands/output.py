"""Where words go: results to STDOUT, everything else to STDERR."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from commands.interruption import Terminated

if TYPE_CHECKING:
    from cluster.settings import Settings


def say(text: str) -> None:
    """A line for a person."""
    print(text, file=sys.stderr, flush=True)


def result(text: str) -> None:
    """A line for `$( )` and pipes."""
    with reading():
        print(text)


def results(lines: Iterable[str]) -> None:
    """Lines for pipes, as they come. What never ends is left with Ctrl-C, which is no failure to tell of."""
    try:
        for line in lines:
            result(line)
    except KeyboardInterrupt as signalled:
        raise SystemExit(128 + (signal.SIGTERM if isinstance(signalled, Terminated) else signal.SIGINT)) from None


@contextmanager
def reading() -> Iterator[None]:
    """Where nobody reads on what is printed (`| head`) the command ends, as if by the signal for that."""
    try:
        try:
            yield
        finally:  # Invoke ends --list and --help by an exception
            sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered would be written at the very end, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None


def settings_of(config: Mapping[str, Any], registry: str = "") -> Settings:
    """The checked settings of an Invoke context's configuration; `registry`, where it is given, in place of theirs."""
    from cluster.image_ref import checked_registry
    from cluster.settings import Settings

    return Settings.read({**config, "registry": checked_registry(registry) if registry else config["registry"]})
