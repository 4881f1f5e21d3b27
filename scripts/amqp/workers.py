"""The workers of a queue: where they can be asked, and the report that each gives of itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from scripts.errors import ClusterError

# Each worker has a queue of its own bound to this exchange of the broker's, so that one message reaches all of them.
EXCHANGE = "amq.direct"

# The types of such a message: report to `reply_to`; look whether the queue is paused.
REPORT = "report"
LOOK = "look"

# loading: its kept-alive action is not up yet.  resting: nearly everything fails here, so one is tried now and then.
State = Literal["taking", "loading", "resting", "paused", "draining"]

# A report has no more of what runs than this, the longest first.
MOST_RUNNING = 50


def key_of(queue: str) -> str:
    """Return the routing key that means all workers of a queue."""
    return f"{queue}.workers"


@dataclass(frozen=True)
class Running:
    """An action that runs, for so many seconds; `item` is the number of its message's item, where that has one."""

    id: str
    item: int | None
    attempt: int
    seconds: float


@dataclass(frozen=True)
class Report:
    """A worker, at one moment; all that the broker had sent to it before the question is counted.

    `name` is what its engine calls it, empty without one. `since`: its start, in seconds since the epoch. `done`
    succeeded, `failed` failed for good, `retried` are failed attempts that are made again; all since its start.
    `rate`: messages that were done, or failed for good, a second, in the last minute. `taken` came in all, `in_hand`
    are not settled yet, and it has so many `subscriptions`. `reason` says why it rests.
    """

    queue: str
    host: str
    pid: int
    name: str
    version: str
    since: float
    jobs: int
    state: State
    reason: str
    done: int
    failed: int
    retried: int
    rate: float
    taken: int
    in_hand: int
    subscriptions: int
    running: tuple[Running, ...]

    def encoded(self) -> bytes:
        """Return what `read` reads."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def read(cls, body: bytes) -> Report:
        """Read a report; what a later version of workers says besides is left out.

        Raises:
            ClusterError: it is none.
        """
        try:
            found = json.loads(body)
            running = [Running(**{name: one[name] for name in Running.__match_args__}) for one in found["running"]]
            return cls(**{name: found[name] for name in cls.__match_args__} | {"running": tuple(running)})
        except (ValueError, LookupError, TypeError) as error:
            raise ClusterError("a worker of another version answers what is not understood") from error


def properties_of(queue: str, jobs: int, since: str, worker: str, version: str) -> dict[str, Any]:
    """Return what a worker's connection says of it, for who looks at the broker's own pages."""
    about = {"queue": queue, "jobs": jobs, "since": since, "worker": worker}
    return {"product": "cluster_worker", "version": version, "cluster_worker": about}
