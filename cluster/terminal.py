"""Lines and tables on a person's terminal while something lasts, on STDERR: what goes to STDOUT is a result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from scripts.one_line import visible

_REFRESHES_PER_S = 8
_LINE_EVERY_S = 10.0
_SPINNER_WIDTH = 3  # with the blank after it and the cursor; a line that wraps would leave its first part behind


def counted(number: int, what: str) -> str:
    """Return a number with its noun: "1 item", "1,000 items"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


@contextmanager
def live_line(doing: str, console: Console | None = None) -> Iterator[Callable[[str], None]]:
    """Show `doing` and what the yielded function got last; lines printed meanwhile stay above it."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield lambda now: None
        return
    with console.status(Text(visible(doing))) as status:
        yield lambda now: status.update(Text(visible(f"{doing}: {now}")[: console.width - _SPINNER_WIDTH]))


@contextmanager
def bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` are done; yields the function to call with that."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(what, total=total)
        yield lambda done: shown.update(task, completed=done)


@dataclass(frozen=True)
class RunProgress:
    """The state of a run: items that have a record, and of these the failed ones; the rate is in items a second.

    `note` says what is waited for, where that is not the workers. `what` is counted.
    """

    total: int
    done: int
    failed: int
    rate: float
    note: str = ""
    what: str = "item"

    @property
    def left_s(self) -> float | None:
        """Seconds until the end at this rate; None where nothing moves."""
        return (self.total - self.done) / self.rate if self.rate else None


@contextmanager
def run_bar(say: Callable[[str], None]) -> Iterator[Callable[[RunProgress], None]]:
    """Show how far a run is; yields the function to call with its state. Without a terminal: a line every 10 s."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(say).show
        return
    text = TextColumn("{task.completed:,}/{task.total:,}  [red]{task.fields[failed]}[/]{task.fields[rest]}")
    with Progress(BarColumn(20), text, console=console) as shown:
        task = shown.add_task("", total=1, visible=False, failed="", rest="")

        def show(now: RunProgress) -> None:
            failed = f"{now.failed:,} failed  " if now.failed else ""
            rest = visible(_pace(now))
            shown.update(task, completed=now.done, total=now.total, visible=True, failed=failed, rest=rest)

        yield show


class _Lines:
    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._next_s = time.monotonic() + _LINE_EVERY_S

    def show(self, now: RunProgress) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s += _LINE_EVERY_S
            self._say(f"{now.done:,} of {counted(now.total, now.what)}, {now.failed:,} failed, {_pace(now)}")


def _pace(now: RunProgress) -> str:
    rate = f"{now.rate:,.0f}/s" if now.rate >= 10 else f"{now.rate:.2g}/s"
    left = f"  {timedelta(seconds=round(now.left_s))} left" if now.left_s is not None else ""
    return rate + left + (f"  {now.note}" if now.note else "")


class _Rate(ProgressColumn):
    """The number a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="progress.data.speed")


@contextmanager
def live_table(
    doing: str, rows: Callable[[], Iterable[tuple[str, str]]], console: Console | None = None
) -> Iterator[bool]:
    """Show the rows, names and what each does now, while the block runs; yields whether there is a terminal."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield False
        return
    with Live(
        get_renderable=lambda: table_of(doing, rows()), console=console, refresh_per_second=_REFRESHES_PER_S,
        redirect_stdout=False,
    ):  # fmt: skip
        yield True


def table_of(doing: str, rows: Iterable[tuple[str, str]]) -> Group:
    """Make the table, with visible control characters, since hosts wrote what is in it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in ("name", "now"):
        table.add_column(no_wrap=True)
    for name, now in rows:
        table.add_row(Text(visible(name)), Text(visible(now)), style="red" if now == "failed" else "")
    return Group(Text(visible(doing), "bold", no_wrap=True, overflow="ellipsis"), table)
