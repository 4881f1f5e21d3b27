"""How long to go on trying when something that must work does not."""

from __future__ import annotations

import time
from collections.abc import Callable

from scripts.errors import ClusterError

# Between two attempts; doubled each time.
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 4.0


class Patience:
    """Ends `limit_s` after the last success; each trouble is said once."""

    def __init__(self, limit_s: float, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._say = say
        self._clock = clock
        self._since = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._said: set[str] = set()
        self.trouble: ClusterError | None = None

    def success(self) -> None:
        """All is well (again)."""
        self.trouble = None
        self._pause_s = FIRST_PAUSE_S

    def failure(self, error: ClusterError) -> float:
        """It did not work; how many seconds to wait before the next attempt."""
        if not self.trouble:
            self._since = self._clock()
        self.trouble = error
        if str(error) not in self._said:
            self._said.add(str(error))
            self._say(f"{error}; trying for {self._limit_s:g} s")
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        return pause_s

    def is_over(self) -> bool:
        """Whether it has not worked for too long."""
        return self.trouble is not None and self._clock() - self._since > self._limit_s
