"""Signals that end a task: one line, the shell's exit code, and no traceback however often they come."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from invoke import Context
from invoke.exceptions import Exit

from cluster.settings import ROOT
from commands.task import task
from scripts.errors import ClusterError

EACH = pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["INT", "TERM", "HUP"]
)
# Tells how far it is, and tidies up until it is told to go on. What it tells at the very end it tells from atexit.
PROGRAM = """
import atexit, sys, time
from invoke import Collection, Program
from commands import interruption
from commands.task import task
from scripts import streams

def tell(word):
    print(word, flush=True)
    sys.stdin.readline()

@task
def waits(c):
    'Wait.'
    try:
        print("begun", flush=True)
        while True:
            time.sleep(0.1)
    finally:
        tell("tidies")

def main(words):
    atexit.register(tell, "ends")
    interruption.ONE_SIGNAL_S = float(words[0])
    Program(namespace=Collection(waits)).run(["inv", "waits"])

streams.run(main)
"""


@contextmanager
def begun(one_signal_s: float = 100, before: str = "") -> Iterator[subprocess.Popen[str]]:
    """The program in the middle of its task."""
    program = [sys.executable, "-c", PROGRAM, str(one_signal_s)]
    command = ["sh", "-c", f'{before}; exec "$@"', "sh", *program] if before else program
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as running:
        try:
            says(running, "begun")
            yield running
        finally:
            running.kill()


def says(running: subprocess.Popen[str], word: str) -> None:
    assert running.stdout
    assert running.stdout.readline() == f"{word}\n"


def goes_on(running: subprocess.Popen[str]) -> None:
    assert running.stdin
    running.stdin.write("\n")
    running.stdin.flush()


def ended(running: subprocess.Popen[str]) -> tuple[int, str]:
    _, told = running.communicate(timeout=20)
    return running.returncode, told


@EACH
def test_a_signal_is_one_line_and_the_shell_s_exit_code(number: signal.Signals, code: int) -> None:
    with begun() as running:
        running.send_signal(number)
        assert ended(running) == (code, "error: interrupted\n")


@EACH
def test_signals_that_follow_at_once_disturb_neither_the_tidying_up_nor_the_end(
    number: signal.Signals, code: int
) -> None:
    with begun() as running:
        running.send_signal(number)
        for word in ("tidies", "ends"):
            says(running, word)
            running.send_signal(signal.SIGINT)
            running.send_signal(signal.SIGTERM)
            running.send_signal(signal.SIGHUP)
            goes_on(running)
        assert ended(running) == (code, "error: interrupted\n")


@EACH
def test_a_later_one_waits_for_nothing(number: signal.Signals, code: int) -> None:
    with begun(one_signal_s=0) as running:
        running.send_signal(number)
        says(running, "tidies")
        running.send_signal(signal.SIGHUP)
        running.send_signal(signal.SIGINT)
        assert ended(running) == (
            code, "error: interrupted again: ended at once; what was begun on hosts may go on there\n"
        )  # fmt: skip


# What `inv` runs, from the moment on that Python has found the folder: what comes before no program of ours can help.
COMMAND = """
import runpy, sys
sys.argv = ["tasks.py", *sys.argv[1:]]
import commands
print("begun", flush=True)
runpy.run_path("tasks.py", run_name="__main__")
"""


def test_ctrl_c_at_any_moment_of_a_command_is_one_line_at_most() -> None:
    pipe = subprocess.PIPE
    for after_s in (random.uniform(0, 0.8) for _ in range(16)):
        command = [sys.executable, "-c", COMMAND, "--search-root", str(ROOT), "status", "--watch"]
        with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as running:
            try:
                says(running, "begun")
                time.sleep(after_s)
                running.send_signal(signal.SIGINT)
                code, told = ended(running)
                assert code in (130, -signal.SIGINT), after_s
                assert "Traceback" not in told, after_s
            finally:
                running.kill()


def test_a_signal_that_is_ignored_stays_so() -> None:
    with begun(before="trap '' INT HUP") as running:
        running.send_signal(signal.SIGINT)
        running.send_signal(signal.SIGHUP)
        running.send_signal(signal.SIGTERM)
        assert ended(running) == (143, "error: interrupted\n")


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


def test_signals_are_as_before_when_a_task_has_ended() -> None:
    seen = []

    @task
    def fails(c: Context) -> None:
        """Fail."""
        seen.append(handlers())
        raise ClusterError("no luck")

    before = handlers()
    with pytest.raises(Exit):
        fails(Context())
    assert handlers() == before
    assert seen[0] != before


def test_ctrl_c_while_a_class_is_made_is_one_line() -> None:
    class Interrupted:
        def __set_name__(self, owner: type, name: str) -> None:
            signal.raise_signal(signal.SIGINT)

    @task
    def makes(c: Context) -> None:
        """Make a class."""
        type("Made", (), {"field": Interrupted()})

    before = handlers()
    try:
        with pytest.raises(Exit) as ended:
            makes(Context())
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), before, strict=True):
            signal.signal(number, handler)
    assert ended.value.code == 130


def test_a_task_runs_in_any_thread() -> None:
    seen = []

    @task
    def runs(c: Context) -> None:
        """Run."""
        seen.append(handlers())

    before = handlers()
    thread = threading.Thread(target=runs, args=[Context()])
    thread.start()
    thread.join()
    assert seen == [before]
