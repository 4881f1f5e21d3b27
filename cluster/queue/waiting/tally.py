"""The number of messages that are waited for, and of those that are done, by readings and by what was published.

A reading may miss a message that is on its way from one queue to another, or in a queue that comes up after a broker
was away; and it may meet one twice, in the hands of a worker and then in a retry queue. So what it misses counts as
done only for now, and no message is new for being met again.
"""

from __future__ import annotations

from cluster.queue.waiting.certainty import Reading


class Tally:
    """Counts `total` and `done` by readings of one queue, in their order."""

    def __init__(self) -> None:
        self.total = self.done = 0
        self._ready = 0
        self._met: int | None = None
        # How many messages each worker had settled at its first report, and at its last.
        self._settled: dict[tuple[str, int, float], tuple[int, int]] = {}

    def look(self, reading: Reading, published: int) -> None:
        """Take the next reading; `published` are known to have been published, 0 where nothing is known.

        Where it is known it counts, unless more are ready at once: what workers say that they have settled is too much
        where an answer was lost with a broker. Else those count that are met first, and what workers settle.
        """
        gone, ready = self._gone(reading), reading.after.ready
        if self._met is None:
            self._met = min(reading.before.messages, reading.after.messages) + _held(reading)
        self._met = max(self._met, gone + max(ready, reading.in_hand))
        self._ready = max(self._ready, ready)
        self.total = max(published, self._ready) if published else self._met
        self.done = max(0, self.total - reading.after.messages - _held(reading))

    def _gone(self, reading: Reading) -> int:
        for one in reading.workers:
            key, now = (one.host, one.pid, one.since), one.done + one.failed
            self._settled[key] = (self._settled.get(key, (now, now))[0], now)
        return sum(now - first for first, now in self._settled.values())


def _held(reading: Reading) -> int:
    held = 0 if reading.all_answer or not reading.figures else reading.figures.unacknowledged
    return max(reading.in_hand, held)
