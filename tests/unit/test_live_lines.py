"""What shows what is going on: on a terminal a line or a table that lives, and nothing of it elsewhere."""

import io

import pytest
from rich.console import Console

from cluster.hosts.all_hosts import live_table
from cluster.terminal.live_line import live_line


def shown(*, terminal: bool) -> str:
    stream = io.StringIO()
    with live_line("build x", Console(file=stream, force_terminal=terminal, width=60)) as show:
        show("Get:1 [trixie] " + "x" * 100)
    return stream.getvalue()


def test_a_terminal_sees_it() -> None:
    text = shown(terminal=True)
    assert "build x: Get:1 [trixie] x" in text  # brackets are no markup
    assert "x" * 60 not in text  # a longer line would wrap


def test_a_file_gets_nothing() -> None:
    assert shown(terminal=False) == ""


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
