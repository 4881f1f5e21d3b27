"""The breaker: a host on which everything fails must not eat the queue."""

from __future__ import annotations

from scripts.action.jobs import Outcome
from scripts.backoff import growing_s

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 600.0


class Breaker:
    """Closed: every message is taken. Open: one now and then, as a probe.

    It opens when `limit` first attempts, counted from the worker's very first one, have failed or were rejected and
    nothing ever succeeded; later, when twice as many in a row have. Any success closes it. A retry that fails says
    more about its message than about the host, and does not count. A `limit` of 0: it never opens.

    In a row means in the order of their starts: of several at once the failures are often over first, while the good
    ones still run.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.is_open = False
        self.succeeded = False
        self.why = ""
        self._begun = 0
        self._failed: set[int] = set()
        self._failed_probes = 0

    def begin(self) -> int:
        """Number a first attempt that starts."""
        self._begun += 1
        return self._begun

    def end(self, number: int | None, outcome: Outcome) -> None:
        """Count a run that is over: a first attempt by its number, a retry by None."""
        if outcome.verdict == "done":
            self.succeeded, self.is_open = True, False
            self._failed.clear()
            self._failed_probes = 0
        elif outcome.verdict in ("failed", "rejected") and number is not None and self.limit and not self.is_open:
            self._failed.add(number)
            first, length = self._streak(number)
            from_the_start = first == 1 and not self.succeeded
            self.is_open = self.limit * (1 if from_the_start else 2) <= length
            which = f"its first {length} messages" if from_the_start else f"{length} messages in a row"
            self.why = f"{which} failed at their first attempt, the last: {outcome.reason}"

    def probe_failed(self) -> None:
        """Double the pause before the next probe."""
        self._failed_probes += 1

    @property
    def pause_s(self) -> float:
        """Pause between two probes, in seconds."""
        return growing_s(FIRST_PAUSE_S, self._failed_probes + 1, LONGEST_PAUSE_S)

    def _streak(self, number: int) -> tuple[int, int]:
        """Return the first of the failures in a row that this one belongs to, and how many they are."""
        first = last = number
        while first - 1 in self._failed:
            first -= 1
        while last + 1 in self._failed:
            last += 1
        return first, last - first + 1
