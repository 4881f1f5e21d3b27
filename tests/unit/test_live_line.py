"""The line that shows what is going on: on a terminal, and nowhere else."""

import io

from rich.console import Console

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
