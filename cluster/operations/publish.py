"""Publishing by flags: from a source to a queue, with a progress bar, to be resumed when interrupted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from typing import Any

from cluster.operations.brokers import Broker, broker_meant
from cluster.queue.publishing.items import Split
from cluster.queue.publishing.link import Target
from cluster.queue.publishing.publisher import Published, Watch
from cluster.queue.publishing.resume import publish_noting
from cluster.queue.publishing.sources import Source, chosen, nothing_in
from cluster.queue.waiting.note import NoteFile
from cluster.schedulers import Say
from cluster.settings import Settings
from scripts.amqp import policies
from scripts.amqp.queues import checked_name
from scripts.background import in_background
from scripts.errors import ClusterError

LINES = Split()

_OWN_HEADERS = "x-cluster-"
_LONGEST_NAME_BYTES = 255
# They travel in one frame (128 KiB), and workers add some.
_ALL_HEADERS_BYTES = 64 * 1024


def run(
    settings: Settings, say: Say, *, body: str | None = None, file: str = "", files: str = "", split: Split = LINES,
    header: Sequence[str] = (), queue: str = "", create: bool = False, resume: bool = False, retry_for_s: float = 60,
    url: str = "", marathon: str = "", at: str = "", dry_run: bool = False,
) -> Published:  # fmt: skip
    """Publish what the flags of `inv publish` say, and tell a person; empty ones mean the defaults of invoke.yaml.

    Raises:
        ClusterError: flags that do not fit, or as `publish_noting`.
    """
    _check(file, split)
    broker = broker_meant(settings, url, at, marathon, say)
    name = checked_name(queue or settings.queue.name)
    create = create or name == settings.queue.name
    target = Target(broker.url, name, create, headers_of(header), retry_for_s, broker.find, broker.service)
    if file == "-" and sys.stdin is None:
        raise ClusterError("--file -: STDIN is closed; pipe the messages in, or name a file")
    if file == "-" and sys.stdin.isatty():
        say("reading messages from the terminal, one a line; Ctrl-D ends")
    source = chosen(body, file, files, split)
    if source.left_out:
        say(f"left out, since they are no plain files: {source.left_out}")
    done = nothing = Published(name, 0, 0, 0)
    if dry_run and source.messages != 0:
        say(f"would publish {_described(source)} to {name!r} at {target.place}")
        return nothing
    if source.messages != 0:
        # What changes the messages: it must be the same when this is resumed.
        shaping = {
            "--null": split.separator == b"\0",
            "--lines-per-message": split.per_message,
            "--skip-empty": split.skip_empty,
            "--header": list(header),
        }
        done = _publish(source, target, broker, shaping, resume, say)
    if done.messages or source.messages:
        return done
    if not split.skip_empty:
        raise nothing_in(source.name)
    say(f"nothing to publish: {source.name} is empty")
    return nothing


def _check(file: str, split: Split) -> None:
    if split.per_message < 1:
        raise ClusterError(f"--lines-per-message {split.per_message}: give 1 or more")
    if not file and replace(split, skip_empty=False) != LINES:
        raise ClusterError("--null and --lines-per-message say how --file is cut; give --file")


def headers_of(pairs: Iterable[str]) -> dict[str, str]:
    """Read message headers from `name=value` texts."""
    headers = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if any("\ud800" <= char <= "\udfff" for char in pair):  # so come bytes of a command line that are not UTF-8
            raise ClusterError(f"--header {pair[:80]!r}: it is not UTF-8; put such bytes in the body")
        if not (name and equals) or len(name.encode()) > _LONGEST_NAME_BYTES:
            raise ClusterError(f"--header {pair[:80]!r}: write it as name=value")
        if name.startswith(_OWN_HEADERS):
            raise ClusterError(f"--header {name}: names that begin with {_OWN_HEADERS} are this project's own")
        if name in headers:
            raise ClusterError(f"--header {name}: it is given twice; a message has it once")
        headers[name] = value
    if sum(len(name.encode()) + len(value.encode()) for name, value in headers.items()) > _ALL_HEADERS_BYTES:
        raise ClusterError(f"--header: all together are over {_ALL_HEADERS_BYTES // 1024} KiB; put that in the body")
    return headers


def _publish(
    source: Source, target: Target, broker: Broker, shaping: dict[str, Any], resume: bool, say: Say
) -> Published:
    """Publish with a progress bar, and look meanwhile for policies that drop what the broker confirms nevertheless."""
    queue, found, note = target.queue, list[Future[list[str]]](), NoteFile(target.broker, target.queue)

    def look(failed: int) -> None:
        note.publishing(failed)
        found.append(in_background(lambda: policies.losses(broker.management(), queue, [queue], 0, 0)))

    with _shown(source) as advance_to:
        done = publish_noting(source, target, Watch(say, advance_to, begins=look), shaping, resume)
    note.published(done.messages)
    if source.messages or done.messages:
        say(f"published {done.messages:,} {_messages(done.messages)} to {queue!r} in {done.seconds:.1f} s")
        with suppress(ClusterError, TimeoutError):  # without an API nothing is said
            for line in found[0].result(broker.api_s) if found else ():
                say(line)
    return done


def _shown(source: Source) -> AbstractContextManager[Callable[[int], None]]:
    """Return the bar, which one message has none of: what draws it takes longer to load than that message."""
    if source.messages == 1:
        return nullcontext(lambda _: None)
    from cluster.terminal import bar

    return bar("published", source.messages)


def _described(source: Source) -> str:
    if source.messages is None:
        return f"what comes from {source.name}"
    largest = f"the largest has {source.largest_bytes:,} bytes ({source.place(source.largest_line)})"
    return f"{source.messages:,} {_messages(source.messages)} from {source.name}, {largest},"


def _messages(count: int) -> str:
    return "message" if count == 1 else "messages"
