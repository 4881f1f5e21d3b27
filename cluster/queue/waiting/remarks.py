"""The words for a person about what is waited for, by readings of a queue."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable

from cluster.queue.waiting.certainty import Reading
from cluster.terminal import counted

# What is so only for a moment is not worth a line.
_WORTH_SAYING_S = 2.0


class Remarks:
    """The words beside the bar on what is waited for; what lasts is said in a line, once."""

    def __init__(self, queue: str, say: Callable[[str], None]) -> None:
        self._queue, self._say = queue, say
        self._kind = ""
        self._since_s = 0.0
        self._said: set[str] = set()

    def of(self, reading: Reading, is_paused: Callable[[], bool]) -> str:
        """Return the words for now; `is_paused` looks for the mark of a paused queue."""
        kind, line = self._now(reading, is_paused)
        now_s = time.monotonic()
        if kind != self._kind:
            self._kind, self._since_s = kind, now_s
        if line and kind not in self._said and now_s - self._since_s >= _WORTH_SAYING_S:
            self._said.add(kind)
            self._say(line)
        return kind

    def _now(self, reading: Reading, is_paused: Callable[[], bool]) -> tuple[str, str]:
        queue, left, states = self._queue, reading.after, [one.state for one in reading.workers]
        if left.ready and not left.consumers:
            return self._nobody_takes(reading, is_paused)
        if not reading.all_answer and reading.before.consumers == left.consumers:
            silent = f"{counted(left.consumers, 'consumer')} of {queue!r}, not all of which answer"
            return (
                "not all consumers answer",
                f"{silent}: what they have in hand the management API tells up to 12 s later",
            )
        if "resting" in states and not left.consumers:
            return "workers rest", ""
        if not left.messages or left.ready or reading.in_hand:
            return "", ""
        return f"{left.to_retry + left.alone:,} to be tried again", ""

    def _nobody_takes(self, reading: Reading, is_paused: Callable[[], bool]) -> tuple[str, str]:
        queue, workers = self._queue, reading.workers
        if any(one.state == "paused" for one in workers) or is_paused():
            return "paused", f"{queue!r} is paused: ./inv queue.resume -q {shlex.quote(queue)} lets its workers go on"
        resting = [one for one in workers if one.state == "resting"]
        if resting:
            who = (
                f"all {len(resting)} workers of {queue!r} rest"
                if len(resting) > 1
                else f"the worker of {queue!r} rests"
            )
            return "workers rest", f"{who}: {resting[0].reason}; one message is tried now and then"
        if any(one.state == "loading" for one in workers):
            return "workers start", ""
        return "no worker", (
            f"no worker takes messages of {queue!r}: ./inv worker.run-local -q {shlex.quote(queue)} starts one, "
            "worker.deploy on a cluster"
        )
