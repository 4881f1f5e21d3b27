"""A line on a terminal's STDERR that shows what is going on now; nothing where STDERR is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from scripts.one_line import visible

_SPINNER_WIDTH = 3  # with the blank after it and the cursor; a line that wraps would leave its first part behind


@contextmanager
def live_line(doing: str, console: Console | None = None) -> Iterator[Callable[[str], None]]:
    """Show `doing` and what the yielded function got last; lines printed meanwhile stay above it."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield lambda now: None
        return
    with console.status(Text(visible(doing))) as status:
        yield lambda now: status.update(Text(visible(f"{doing}: {now}")[: console.width - _SPINNER_WIDTH]))
