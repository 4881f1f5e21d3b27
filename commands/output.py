"""The two outputs: results go to STDOUT, everything else to STDERR."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from scripts.one_line import visible

if TYPE_CHECKING:
    from cluster.settings import Settings


def say(text: str) -> None:
    """Print a line for a person. Much in it comes from others, who are not to rule the terminal."""
    print(visible(text, kept="\n\t"), file=sys.stderr, flush=True)


def result(text: str) -> None:
    """Print a line for `$( )` and pipes, or a table."""
    print(visible(text, kept="\n\t"), flush=True)


def results(lines: Iterable[str]) -> None:
    """Print lines for pipes, as they come and as they are. Those that never end are left with Ctrl-C, silently."""
    try:
        for line in lines:
            print(line, flush=True)
    except KeyboardInterrupt as interrupt:  # its argument is the signal, where a task has caught it
        raise SystemExit(128 + (interrupt.args or (signal.SIGINT,))[0]) from None


def settings_of(config: Mapping[str, Any], registry: str = "") -> Settings:
    """Return the checked settings of an Invoke context's configuration; a `registry` counts more than theirs."""
    from cluster.image_ref import checked_registry
    from cluster.settings import Settings

    return Settings.read({**config, "registry": checked_registry(registry) if registry else config["registry"]})
