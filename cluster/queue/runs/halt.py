"""The end of a run that is given up early: too many items failed, or the action cannot work at all."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cluster.queue.runs.record import Record
from cluster.terminal import counted
from scripts.action.command import CommandNotExecutable, CommandNotFound
from scripts.errors import ClusterError

# So many failures without a success say that the action or all hosts are at fault, as in a worker's breaker.
_HOPELESS = 10

_CANNOT_START = (CommandNotExecutable.exit_code, CommandNotFound.exit_code)


@dataclass
class Halt:
    """Counts failures of this session, and says when they are too many: `most`, of the items or of a hundred.

    Where the run is not to be halted whatever fails, `most` is None. An action that cannot be started says enough where
    all workers are on one host, or where it says so from a second one: else that host may lack what the others have.
    """

    most: int | None = None
    text: str = ""
    is_asked_for: bool = False
    is_one_host: bool = False
    failed_now: int = 0
    _cannot_start: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, text: str, total: int, *, is_one_host: bool = False) -> Halt:
        """Read `10` or `5%` for a run of so many items; nothing: only what is hopeless is halted."""
        if not text:
            return cls(is_one_host=is_one_host)
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)(%?)", text.strip())
        number = float(match[1]) if match else 0
        if not match or not number or (match[2] and number > 100) or (not match[2] and "." in match[1]):
            raise ClusterError(f"--halt {text!r}: give a number of failed items, such as 10, or a share, such as 5%")
        if match[2]:
            return cls(None if number == 100 else max(1, int(total * number / 100)), f"{text} of {total:,}", True)
        return cls(int(number), text, True)

    def failed(self, record: Record, has_succeeded: bool) -> str:
        """Count a failure; return why the run is to be given up, or nothing."""
        self.failed_now += 1
        if self.most is not None and self.failed_now >= self.most:
            return f"{counted(self.failed_now, 'item')} failed (--halt {self.text})"
        if has_succeeded or self.is_asked_for:
            return ""
        if record.exit in _CANNOT_START:
            self._cannot_start.add(record.host)
        if self._cannot_start and (self.is_one_host or len(self._cannot_start) > 1):
            return f"the action cannot be started: {record.reason} for item {record.number:,}"
        if self.failed_now >= _HOPELESS:
            return f"the first {self.failed_now} items failed, the last: {record.reason} (--halt 100% goes on)"
        return ""

    def resting(self, why: str) -> str:
        """Return why the run is to be given up where nothing has succeeded and all workers rest; or nothing.

        Then the limit of --halt may never be reached: a resting worker tries ever other items, and none fails for good.
        """
        if self.is_asked_for and self.most is None:
            return ""
        return f"no item has succeeded, and all workers rest: {why} (--halt 100% goes on)"
