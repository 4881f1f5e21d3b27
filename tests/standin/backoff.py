"""How long Marathon waits before it starts the next task (RateLimiter.scala)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Backoff:
    """One app's delay; `until_s` is on the clock of time.monotonic()."""

    delay_s: float = 0.0
    until_s: float = 0.0

    def increased(self, app: dict[str, Any], now_s: float, time_scale: float) -> Backoff:
        """After one more task that ended by itself."""
        grown = self.delay_s * app["backoffFactor"] if self.delay_s else app["backoffSeconds"] / time_scale
        delay_s = min(grown, app["maxLaunchDelaySeconds"] / time_scale)
        return Backoff(delay_s, now_s + delay_s)

    def left_s(self, now_s: float) -> float:
        return max(0.0, self.until_s - now_s)
