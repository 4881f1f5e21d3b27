"""What is shown while hosts are at work."""

import io
from dataclasses import dataclass

from rich.console import Console

from cluster.hosts.board import shown
from cluster.hosts.host import Host


@dataclass
class Row:
    host: Host
    now: str


def console(out: io.StringIO, is_terminal: bool) -> Console:
    return Console(file=out, force_terminal=is_terminal, width=60)


def test_a_terminal_shows_a_table_that_lives() -> None:
    out, said = io.StringIO(), list[str]()
    rows = [Row(Host("agent1"), "connects"), Row(Host("agent2", "ops"), "connects")]
    with shown("pull worker:v1", rows, True, said.append, console(out, True)) as tell:
        rows[0].now, rows[1].now = "12 of 120 MB", "failed"
        tell("agent2", "failed")
    assert said == []
    for words in ("pull worker:v1", "agent1", "12 of 120 MB", "ops@agent2", "\x1b[31mfailed"):
        assert words in out.getvalue()


def test_else_a_line_is_said_when_a_host_ends() -> None:
    out, said = io.StringIO(), list[str]()
    with shown("pull", [Row(Host("agent1"), "x")], True, said.append, console(out, False)) as tell:
        tell("agent1", "done")
    assert (said, out.getvalue()) == (["agent1: done"], "")


def test_nothing_is_shown_where_no_table_is_wanted() -> None:
    out, said = io.StringIO(), list[str]()
    with shown("run", [Row(Host("agent1"), "x")], False, said.append, console(out, True)) as tell:
        tell("agent1", "done")
    assert (said, out.getvalue()) == ([], "")
