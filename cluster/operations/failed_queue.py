"""The failed queue that flags mean, held while it is looked at or emptied."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from cluster.interrupts import Interrupted, Signals
from cluster.operations.brokers import broker_meant, flags_of
from cluster.queue.failures import Failure, Ids, Selection, failure_of
from cluster.queue.held import Delivered, Held
from cluster.queue.holding import held
from cluster.queue.waiting.note import NoteFile
from cluster.schedulers import Say
from cluster.settings import Settings
from cluster.terminal import counted, live_line
from scripts.amqp.broker import identity
from scripts.amqp.queues import checked_name
from scripts.background import in_background
from scripts.errors import ClusterError


@dataclass(frozen=True)
class Where:
    """The flags that say which queue, and where it is; empty ones are the defaults of invoke.yaml."""

    queue: str = ""
    at: str = ""
    marathon: str = ""
    url: str = ""

    def flags(self) -> str:
        """Return the same for a command line; a login in a URL is left out."""
        queue = f" -q {shlex.quote(self.queue)}" if self.queue else ""
        return f"{queue}{flags_of(self.at, self.marathon, self.url)}"


class Failed:
    """The failed queue that flags mean."""

    def __init__(self, settings: Settings, where: Where, doing: str, say: Say) -> None:
        self.where, self._doing, self._say = where, doing, say
        self.queue = checked_name(where.queue or settings.queue.name)
        self.broker = broker_meant(settings, where.url, where.at, where.marathon, say)

    @contextmanager
    def held(self) -> Iterator[Held]:
        """Hold its messages."""
        with held(self.broker.url, self.queue, self._doing, self._ask, self._say, self.broker.flags) as one:
            yield one

    @contextmanager
    def emptied(self, done: str, *, put_back: bool = False) -> Iterator[Held]:
        """Hold its messages while some leave: however that ends, `wait` learns how many, and who interrupts it."""
        one: Held | None = None
        try:
            with self.held() as one:
                yield one
        except Interrupted as error:
            count = f"; {part_of(one.out, one.count)} {are(one.out)} {done}" if one else ""
            rest = "; the same command goes on" if one and one.out < one.count else ""
            raise type(error)(f"interrupted{count}{rest}") from error
        finally:
            if one and one.out:
                note = NoteFile(self.broker.service or identity(self.broker.url), self.queue)
                note.taken_out(one.out, put_back=one.out if put_back else 0)

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        try:
            return in_background(lambda: question(self.broker.management())).result(self.broker.api_s)
        except (ClusterError, TimeoutError):
            return None

    def each(self, one: Held) -> Iterator[tuple[Delivered, Failure]]:
        """Yield the messages with their facts; a signal ends it between two of them."""
        with Signals() as signals, live_line(f"{self._doing}: messages of {one.name!r}") as show:
            passed = 0
            for delivered in one.messages():
                if signals.came:
                    raise signals.came("interrupted")
                if delivered is not None:
                    passed += 1
                    if passed % 100 == 0:
                        show(f"{passed:,} of {one.count:,}")
                    yield delivered, failure_of(delivered.properties, len(delivered.body), one.name)

    def number(self, one: Held, selection: Selection) -> int:
        """Return how many are meant; a choice that none meets is an error."""
        count = sum(selection.meets(failure) for _, failure in self.each(one))
        if not count and not selection.takes_all:
            raise self.none_meant()
        return count

    def chosen(self, one: Held, selection: Selection) -> Selection:
        """Return the selection with whole ids, for which all messages pass by once."""
        if not selection.ids:
            return selection
        ids = Ids(selection.ids)
        for _, failure in self.each(one):
            ids.see(failure)
        one.give_back()
        return replace(selection, ids=ids.whole(self.queue, self.where.flags()))

    def none_meant(self) -> ClusterError:
        """Return the error of a choice that no message meets."""
        shows = f"./inv failed.list{self.where.flags()} shows which there are"
        return ClusterError(f"no failed message of {self.queue!r} is meant by that: {shows}")


def part_of(count: int, of: int) -> str:
    """Return such as `2 of 3 failed messages`."""
    return f"{count:,} of {counted(of, 'failed message')}"


def are(count: int) -> str:
    """Return the verb for so many."""
    return "is" if count == 1 else "are"
