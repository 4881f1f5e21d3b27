"""The report of a check, as a table for people or JSON for programs."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster.operations.agents.check import COLUMNS, Row, red_in
from cluster.operations.agents.facts import Finding
from scripts.one_line import visible

_WIDE = 10_000  # a table is never wrapped: it may be piped


def as_json(rows: Mapping[str, Row]) -> str:
    """Return a list of hosts, each with its findings."""
    found = [
        {"host": host, "ok": not red_in(row)}
        | {name: {"text": one.text, "ok": not one.remedy, "remedy": one.remedy} for name, one in row.items()}
        for host, row in rows.items()
    ]
    return json.dumps(found, indent=2)


def as_table(rows: Mapping[str, Row], *, in_color: bool | None = None) -> str:
    """Return a line a host, red findings marked with !, and below what to do about each of them."""
    in_color = sys.stdout.isatty() if in_color is None else in_color
    found = dict.fromkeys(name for row in rows.values() for name in row)
    asked = [name for name in dict.fromkeys([*COLUMNS, *found]) if name in found]
    table = Table(box=None, pad_edge=False)
    for name in ("host", *asked):
        table.add_column(name.upper(), no_wrap=True)
    for host, row in rows.items():
        table.add_row(visible(host), *(_shown(row.get(name)) for name in asked))
    red = [(host, name, one.remedy) for host, row in rows.items() for name, one in row.items() if one.remedy]
    steps = [visible(": ".join(each)) for each in red]
    return "\n".join([*_rendered(table, in_color), *([""] if steps else []), *steps])


def _shown(finding: Finding | None) -> Text:
    if finding is None:
        return Text("-")
    text = visible(finding.text)
    return Text(f"! {text}", "red") if finding.remedy else Text(text)


def _rendered(table: Table, in_color: bool) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=_WIDE, force_terminal=in_color, no_color=not in_color).print(table)
    return [line.rstrip() for line in out.getvalue().splitlines()]
