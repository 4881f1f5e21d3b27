"""Failed messages: looked at, put back on their queue, dropped, or written to files."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from cluster.interrupts import Signals
from cluster.operations.brokers import broker_meant
from cluster.operations.failure_pages import SHOWN_BYTES, overview, page, which
from cluster.queue.export import open_export
from cluster.queue.failures import Failure, Groups, Ids, Selection, failure_of, record_of
from cluster.queue.held import Delivered, Held
from cluster.queue.holding import held
from cluster.queue.publishing.link import Target
from cluster.queue.retrying import put_back
from cluster.queue.waiting.note import NoteFile
from cluster.schedulers import Say
from cluster.settings import Settings
from cluster.terminal import bar, counted, live_line
from scripts.amqp.broker import identity, redacted
from scripts.amqp.queues import checked_name
from scripts.background import in_background
from scripts.errors import ClusterError

_MOST_SHOWN = 20
_IN_MEMORY_BYTES = 16 * 1024 * 1024
_SETTLED_TOGETHER = 500


@dataclass(frozen=True)
class Where:
    """The flags that say which queue, and where it is; empty ones are the defaults of invoke.yaml."""

    queue: str = ""
    at: str = ""
    marathon: str = ""
    url: str = ""

    def flags(self) -> str:
        """Return the same for a command line; a login in a URL is left out."""
        url = redacted(self.url) if self.url else ""
        given = (("-q", self.queue), ("--at", self.at), ("-m", self.marathon), ("-u", url))
        return "".join(f" {flag} {shlex.quote(value)}" for flag, value in given if value)


class Failed:
    """The failed queue that flags mean."""

    def __init__(self, settings: Settings, where: Where, doing: str, say: Say) -> None:
        self.where, self._doing, self._say = where, doing, say
        self.queue = checked_name(where.queue or settings.queue.name)
        self.broker = broker_meant(settings, where.url, where.at, where.marathon, say)

    @contextmanager
    def held(self) -> Iterator[Held]:
        """Hold its messages."""
        with held(self.broker.url, self.queue, self._doing, self._ask, self._say) as one:
            yield one

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

    def chosen(self, one: Held, selection: Selection) -> Selection:
        """Return the selection with whole ids, for which all messages pass by once."""
        if not selection.ids:
            return selection
        ids = Ids(selection.ids)
        for _, failure in self.each(one):
            ids.see(failure)
        one.give_back()
        return replace(selection, ids=ids.whole(self.queue))


def listed(settings: Settings, where: Where, say: Say) -> str:
    """Return the failed messages of a queue by exit code and reason, and say how to go on."""
    failed = Failed(settings, where, "failed.list", say)
    groups = Groups()
    with failed.held() as one:
        for _, failure in failed.each(one):
            groups.add(failure)
    if not groups.count:
        return f"nothing of {failed.queue!r} has failed"
    flags = where.flags()
    say(
        f"one in full: ./inv failed.show {which(groups.example)}{flags}\n"
        f"run again:   ./inv failed.retry --all{flags}      (or --exit-code N, --reason TEXT, --item N, --id ID)\n"
        f"mend first:  ./inv failed.export --all --output failed.txt{flags}"
    )
    return "\n".join([f"{counted(groups.count, 'message')} of {failed.queue!r} failed", *overview(groups)])


def records(settings: Settings, where: Where, say: Say) -> Iterator[str]:
    """Yield the lines of a list in JSON: a record for each failed message."""
    failed = Failed(settings, where, "failed.list", say)
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, "w+") as lines:
        with failed.held() as one:
            for _, failure in failed.each(one):
                lines.write(json.dumps(record_of(failure)) + "\n")
        lines.seek(0)
        before = "["
        for line in lines:
            yield before + line.removesuffix("\n")
            before = ","
            # A comma at the beginning: which record is the last is not known before the next one.
        yield "[]" if before == "[" else "]"


def shown(settings: Settings, where: Where, selection: Selection, as_json: bool, say: Say) -> str:
    """Return all that is known of the messages that are meant."""
    selection.check()
    failed = Failed(settings, where, "failed.show", say)
    found: list[tuple[Failure, bytes]] = []
    with failed.held() as one:
        selection = failed.chosen(one, selection)
        matches = 0
        for delivered, failure in failed.each(one):
            if selection.meets(failure):
                matches += 1
                if len(found) < _MOST_SHOWN:
                    found.append((failure, delivered.body if failure.size <= SHOWN_BYTES else b""))
    if not matches:
        raise _none(failed.queue)
    if matches > len(found):
        say(f"the first {_MOST_SHOWN} of {matches:,} messages: ./inv failed.list --json{where.flags()} has all")
    if as_json:
        bodies = [body if failure.size <= SHOWN_BYTES else None for failure, body in found]
        return json.dumps(
            [record_of(failure, body) for (failure, _), body in zip(found, bodies, strict=True)], indent=2
        )  # fmt: skip
    return "\n\n".join(page(failure, body, where.flags()) for failure, body in found)


def retry(settings: Settings, where: Where, selection: Selection, dry_run: bool, say: Say) -> None:
    """Put failed messages back on their queue, with all attempts; each leaves the failed queue once its copy is safe.

    Raises:
        ClusterError: an id that no message has, or one of `publish`.
        Interrupted: what has a copy is out of the failed queue.
    """
    selection.check()
    failed = Failed(settings, where, "failed.retry", say)
    with failed.held() as one:
        selection = failed.chosen(one, selection)
        if dry_run:
            count = sum(selection.meets(failure) for _, failure in failed.each(one))
            say(f"would put {_of(count, one.count)} back on {failed.queue!r}")
            return
        broker = failed.broker
        # The failed queue is there, so that its work queue was: it may have been deleted when it was empty.
        target = Target(broker.url, failed.queue, create=True, find=broker.find, service=broker.service)
        with bar("put back", one.count) as advance_to:
            moved = put_back(one, target, selection, say, advance_to)
    NoteFile(target.broker, failed.queue).taken_out(moved, put_back=moved)
    say(f"{_of(moved, one.count)} {_are(moved)} on {failed.queue!r} again, with all attempts")


def drop(
    settings: Settings, where: Where, selection: Selection, dry_run: bool, confirm: Callable[[str], None], say: Say
) -> None:  # fmt: skip
    """Delete failed messages, after `confirm` of how many: of those that were there when it was asked."""
    selection.check()
    failed = Failed(settings, where, "failed.drop", say)
    with failed.held() as one:
        selection = failed.chosen(one, selection)
        there = one.count
        count = there if selection.takes_all else sum(selection.meets(failure) for _, failure in failed.each(one))
    if dry_run or not count:
        say(f"would delete {_of(count, there)}" if dry_run else f"nothing to delete: {_of(count, there)}")
        return
    confirm(f"{counted(count, 'failed message')} of {failed.queue!r} {_are(count)} deleted for good")
    with failed.held() as one:
        dropped = _dropped(failed, one, selection, count)
    NoteFile(failed.broker.service or identity(failed.broker.url), failed.queue).taken_out(dropped)
    say(f"deleted {_of(dropped, one.count)} of {failed.queue!r}")


def _dropped(failed: Failed, one: Held, selection: Selection, most: int) -> int:
    dropped = 0
    tags: list[int] = []
    for delivered, failure in failed.each(one):
        if dropped == most:
            break
        if selection.meets(failure):
            dropped += 1
            tags.append(delivered.tag)
        if len(tags) >= _SETTLED_TOGETHER:
            one.take_out(tags)
            tags = []
    one.take_out(tags)
    return dropped


def export(settings: Settings, where: Where, selection: Selection, output: str, say: Say) -> None:
    """Write failed messages to a file or a folder; they stay in the failed queue."""
    selection.check()
    failed = Failed(settings, where, "failed.export", say)
    with open_export(output) as written, failed.held() as one:
        selection = failed.chosen(one, selection)
        for delivered, failure in failed.each(one):
            if selection.meets(failure):
                written.write(failure, delivered.body)
        if not written.count:
            raise _none(failed.queue)
    say(f"wrote {counted(written.count, 'message')} to {output}; they stay in {one.name!r}")
    if written.publish:
        flags = where.flags()
        say(f"when mended: ./inv publish {written.publish}{flags} && ./inv failed.drop {selection.flags()}{flags}")


def _none(queue: str) -> ClusterError:
    return ClusterError(f"no failed message of {queue!r} is meant by that: ./inv failed.list shows which there are")


def _of(count: int, of: int) -> str:
    return f"{count:,} of {counted(of, 'failed message')}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
