"""A live table of what every host does now, on a terminal's STDERR; else a line a host when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from scripts.one_line import visible

_REFRESHES_PER_S = 8

# Hosts, each with what it does now.
Rows = Callable[[], Iterable[tuple[str, str]]]


@contextmanager
def live_table(
    doing: str, rows: Rows, is_wanted: bool, say: Callable[[str], None], console: Console | None = None
) -> Iterator[Callable[[str, str], None]]:
    """Show the rows while the block runs; call the yielded function with each host that ended, and how."""
    console = console or Console(stderr=True)
    if is_wanted and console.is_terminal:
        # STDOUT is left alone: it may be a pipe, and what goes there is a result.
        with Live(
            get_renderable=lambda: table_of(doing, rows()), console=console, refresh_per_second=_REFRESHES_PER_S,
            redirect_stdout=False,
        ):  # fmt: skip
            yield lambda host, how: None
    else:
        yield lambda host, how: say(f"{host}: {how}") if is_wanted else None


def table_of(doing: str, rows: Iterable[tuple[str, str]]) -> Group:
    """Make the table, with visible control characters, since hosts wrote what is in it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in ("host", "now"):
        table.add_column(no_wrap=True)
    for host, now in rows:
        table.add_row(Text(visible(host)), Text(visible(now)), style="red" if now == "failed" else "")
    return Group(Text(visible(doing), "bold", no_wrap=True, overflow="ellipsis"), table)
