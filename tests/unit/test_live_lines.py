"""What shows what is going on, and that foreign text in it, and wherever it is printed, tells a terminal nothing."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invoke import Config, Context
from invoke.exceptions import Exit
from rich.console import Console

from cluster.operations.agents.check import Finding, as_table
from cluster.operations.status_tables import table
from cluster.terminal import live_line, live_table, table_of
from commands.output import result, results, say
from commands.task import task
from scripts.errors import ClusterError
from scripts.one_line import one_line, visible


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


def test_a_terminal_shows_a_table_that_lives() -> None:
    out = io.StringIO()
    rows = [("agent1", "connects"), ("ops@agent2", "connects")]
    with live_table("pull worker:v1", lambda: rows, Console(file=out, force_terminal=True, width=60)) as is_shown:
        assert is_shown
        rows[:] = [("agent1", "12 of 120 MB"), ("ops@agent2", "failed")]
    for words in ("pull worker:v1", "agent1", "12 of 120 MB", "ops@agent2", "\x1b[31mfailed"):
        assert words in out.getvalue()


def test_elsewhere_there_is_no_table() -> None:
    out = io.StringIO()
    with live_table("pull", lambda: [("agent1", "x")], Console(file=out)) as is_shown:
        assert not is_shown
    assert out.getvalue() == ""


HOSTILE = "a\x1b[2J\x9b\u202e\u2066\u200f\r\nb\udc80ü"
SHOWN = r"a\x1b[2J\x9b\u202e\u2066\u200f\r\nb\udc80ü"


def test_what_a_terminal_obeys_is_shown() -> None:
    assert visible(HOSTILE) == SHOWN
    assert visible("a\tb\n\x1b", kept="\t\n") == "a\tb\n\\x1b"
    assert visible("déjà vu\u00a0! 日本\u3000語 🙂") == "déjà vu\u00a0! 日本\u3000語 🙂"


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_is_one_line_that_can_be_written(text: str) -> None:
    for shown in (visible(text), one_line(text)):
        assert len(f"{shown}.".splitlines()) == 1
        assert "\x1b" not in shown
        shown.encode()


def test_one_line_shows_it_too() -> None:
    assert one_line(f" {HOSTILE} \n c") == r"a\x1b[2J\x9b\u202e\u2066\u200f b\udc80ü c"


def test_a_cell_of_a_table_stays_in_its_line() -> None:
    assert table(("NAME", "N"), [(HOSTILE, "1")]).splitlines() == [f"NAME{' ' * (len(SHOWN) - 4)}  N", f"{SHOWN}  1"]


def test_what_is_said_and_printed_keeps_its_own_lines(capsys: pytest.CaptureFixture[str]) -> None:
    say("one\n\ttwo \x1b[2J")
    result("one\n\ttwo \x1b[2J")
    assert capsys.readouterr() == ("one\n\ttwo \\x1b[2J\n",) * 2


def test_a_programs_own_output_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    results(["\x1b[32mgreen\x1b[0m"])
    assert capsys.readouterr().out == "\x1b[32mgreen\x1b[0m\n"


def test_an_error_is_one_line() -> None:
    @task
    def fails(c: Context) -> None:
        """Fail."""
        raise ClusterError(HOSTILE)

    with pytest.raises(Exit) as caught:
        fails(Context(Config()))
    assert caught.value.message == f"error: {SHOWN}"


def test_what_hosts_answer_is_shown_in_tables_and_live_lines() -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=200, force_terminal=True, color_system=None)
    console.print(table_of(HOSTILE, [(HOSTILE, HOSTILE)]))
    with live_line(HOSTILE, console) as now:
        now(HOSTILE)
        console.print("", end="")
    assert SHOWN in shown.getvalue()
    for sign in ("\x1b[2J", "\x9b", "\u202e"):
        assert sign not in shown.getvalue()
    found = as_table({"agent1": {"ssh": Finding(HOSTILE, remedy=HOSTILE)}}, in_color=False)
    assert found.count(SHOWN) == 2
    assert "\x1b" not in found
