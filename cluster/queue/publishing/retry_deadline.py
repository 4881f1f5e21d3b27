"""The time for which something that must work is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable

from scripts.backoff import growing_s
from scripts.errors import ClusterError

# Between two attempts; doubled each time.
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 4.0


class RetryDeadline:
    """Ends `limit_s` after the first failure since the last success; each trouble is said once."""

    def __init__(self, limit_s: float, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.trouble: ClusterError | None = None
        self._limit_s = limit_s
        self._say = say
        self._clock = clock
        self._since = 0.0
        self._failures = 0
        self._said: set[str] = set()

    def success(self) -> None:
        """Note that all is well (again)."""
        self.trouble = None
        self._failures = 0

    def failure(self, error: ClusterError) -> float:
        """Note that it did not work; return how many seconds to wait before the next attempt."""
        if not self.trouble:
            self._since = self._clock()
        self.trouble = error
        self._failures += 1
        if str(error) not in self._said:
            self._said.add(str(error))
            self._say(f"{error}; trying for {self._limit_s:g} s")
        return growing_s(FIRST_PAUSE_S, self._failures, LONGEST_PAUSE_S)

    def is_over(self) -> bool:
        """Tell whether it has not worked for too long."""
        return self.trouble is not None and self._clock() - self._since > self._limit_s
