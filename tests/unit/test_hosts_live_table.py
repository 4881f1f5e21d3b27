"""The table of what hosts do."""

import io

import pytest
from rich.console import Console

from cluster.hosts.all_hosts import live_table


def console(out: io.StringIO, is_terminal: bool) -> Console:
    return Console(file=out, force_terminal=is_terminal, width=60)


def test_a_terminal_shows_a_table_that_lives() -> None:
    out, said = io.StringIO(), list[str]()
    rows = [("agent1", "connects"), ("ops@agent2", "connects")]
    with live_table("pull worker:v1", lambda: rows, True, said.append, console(out, True)) as tell:
        rows[:] = [("agent1", "12 of 120 MB"), ("ops@agent2", "failed")]
        tell("ops@agent2", "failed")
    assert said == []
    for words in ("pull worker:v1", "agent1", "12 of 120 MB", "ops@agent2", "\x1b[31mfailed"):
        assert words in out.getvalue()


@pytest.mark.parametrize(("is_wanted", "lines"), [(True, ["agent1: done"]), (False, [])])
def test_else_a_line_is_said_when_a_host_ends_if_it_is_wanted(is_wanted: bool, lines: list[str]) -> None:
    out, said = io.StringIO(), list[str]()
    with live_table("pull", lambda: [("agent1", "x")], is_wanted, said.append, console(out, not is_wanted)) as tell:
        tell("agent1", "done")
    assert (said, out.getvalue()) == (lines, "")
