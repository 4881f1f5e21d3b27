"""Where words go: results to STDOUT, everything else to STDERR."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from commands.interruption import Terminated
from scripts.one_line import visible

if TYPE_CHECKING:
    from cluster.settings import Settings


def say(text: str) -> None:
    """A line for a person. Much in it comes from others, who are not to rule the terminal."""
    print(visible(text, kept="\n\t"), file=sys.stderr, flush=True)


def result(text: str) -> None:
    """A line for `$( )` and pipes, or a table."""
    print(visible(text, kept="\n\t"), flush=True)


def results(lines: Iterable[str]) -> None:
    """Lines for pipes, as they come and as they are. What never ends is left with Ctrl-C, which is no failure."""
    try:
        for line in lines:
            print(line, flush=True)
    except KeyboardInterrupt as signalled:
        raise SystemExit(128 + (signal.SIGTERM if isinstance(signalled, Terminated) else signal.SIGINT)) from None


def settings_of(config: Mapping[str, Any], registry: str = "") -> Settings:
    """The checked settings of an Invoke context's configuration; `registry`, where it is given, in place of theirs."""
    from cluster.image_ref import checked_registry
    from cluster.settings import Settings

    return Settings.read({**config, "registry": checked_registry(registry) if registry else config["registry"]})
