"""The job log: one line a run, with GNU parallel's columns and ours after them."""

from __future__ import annotations

import fcntl
import os
import shlex
import socket
from collections.abc import Sequence

from scripts.action.jobs import EXIT_REJECTED, Outcome
from scripts.action.output import say
from scripts.errors import ClusterError
from scripts.one_line import visible
from scripts.worker.deliveries import Run

COLUMNS = (
    "Seq", "Host", "Starttime", "JobRuntime", "Send", "Receive", "Exitval", "Signal", "Command",
    "MessageId", "Queue", "Attempt", "Verdict", "Reason",
)  # fmt: skip


class JobLog:
    """Appends to a file; several workers may write to the same one, since each line is one write."""

    def __init__(self, path: str, command: Sequence[str], queue: str) -> None:
        self._path = path
        self._command = shlex.join(command)
        self._queue = queue
        self._host = socket.gethostname()
        self._runs, self._said = 0, ""
        # The disk was full in the middle of a line.
        self._torn = False
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            # Several workers may start at the same time; one writes the columns' names.
            fcntl.flock(self._file, fcntl.LOCK_EX)
            if os.fstat(self._file).st_size == 0:
                os.write(self._file, _line(COLUMNS))
            fcntl.flock(self._file, fcntl.LOCK_UN)
        except OSError as error:
            raise ClusterError(f"--joblog {path}: {(error.strerror or str(error)).lower()}") from error

    def ran(self, run: Run, outcome: Outcome) -> None:
        """Write the line of one run."""
        self._runs += 1
        line = _line((
            self._runs, self._host, f"{outcome.started_at:.3f}", f"{outcome.seconds:.3f}", run.size, outcome.received,
            _exit_value(outcome), outcome.signal or 0, self._command,
            run.id, self._queue, run.attempt, outcome.verdict, outcome.reason,
        ))  # fmt: skip
        self._write(b"\n" + line if self._torn else line)

    def _write(self, line: bytes) -> None:
        """Write what the disk has room for: a line that is cut must not spoil the one after it."""
        try:
            self._torn = os.write(self._file, line) < len(line)
            problem = "no space for a whole line" if self._torn else ""
        except OSError as error:
            problem = (error.strerror or str(error)).lower()
        if problem and not self._said:
            say(f"--joblog {self._path}: {problem}; lines will be missing")
        self._said = problem


def _exit_value(outcome: Outcome) -> int:
    """Return the exit code; for a kept-alive action, which has none, that of a process with this verdict."""
    if outcome.exit_code is not None:
        return outcome.exit_code
    if outcome.verdict == "done" or outcome.signal is not None:
        return 0
    return EXIT_REJECTED if outcome.verdict == "rejected" else 1


def _line(fields: Sequence[object]) -> bytes:
    """Put tabs between the fields; people look at the file on a terminal, and a field may be anybody's text."""
    return ("\t".join(map(visible, fields)) + "\n").encode()
