"""Runs of the action, one for each attempt: their input, their outcome, and the interface of what runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

# done: exit 0 or `ok`.  failed: to be tried again.  rejected: failed for good (exit 65 or `reject`).
# unstartable: the action could not be started at all.  killed: we ended it, because the worker stops.
Verdict = Literal["done", "failed", "rejected", "unstartable", "killed"]

# An action's exit code for "this input is bad, do not try it again": EX_DATAERR of sysexits.h.
EXIT_REJECTED = 65


@dataclass(frozen=True)
class Job:
    """A message on its way into the action; a runner asks for what it gives to its programs.

    `variables` makes the AMQP_* variables of a process that is run for it, `metadata` what a kept-alive one is sent.
    `result_limit`: the bytes of STDOUT that are its result at most; None: nobody asked for one, and STDOUT is printed.
    `values` fill the placeholders of the action's words; None: these stay as they are. `is_trial`: its sender wants to
    see what becomes of it, and how much memory that takes.
    """

    id: str
    body: bytes
    variables: Callable[[], dict[str, str]]
    metadata: Callable[[], dict[str, Any]]
    result_limit: int | None = None
    values: Mapping[str, bytes] | None = None
    is_trial: bool = False


@dataclass(frozen=True)
class Outcome:
    """The result of one run.

    `reason` is for people and headers; `exit_code` is None after a signal or for a verdict line; `stderr` holds the
    last STDERR_KEPT bytes; `started_at` is in seconds since the epoch; `retry_after_s` is a pause the action itself
    asked for; `received` counts the bytes of its STDOUT, `result` is that output where a result was asked for.
    `peak_kib` is the most memory that one process of it had (of a kept-alive one only in a trial), 0 where not known.
    """

    verdict: Verdict
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    stderr: bytes = b""
    started_at: float = 0.0
    seconds: float = 0.0
    retry_after_s: float | None = None
    received: int = 0
    result: bytes = b""
    peak_kib: int = 0


Done = Callable[[Outcome], None]

KILLED = Outcome("killed", "stopped with the worker")


@dataclass(frozen=True)
class RunLimits:
    """The longest time of one run (None: no limit), and the time from TERM to KILL, in seconds."""

    timeout_s: float | None = None
    kill_after_s: float = 10.0


class Runner(Protocol):
    """Runs jobs on the worker's one event loop (pika's IOLoop); never blocks."""

    def open(self, changed: Callable[[], None], broken: Callable[[str], None]) -> None:
        """Get ready for jobs, before the first one.

        `changed` is called from the loop whenever free() rose without a `done` (a kept-alive child has loaded);
        `broken` once, with the reason, when no action can be started any more though no job is there to say so.
        """

    def start(self, job: Job, done: Done) -> None:
        """Run the job; `done` is called once, from the loop, never from within this call."""

    def free(self) -> int:
        """Return how many more jobs can be started now."""

    def kill(self, at_once: bool = False) -> None:
        """End what runs: TERM, then KILL to the process groups, or KILL `at_once`; the outcomes are KILLED."""

    def close(self, closed: Callable[[], None]) -> None:
        """End idle children too, where nothing runs any more, and call `closed` when none is left."""
