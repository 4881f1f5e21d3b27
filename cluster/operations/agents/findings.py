"""What a check found, as a table for people or JSON for programs."""

from __future__ import annotations

import io
import json
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster.operations.agents.cells import Cell
from cluster.operations.agents.check import COLUMNS, Row
from scripts.one_line import visible

_WIDE = 10_000  # a table is never wrapped: it may be piped


def as_json(rows: dict[str, Row]) -> str:
    """A list of hosts, each with its answers."""
    found = [
        {"host": host, "ok": not _red(row)}
        | {name: {"text": cell.text, "ok": not cell.remedy, "remedy": cell.remedy} for name, cell in row.items()}
        for host, row in rows.items()
    ]
    return json.dumps(found, indent=2)


def as_table(rows: dict[str, Row], *, in_color: bool | None = None) -> str:
    """A line a host, red cells marked with !, and below what to do about each of them."""
    in_color = sys.stdout.isatty() if in_color is None else in_color
    asked = [name for name in COLUMNS if any(name in row for row in rows.values())]
    table = Table(box=None, pad_edge=False)
    for name in ("host", *asked):
        table.add_column(name.upper(), no_wrap=True)
    for host, row in rows.items():
        table.add_row(visible(host), *(_shown(row.get(name)) for name in asked))
    steps = [
        visible(f"{host}: {name}: {cell.remedy}") for host, row in rows.items() for name, cell in _red(row).items()
    ]
    return "\n".join([_rendered(table, in_color), *([""] if steps else []), *steps])


def _red(row: Row) -> dict[str, Cell]:
    return {name: cell for name, cell in row.items() if cell.remedy}


def _shown(cell: Cell | None) -> Text:
    if cell is None:
        return Text("-")
    text = visible(cell.text)
    return Text(f"! {text}", "red") if cell.remedy else Text(text)


def _rendered(table: Table, in_color: bool) -> str:
    out = io.StringIO()
    Console(file=out, width=_WIDE, force_terminal=in_color, no_color=not in_color).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
