"""The question before what costs something, at a real terminal and without one."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cluster.settings import ROOT

COST = "3 messages of 'my\x1bqueue' are deleted"
PROGRAM = f"""
import sys
from invoke import Collection, Program
from commands.output import confirm, result
from commands.task import task
from scripts import streams

@task
def asks(c, yes=False):
    'Ask.'
    confirm({COST!r}, yes=yes)
    result("gone on")

streams.run(lambda words: Program(namespace=Collection(asks)).run(["inv", "asks", *words]))
"""
COMMAND = ["env", "NO_COLOR=1", sys.executable, "-c", PROGRAM]
PIPE = subprocess.PIPE


class Terminal:
    """A program at a terminal of its own, as a shell starts it: Ctrl-C is a signal there."""

    def __init__(self, fd: int, program: "subprocess.Popen[str]") -> None:
        self._fd, self.program, self.seen = fd, program, ""

    def shows(self, words: str) -> None:
        """Wait until the words are on the terminal."""
        while words not in self.seen:
            self.seen += os.read(self._fd, 4096).decode()

    def types(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def ends(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and STDOUT."""
        assert self.program.stdout
        return self.program.wait(30), self.program.stdout.read()


@contextmanager
def terminal(*words: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        ["setsid", "--ctty", *COMMAND, *words], cwd=ROOT, stdin=theirs, stdout=PIPE, stderr=theirs, text=True
    )
    os.close(theirs)
    with program:
        try:
            yield Terminal(ours, program)
        finally:
            program.kill()
            os.close(ours)


@pytest.mark.parametrize("answer", ["y", "Y", "yes", " y "])
def test_a_yes_goes_on(answer: str) -> None:
    with terminal() as person:
        person.shows(r"3 messages of 'my\x1bqueue' are deleted. Go on? [y/N] ")
        person.types(f"{answer}\n")
        assert person.ends() == (0, "gone on\n")


@pytest.mark.parametrize("answer", ["", "n", "no", "yy", "./inv status"])
def test_any_other_answer_is_a_no(answer: str) -> None:
    with terminal() as person:
        person.shows("[y/N]")
        person.types(f"{answer}\n")
        assert person.ends() == (1, "")


@pytest.mark.parametrize(("key", "code"), [("\x03", 130), ("\x04", 1)], ids=["Ctrl-C", "Ctrl-D"])
def test_ctrl_c_and_the_end_of_the_input_are_a_no(key: str, code: int) -> None:
    with terminal() as person:
        person.shows("[y/N] ")
        person.types(key)
        person.shows("\nerror: ")  # on a line of its own
        assert person.ends() == (code, "")
    assert "Traceback" not in person.seen


def test_a_signal_while_it_asks_is_a_no() -> None:
    with terminal() as person:
        person.shows("[y/N] ")
        person.program.send_signal(signal.SIGTERM)
        assert person.ends() == (128 + signal.SIGTERM, "")


def test_yes_asks_nothing() -> None:
    done = subprocess.run([*COMMAND, "--yes"], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "gone on\n", "")


@pytest.mark.parametrize("at_terminal", ["stdin", "stderr", ""])
def test_without_a_terminal_to_ask_and_answer_at_it_says_the_cost_and_the_flag(at_terminal: str) -> None:
    ours, theirs = pty.openpty()
    streams = {"stdin": subprocess.DEVNULL, "stderr": PIPE} | ({at_terminal: theirs} if at_terminal else {})
    program = subprocess.Popen(COMMAND, cwd=ROOT, stdout=PIPE, text=True, **streams)
    os.close(theirs)
    output, errors = program.communicate(timeout=30)
    if at_terminal == "stderr":
        errors = os.read(ours, 4096).decode()
    os.close(ours)
    assert (program.returncode, output) == (1, "")
    (line,) = errors.splitlines()
    assert line.startswith(r"error: 3 messages of 'my\x1bqueue' are deleted")
    assert "--yes" in line


def test_a_closed_stdin_is_no_terminal() -> None:
    done = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "--yes" in done.stderr
