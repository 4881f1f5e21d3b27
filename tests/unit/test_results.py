"""What commands print for `$( )` and pipes."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cluster.settings import ROOT

ENDLESS = """
from commands.output import result
from scripts import streams

def endless(words):
    while True:
        result("a line")

streams.run(endless)
"""
FOLLOWED = """
import time
from invoke import Collection, Program
from commands.output import results
from commands.task import task

def lines():
    yield "a line"
    while True:
        time.sleep(60)

@task
def logs(c):
    'Print.'
    results(lines())

Program(namespace=Collection(logs)).run(["inv", "logs"])
"""


@contextmanager
def running(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program of which the first line has come."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=pipe, stderr=pipe) as found:
        try:
            assert found.stdout is not None
            assert found.stdout.readline() == b"a line\n"
            yield found
        finally:
            found.kill()


def test_a_reader_that_goes_away_ends_the_command_without_a_word() -> None:
    with running(ENDLESS) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.wait(60) == 141
        assert program.stderr.read() == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"])
def test_what_is_followed_is_left_without_a_word(number: signal.Signals, code: int) -> None:
    with running(FOLLOWED) as program:
        program.send_signal(number)
        assert program.communicate(timeout=60) == (b"", b"")
        assert program.returncode == code
