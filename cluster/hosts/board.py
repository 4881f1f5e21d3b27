"""What every host is doing now: a live table on a terminal's STDERR, else a line a host when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cluster.hosts.host import Host
from scripts.one_line import visible

_REFRESHES_PER_S = 8


class Row(Protocol):
    """A host and what it does now."""

    host: Host
    now: str


@contextmanager
def shown(
    doing: str, rows: Sequence[Row], table: bool, say: Callable[[str], None], console: Console | None = None
) -> Iterator[Callable[[str, str], None]]:
    """Show the rows while the block runs; the yielded function is told a host that ended and how."""
    console = console or Console(stderr=True)
    if not table:
        yield lambda host, how: None
    elif not console.is_terminal:
        yield lambda host, how: say(f"{host}: {how}")
    else:
        # STDOUT is left alone: it may be a pipe, and what goes there is a result.
        with Live(
            get_renderable=lambda: _table(doing, rows), console=console, refresh_per_second=_REFRESHES_PER_S,
            redirect_stdout=False,
        ):  # fmt: skip
            yield lambda host, how: None


def _table(doing: str, rows: Sequence[Row]) -> Group:
    made = Table(box=None, pad_edge=False, show_header=False)
    for _ in ("host", "now"):
        made.add_column(no_wrap=True)
    for row in rows:
        made.add_row(Text(visible(row.host)), Text(visible(row.now)), style="red" if row.now == "failed" else "")
    return Group(Text(visible(doing), "bold", no_wrap=True, overflow="ellipsis"), made)
