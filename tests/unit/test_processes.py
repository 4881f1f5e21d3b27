"""What ends a child and notices its end; with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from cluster.settings import ROOT
from scripts.action.children import Ending, ExitWatch, pidfd_watch, sigchld_watch, spawn, why_unstartable
from scripts.action.jobs import Job, Outcome, RunLimits
from scripts.action.processes import Processes
from scripts.event_loop import EventLoop
from tests.waiting import until

_LIMIT_S = 10


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    one = EventLoop()
    yield one
    one.close()


def _run(loop: EventLoop) -> None:
    """Run the loop until it is stopped, at most for a while."""
    timer = loop.call_later(_LIMIT_S, lambda: pytest.fail(f"not over after {_LIMIT_S} s"))
    loop.run()
    loop.remove_timeout(timer)


def _start(*argv: str) -> int:
    null = os.open(os.devnull, os.O_RDWR)
    try:
        return spawn(argv, {"PATH": os.environ["PATH"]}, [null, null, null])
    finally:
        os.close(null)


@pytest.mark.parametrize("exit_watch", [pidfd_watch, sigchld_watch])
def test_an_exit_is_noticed_and_reaped(loop: EventLoop, exit_watch: Callable[[EventLoop], ExitWatch]) -> None:
    codes: list[int] = []
    before = signal.getsignal(signal.SIGCHLD)
    watch = exit_watch(loop)

    def exited(status: int, _peak_kib: int) -> None:
        codes.append(os.waitstatus_to_exitcode(status))
        if len(codes) == 3:
            loop.stop()

    watch(_start("/bin/sh", "-c", "exit 3"), exited)
    watch(_start("/bin/sh", "-c", "sleep 0.1; kill -9 $$"), exited)
    gone = _start("/bin/true")
    time.sleep(0.05)
    watch(gone, exited)
    _run(loop)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, before)
    assert sorted(codes) == [-9, 0, 3]


def test_an_ending_waits_for_the_whole_group(loop: EventLoop, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    pid = _start("/bin/sh", "-c", f"trap '' TERM; sleep 0.5 & trap - TERM; touch {ready}; exec sleep 60")
    until(ready.exists, "the program is ready")
    began = time.monotonic()
    ending = Ending(loop, pid, kill_after_s=60)
    pidfd_watch(loop)(pid, lambda *_: ending.ended(loop.stop))
    _run(loop)
    assert 0.1 < time.monotonic() - began < 30
    assert not _members(pid)


def test_what_ignores_term_is_killed(loop: EventLoop, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    forever = "while :; do sleep 1; done"
    pid = _start("/bin/sh", "-c", f"trap '' TERM; sh -c '{forever}' & touch {ready}; {forever}")
    until(ready.exists, "the program is ready")
    ending = Ending(loop, pid, kill_after_s=0.3)
    pidfd_watch(loop)(pid, lambda *_: ending.ended(loop.stop))
    _run(loop)
    until(lambda: not _members(pid), "all have ended")  # who was sent KILL takes a moment to end


def _members(group: int) -> list[int]:
    """The processes of a group that still run."""
    running = []
    for one in psutil.process_iter(["status"]):
        with suppress(ProcessLookupError):
            if os.getpgid(one.pid) == group and one.info["status"] != psutil.STATUS_ZOMBIE:
                running.append(one.pid)
    return running


@pytest.mark.parametrize(
    ("program", "variable", "verdict"),
    [
        ("/bin/true", "x", "done"),
        ("/bin/true", "a\0b", "failed"),
        ("/bin/true", "x" * 200_000, "failed"),
        ("/no/such/program", "x", "unstartable"),
    ],
)
def test_a_message_that_brings_too_much_fails_and_does_not_condemn_the_host(
    loop: EventLoop, program: str, variable: str, verdict: str
) -> None:
    outcomes: list[Outcome] = []
    processes = Processes(loop, [program], {}, 1, RunLimits())
    processes.open(lambda: None, lambda _: None)

    def done(outcome: Outcome) -> None:
        outcomes.append(outcome)
        loop.stop()

    processes.start(Job("id", b"body", lambda: {"AMQP_HEADER_X": variable}, dict), done)
    _run(loop)
    assert [outcome.verdict for outcome in outcomes] == [verdict]
    assert processes.free() == 1


def test_a_script_without_a_first_line_is_told_apart(tmp_path: Path) -> None:
    """A shell would run it all the same, so that it works where its author tries it."""
    script = tmp_path / "script"
    script.write_text("echo hello\n")
    script.chmod(0o755)
    with pytest.raises(OSError, match="Exec format error") as caught:
        _start(str(script))
    assert "such as #!/bin/sh" in why_unstartable(str(script), caught.value)


# Its STDIN is a terminal, which becomes its own; it is in the foreground there and lives on at Ctrl-C.
_IN_TERMINAL = f"""
import fcntl, os, signal, sys, termios
sys.path.insert(0, {str(ROOT)!r})
from scripts.action.children import spawn
from scripts.event_loop import EventLoop
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
EventLoop().watch_signal(signal.SIGINT, lambda: None)
null = os.open(os.devnull, os.O_RDWR)

def ended(*argv):
    return os.waitpid(spawn(argv, {{}}, [null, null, null]), os.WUNTRACED)[1]
"""


@contextmanager
def _in_terminal(script: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A Python that runs the script in a terminal, and the other side of that terminal."""
    keyboard, terminal = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-I", "-c", _IN_TERMINAL + script],
        stdin=terminal, stdout=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(terminal)
        yield process, keyboard
        process.kill()
    os.close(keyboard)


def test_what_asks_the_terminal_gets_an_error_and_is_not_stopped() -> None:
    with _in_terminal("print(ended('/bin/sh', '-c', 'read answer </dev/tty || exit 7'))") as (process, _):
        status = int(process.communicate(timeout=_LIMIT_S)[0])
    assert os.WIFEXITED(status), status
    assert os.waitstatus_to_exitcode(status) != 0


def test_ctrl_c_ends_no_child_that_is_being_started() -> None:
    script = """
print("ready", flush=True)
statuses = set()
while EventLoop.caught < 1000:
    statuses.add(ended("/bin/true"))
print(statuses)
"""
    with _in_terminal(script) as (process, keyboard):
        assert process.stdout
        process.stdout.readline()
        while process.poll() is None:
            with suppress(OSError):  # it has ended
                os.write(keyboard, b"\x03")
            time.sleep(0.0003)
        assert process.stdout.read() == b"{0}\n"
