"""Every command with each stream closed, full, without a reader, and in an alphabet that has not every letter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.settings import ROOT

PRINTS = "from scripts import streams; streams.run(lambda words: print('25 \\xb0C \\u2503') or len(words))"

SHOUTS = """
import sys, threading, time
from scripts import streams

def shout():
    while True:
        print("x" * 200, file=sys.stderr)

def main(words):
    for _ in range(2):
        threading.Thread(target=shout, daemon=True).start()
    time.sleep(0.3)
    return 5

streams.run(main)
"""


def program(shell: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """What a program of ours does that prints a line; `shell` starts it, as `$@`."""
    command = ["/bin/sh", "-c", shell, "sh", sys.executable, "-c", PRINTS]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environ, capture_output=True, check=False)


C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("coding", [{"PYTHONIOENCODING": "ascii"}, C_LOCALE], ids=["ascii", "C"])
def test_a_letter_that_the_locale_does_not_have_is_escaped(coding: dict[str, str]) -> None:
    done = program('exec "$@"', **coding)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"25 \\xb0C \\u2503\n", b"")


@pytest.mark.parametrize(
    ("where", "code", "words"),
    [
        (">/dev/full", 1, b"error: STDOUT cannot be written to: no space left on device\n"),
        (">&-", 1, b"error: STDOUT cannot be written to: it is closed\n"),
        (">/dev/full 2>/dev/full", 1, b""),
        (">&- 2>&-", 1, b""),
    ],
)
def test_a_result_that_cannot_be_written_is_one_line(where: str, code: int, words: bytes) -> None:
    done = program(f'exec "$@" {where}')
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", words)


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", "<&-", "<&- 2>&-"])
def test_the_result_is_written_whatever_the_other_streams_are(where: str) -> None:
    done = program(f'exec "$@" {where}', PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, "25 °C ┃\n", b"")


def test_a_thread_that_goes_on_printing_does_not_disturb_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", SHOUTS], cwd=ROOT, capture_output=True, check=False)
    # Lines of two threads may run into each other.
    assert (done.returncode, {*done.stderr}) == (5, {*b"x\n"})


def test_no_command_minds_how_its_streams_are(tmp_path: Path) -> None:
    """None leaves a traceback, and each exits as it should; without an engine, a broker or a registry."""
    away = {"DOCKER_HOST": "tcp://127.0.0.1:1", "INVOKE_REGISTRY": "127.0.0.1:1", "INVOKE_QUEUE_PORT": "1"}
    own = {"HOME": str(tmp_path), "INVOKE_PROJECT": "sweep", "INVOKE_SCHEDULER": "process"}
    sweep = [sys.executable, "-m", "tests.sweep"]
    done = subprocess.run(sweep, cwd=ROOT, env=os.environ | away | own, stdout=subprocess.PIPE, check=True)
    tried = json.loads(done.stdout)
    plain = {one["words"]: one for one in tried if one["streams"] == "as they are"}
    assert len(tried) > 6 * len(plain) > 6 * 30
    assert [one for one in tried if wrong(one, plain[one["words"]])] == []


def wrong(one: dict[str, Any], plain: dict[str, Any]) -> bool:
    """Whether a command did otherwise than where its streams are as they should be, or that is wrong itself."""
    printed_in_vain = "STDOUT" in one["streams"] and plain["out"]
    same_result = one["out"] == ("" if "STDOUT" in one["streams"] else plain["out"])
    return (
        one["code"] not in (0, 1, 3)
        or one["code"] != (1 if printed_in_vain else plain["code"])
        or (one["streams"] != "ASCII" and not same_result)
        or "Traceback" in one["err"]
        or (printed_in_vain and "error: STDOUT cannot be written to" not in one["err"])
    )


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
        time.sleep(0.1)

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
