"""Times of waiting for instances, and waits that are told when they last."""

from __future__ import annotations

import time

from cluster.schedulers import Say

POLL_S = 0.2
SILENCE_S = 10.0  # a wait that is longer is told
SETTLED_S = 1.0  # an app without a health check works when it has run so long


class LongWait:
    """A wait that begins now, of which a person hears once when it is a long one."""

    def __init__(self, say: Say) -> None:
        self._say, self._began, self._is_said = say, time.monotonic(), False

    @property
    def passed_s(self) -> float:
        """The seconds since its beginning."""
        return time.monotonic() - self._began

    def tell(self, words: str) -> None:
        """Say what is waited for, if it is time to."""
        if not self._is_said and self.passed_s > SILENCE_S:
            self._say(words)
            self._is_said = True
