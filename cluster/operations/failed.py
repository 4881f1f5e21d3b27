"""Failed messages: looked at, put back on their queue, dropped, or written to files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator

from cluster.operations.failed_queue import Failed, are, part_of
from cluster.operations.failed_queue import Where as Where
from cluster.operations.failure_pages import SHOWN_BYTES, overview, page, which
from cluster.queue.export import open_export
from cluster.queue.failures import Failure, Groups, Selection, record_of
from cluster.queue.held import Held
from cluster.queue.publishing.link import Target
from cluster.queue.retrying import put_back
from cluster.schedulers import Say
from cluster.settings import Settings
from cluster.terminal import bar, counted

_MOST_SHOWN = 20
_IN_MEMORY_BYTES = 16 * 1024 * 1024
_SETTLED_TOGETHER = 500


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
        f"mend first:  ./inv failed.export --all --output failed.txt --drop{flags}"
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
        raise failed.none_meant()
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
        ClusterError: a choice that no message meets, or one of `publish`.
        Interrupted: what has a copy is out of the failed queue.
    """
    selection.check()
    failed = Failed(settings, where, "failed.retry", say)
    again = f"on {failed.queue!r} again"
    with failed.emptied(again, put_back=True) as one:
        selection = failed.chosen(one, selection)
        if dry_run:
            count = failed.number(one, selection)
            say(f"would put {part_of(count, one.count)} back on {failed.queue!r}")
            return
        broker = failed.broker
        # The failed queue is there, so that its work queue was: it may have been deleted when it was empty.
        target = Target(broker.url, failed.queue, create=True, find=broker.find, service=broker.service)
        with bar("put back", one.count) as advance_to:
            put_back(one, target, selection, say, advance_to)
        if not one.out and not selection.takes_all:
            raise failed.none_meant()
    say(f"{part_of(one.out, one.count)} {are(one.out)} {again}, with all attempts")


def drop(
    settings: Settings, where: Where, selection: Selection, dry_run: bool, confirm: Callable[[str], None], say: Say
) -> None:  # fmt: skip
    """Delete failed messages, after `confirm` of how many: of those that were there when it was asked."""
    selection.check()
    failed = Failed(settings, where, "failed.drop", say)
    with failed.held() as one:
        selection = failed.chosen(one, selection)
        there = one.count
        count = there if selection.takes_all else failed.number(one, selection)
    if dry_run or not count:
        say(f"would delete {part_of(count, there)}" if dry_run else f"nothing to delete: {part_of(count, there)}")
        return
    confirm(f"{counted(count, 'failed message')} of {failed.queue!r} {are(count)} deleted for good")
    with failed.emptied("deleted") as one:
        _drop(failed, one, selection, count)
    say(f"deleted {part_of(one.out, one.count)} of {failed.queue!r}")


def _drop(failed: Failed, one: Held, selection: Selection, most: int) -> None:
    tags: list[int] = []
    for delivered, failure in failed.each(one):
        if one.out + len(tags) == most:
            break
        if selection.meets(failure):
            tags.append(delivered.tag)
        if len(tags) >= _SETTLED_TOGETHER:
            one.take_out(tags)
            tags = []
    one.take_out(tags)


def export(settings: Settings, where: Where, selection: Selection, output: str, drop: bool, say: Say) -> None:
    """Write failed messages to a file or a folder; with `drop` they leave the failed queue, once all is on the disk."""
    selection.check()
    failed = Failed(settings, where, "failed.export", say)
    with failed.emptied(f"in {output}, and failed no more") if drop else failed.held() as one:
        tags = []
        with open_export(output) as written:
            selection = failed.chosen(one, selection)
            for delivered, failure in failed.each(one):
                if selection.meets(failure):
                    written.write(failure, delivered.body)
                    tags.append(delivered.tag)
            if not written.count:
                raise failed.none_meant()
        if drop:
            one.take_out(tags)
    now = f"are out of {one.name!r}" if drop else f"stay in {one.name!r}, as --drop is not given"
    say(f"wrote {counted(written.count, 'message')} to {output}; they {now}")
    if written.publish:
        say(f"when mended: ./inv publish {written.publish}{where.flags()}")
