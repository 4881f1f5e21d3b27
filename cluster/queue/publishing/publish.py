"""Publishing: every message persistent, with an id, and confirmed by the broker; what was not is said.

The messages of a source go out on one connection with many confirms in flight. When the connection is lost, what is
not confirmed is sent again with the same ids, so each message arrives at least once.
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cluster.interrupts import Signals
from cluster.queue.publishing.confirms import Target
from cluster.queue.publishing.items import Position
from cluster.queue.publishing.publisher import Publisher, Watch
from cluster.queue.publishing.resume import Record, Sidecar, start_at
from cluster.queue.publishing.sources import Source
from cluster.settings import ROOT
from scripts.errors import ClusterError

SIDECARS = ROOT / ".run" / "publish"


@dataclass(frozen=True)
class Published:
    """The messages and bytes that the broker confirmed, and how long it took."""

    queue: str
    messages: int
    bytes: int
    seconds: float

    def as_json(self) -> str:
        """Return the same for programs."""
        return json.dumps(asdict(self))


def publish(source: Source, target: Target, watch: Watch = Watch(), at: Position = Position()) -> Published:  # noqa: B008
    """Publish a source from a position on, until all of it is confirmed.

    Raises:
        ClusterError: no such queue, a message that the broker or its queue does not take, or a source that failed.
        ServiceAway: no broker, or it went away for longer than `target.retry_for_s`.
        Interrupted: SIGINT or SIGTERM came.
        Each says how much is confirmed, and the first message that is not.
    """
    began = time.monotonic()
    with Signals() as signals:
        done = Publisher(source, target, watch, at).run(signals)
    return Published(target.queue, done.confirmed, done.confirmed_bytes, round(time.monotonic() - began, 3))


def publish_noting(
    source: Source, target: Target, watch: Watch, flags: dict[str, Any], resume: bool, folder: Path = SIDECARS
) -> Published:
    """Publish with a sidecar that notes how far it has come, so that `resume` can go on from there.

    `flags` are those that change what is sent: they must be the same when it is resumed. A source that cannot be read
    again (a body, a stream) has no sidecar.
    """
    if not source.digest:
        if resume:
            raise ClusterError(f"--resume needs --file or --files: {source.name} cannot be read again")
        return publish(source, target, watch)
    wanted = Record(source.path, source.size, source.digest, target.queue, target.broker, flags)
    with closing(Sidecar.open(folder, wanted)) as sidecar:
        return _publish_from(sidecar, wanted, source, target, watch, resume)


def _publish_from(
    sidecar: Sidecar, wanted: Record, source: Source, target: Target, watch: Watch, resume: bool
) -> Published:
    at = start_at(sidecar.record, wanted, resume, sidecar.path)
    if at is None:
        watch.say(f"{source.name} is published to {target.queue!r} already, all of it")
        return Published(target.queue, 0, 0, 0)
    if at.offset:
        watch.say(f"going on from {source.place(at.line)} of {source.name}")
    sidecar.write(wanted.at(at))
    noting = replace(
        watch,
        progress=lambda messages: watch.progress(at.number - 1 + messages),
        confirmed=lambda position: sidecar.write(wanted.at(position)),
    )
    try:
        done = publish(source, target, noting, at)
    except ClusterError as error:
        if sidecar.record and sidecar.record.offset:
            raise type(error)(f"{error}; --resume goes on from there") from error
        raise
    if sidecar.record:
        sidecar.write(replace(sidecar.record, complete=True))
    return done
