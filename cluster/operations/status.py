"""The state of apps, queues and workers: asked of an engine, the broker, and the workers themselves."""

from __future__ import annotations

import json
import shlex
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from cluster.apps.app import AppStatus
from cluster.components import QUEUE
from cluster.operations import status_tables
from cluster.operations.brokers import broker_meant, queue_at
from cluster.operations.freshness import older_apps
from cluster.operations.wanted_workers import queue_of
from cluster.queue import counts as queue_counts
from cluster.queue import workers
from cluster.queue.counts import WorkQueue, work_queues
from cluster.schedulers import Say, Scheduler, selection
from cluster.settings import Settings
from scripts.amqp.broker import without_login
from scripts.amqp.management import Node, QueueCount
from scripts.amqp.workers import Report
from scripts.background import in_background
from scripts.errors import ClusterError

T = TypeVar("T")

_WATCH_EVERY_S = 2.0
_HISTORY = 30  # so many looks


@dataclass(frozen=True)
class Seen:
    """State that was seen at one moment; None where nobody answers."""

    apps: Sequence[tuple[Scheduler, AppStatus]]
    # Of each app, whether its workers run older actions than the folder has.
    older: Sequence[bool | None] = ()
    queues: Sequence[QueueCount] | None = ()
    reports: Sequence[Report] | None = ()
    nodes: Sequence[Node] | None = ()
    # The address of the management API; empty where no queue runs.
    broker: str = ""
    # What a command needs besides to mean this broker.
    flag: str = ""
    # Why the queue that is there cannot be asked.
    trouble: str = ""
    at_s: float = field(default_factory=time.monotonic)

    @property
    def work(self) -> list[WorkQueue]:
        """The work queues, with what their workers say."""
        return work_queues(self.queues or (), self.reports or ())

    def as_json(self, indent: int | None) -> str:
        """Return all of it for programs."""
        apps = [
            {"scheduler": engine.name, "older_actions": is_older} | app.as_json()
            for (engine, app), is_older in zip(self.apps, self.older, strict=True)
        ]
        found: dict[str, Any] = {"apps": apps}
        found["work"] = [asdict(one) for one in self.work]
        for name, ones in (("queues", self.queues), ("workers", self.reports), ("nodes", self.nodes)):
            found[name] = ones and [asdict(one) for one in ones]
        return json.dumps(found, indent=indent, default=str)


@dataclass
class Rates:
    """The rates at which queues were worked off, between one look and the next."""

    past: dict[str, deque[float]] = field(default_factory=dict)
    _before: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, seen: Seen) -> None:
        """Take a look into account; where a worker ended between two, what it did is missing, and the rate is none."""
        for one in seen.work:
            if one.done is None:
                continue
            at_s, done = self._before.get(one.name, (seen.at_s, one.done))
            if seen.at_s > at_s:
                rates = self.past.setdefault(one.name, deque(maxlen=_HISTORY))
                rates.append(max(0.0, one.done - done) / (seen.at_s - at_s))
            self._before[one.name] = seen.at_s, one.done


class View:
    """A view, as text, of what runs on the engine that flags mean, else on this machine, and of its queues and workers.

    With a `url` only the queues and workers of that broker are looked at. Tables are cut to a `width`.
    """

    def __init__(
        self, settings: Settings, *, at: str = "", marathon: str = "", url: str = "", width: int | None = None,
        as_json: bool = False, say: Say,
    ) -> None:  # fmt: skip
        self._settings, self._url, self._width, self._as_json = settings, url, width, as_json
        only_broker = url and not (at or marathon)
        self._engines = () if only_broker else selection.candidates(settings, at, marathon, say)
        if url and (at or marathon):
            broker_meant(settings, url, at, marathon, say)  # which refuses both

    def once(self) -> str:
        """Look, and return what there is to see."""
        seen = look(self._settings, self._engines, self._url)
        return seen.as_json(2) if self._as_json else self._shown(seen)

    def again_and_again(self) -> Iterator[str]:
        """Yield the same every two seconds, with the rates since the beginning, for ever; JSON in a line each."""
        rates = Rates()
        while True:
            began_s = time.monotonic()
            seen = look(self._settings, self._engines, self._url)
            rates.add(seen)
            yield seen.as_json(None) if self._as_json else self._shown(seen, rates)
            time.sleep(max(0.0, began_s + _WATCH_EVERY_S - time.monotonic()))

    def _shown(self, seen: Seen, rates: Rates | None = None) -> str:
        if not seen.apps and not seen.broker:
            return _nothing(self._settings, self._engines)
        width = self._width
        parts = [status_tables.apps(seen.apps, seen.older, width) if seen.apps else ""]
        parts += [status_tables.queues(seen.work, width), status_tables.workers(seen.reports or (), width)]
        if rates:
            parts.append(status_tables.history(rates.past))
        start = "worker.run-local" if all(engine.is_here for engine in self._engines) else "worker.deploy"
        words = [*status_tables.remarks(seen.work, seen.reports or (), seen.nodes or (), seen.flag, start)]
        words += status_tables.outdated(seen.apps, seen.older)
        if seen.trouble:
            words.insert(0, f"how many messages are where is not known: {seen.trouble}")
        elif not seen.broker and any(queue_of(app.spec) for _, app in seen.apps):
            words.insert(0, "no queue runs there: -u amqp://HOST looks at that of workers with a broker elsewhere")
        if seen.queues is None:
            words.insert(0, f"how many messages are where is not known: the queue does not answer at {seen.broker}")
        return "\n\n".join(filter(None, [*parts, "\n".join(words)]))


def look(settings: Settings, engines: Sequence[Scheduler], url: str = "") -> Seen:
    """Ask all who know, those of the broker side by side."""
    apps = [(engine, app) for engine in engines for app in engine.status()]
    older = older_apps(apps)
    with_queue = next((engine for engine, app in apps if app.id == QUEUE.app_id), None)
    if url:
        named = broker_meant(settings, url, "", "", lambda _: None)
        address, management, flag = named.url, named.management(), f" -u {shlex.quote(without_login(url))}"
    elif with_queue:
        try:
            there = queue_at(settings, with_queue)
        except ClusterError as error:
            return Seen(apps, older, trouble=str(error))
        address, management, flag = there.url, there.management, with_queue.flag
    else:
        return Seen(apps, older)
    nodes = in_background(lambda: _asked(management.nodes))
    known = _asked(management.queues)
    queues = in_background(lambda: known if known is None else queue_counts.fresh(address, known))
    reports = _asked(lambda: workers.reports(address, [queue.name for queue in known or ()]))
    return Seen(apps, older, queues.result(), reports, nodes.result(), management.url, flag)


def _nothing(settings: Settings, engines: Sequence[Scheduler]) -> str:
    if all(engine.is_here for engine in engines):
        return "nothing runs here; `./inv demo` or `./inv queue.run-local` starts something"
    return f"nothing of the project {settings.project} runs on {', '.join(engine.place for engine in engines)}"


def _asked(question: Callable[[], T]) -> T | None:
    """Return an answer; None where there is none."""
    try:
        return question()
    except ClusterError:
        return None
