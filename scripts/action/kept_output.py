"""The STDOUT and STDERR of a kept-alive child: log, or the result of the message in hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from scripts.action.jobs import Job
from scripts.action.output import Lines
from scripts.action.pipes import Outlet
from scripts.action.result import Result
from scripts.event_loop import EventLoop


class Output:
    """Passes on what a child prints, as it prints it.

    `result` is there while a message is in hand whose result was asked for; `came` is called when more of it came.
    """

    def __init__(self, loop: EventLoop, stdout: int, stderr: int, came: Callable[[], None]) -> None:
        self._came = came
        self._log, self._errors = Lines(1), Lines(2)
        self._stdout, self._stderr = Outlet(loop, stdout, self._log), Outlet(loop, stderr, self._errors)
        self.result: Result | None = None
        self._stdout.follow()
        self._stderr.follow()

    def begin(self, job: Job, tag: bytes) -> None:
        """Count what comes from now on for this message."""
        if job.result_limit is not None:
            self._log.finish()
            self._stdout.sink = self.result = Result(job.result_limit, self._came)
        self._log.begin(tag)
        self._errors.begin(tag)

    def end(self) -> None:
        """Count what comes from now on for no message."""
        if self.result is not None:
            self._stdout.sink, self.result = self._log, None

    def disown(self) -> None:
        """Pass on as log what came for a message that another child gets."""
        if self.result is not None:
            self._log.feed(self.result.value)
            self._log.finish()

    def catch_up(self, waiting: Iterable[tuple[int, int]]) -> None:
        """Pass on what is there now on those of its descriptors that `waiting` (of a poll) names."""
        for fd, _ in waiting:
            if fd == self._stdout.fd:
                self._stdout.pass_on()
            elif fd == self._stderr.fd:
                self._stderr.pass_on()

    def drain(self) -> None:
        """Pass on the rest and close."""
        self._stdout.drain()
        self._stderr.drain()

    @property
    def received(self) -> int:
        """The bytes of STDOUT for the message in hand."""
        return self._log.received if self.result is None else self.result.received

    @property
    def error_tail(self) -> bytes:
        """The end of STDERR for the message in hand."""
        return self._errors.tail
