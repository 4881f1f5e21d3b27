"""The two outputs: results go to STDOUT, everything else to STDERR."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from scripts.errors import ClusterError
from scripts.one_line import visible
from scripts.streams import BOLD, GREEN, RED, YELLOW, colored, has_colors, write_bytes

if TYPE_CHECKING:
    from cluster.settings import Settings


def say(text: str) -> None:
    """Print a line for a person. Much in it comes from others, who are not to rule the terminal."""
    print(visible(text, kept="\n\t"), file=sys.stderr, flush=True)


def result(text: str) -> None:
    """Print a line for `$( )` and pipes, or a table, whose head and states have colors on a terminal."""
    shown = visible(text, kept="\n\t")
    print(in_colors(shown) if has_colors(sys.stdout) else shown, flush=True)


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
            shown = in_colors(text) if has_colors(sys.stdout) else text
            lines = shown.splitlines()[: _terminal().lines - 1] if is_terminal else [text]
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
    """Return a heading of what goes to STDOUT."""
    return colored(text, BOLD, sys.stdout)


# The head of a table: at least two columns in capitals, which blanks keep apart.
_HEAD = re.compile(r"[A-Z][A-Z/ ]*(  +[A-Z][A-Z/ ]*)+")
_CELL = re.compile(r"\S+( \S+)*")
# Of the columns that say how things are: what a cell looks like, and its color. The last column may have no name.
_COLORS: Mapping[str, Mapping[str, str]] = {
    "UP": {r"(\d+)/\1": GREEN, r"0/\d+": RED, r"\d+/\d+": YELLOW},
    "TO RETRY": {r"[1-9][\d,]*": YELLOW},
    "FAILED": {r"[1-9][\d,]*": RED},
    "LEFT": {"paused": YELLOW},
    "": {r"(stopped|unhealthy)\b.*": RED, r"(starting|waiting)\b.*": YELLOW},
}


def in_colors(text: str) -> str:
    """Return the text with the heads of tables bold, and the cells that say how things are in their colors."""
    lines = []
    heads: list[re.Match[str]] = []
    for line in text.split("\n"):
        if _HEAD.fullmatch(line):
            heads = list(_CELL.finditer(line))
            lines.append(bold(line))
        else:
            heads = heads if line else []
            lines.append(_CELL.sub(partial(_in_color, heads), line) if heads else line)
    return "\n".join(lines)


def _in_color(heads: Sequence[re.Match[str]], cell: re.Match[str]) -> str:
    """Return a cell in its color; it stands below a part of its head at least."""
    names = [head[0] for head in heads if head.start() < cell.end() and cell.start() < head.end()]
    name = names[0] if names else "" if cell.start() >= heads[-1].end() else None
    looks = _COLORS.get(name, {}) if name is not None else {}
    color = next((color for look, color in looks.items() if re.fullmatch(look, cell[0])), "")
    return colored(cell[0], color, sys.stdout) if color else cell[0]


def settings_of(config: Mapping[str, Any], registry: str = "") -> Settings:
    """Return the checked settings of an Invoke context's configuration; a `registry` counts more than theirs."""
    from cluster.image_ref import checked_registry
    from cluster.settings import Settings

    return Settings.read({**config, "registry": checked_registry(registry) if registry else config["registry"]})
