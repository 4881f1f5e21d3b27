"""Publishing by flags: from a source to a queue, with a progress bar, to be resumed when interrupted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

from cluster.components import QUEUE
from cluster.queue import address as queue_address
from cluster.queue.publishing.confirms import Target
from cluster.queue.publishing.items import Split
from cluster.queue.publishing.messages import headers_of
from cluster.queue.publishing.policy_look import PolicyLook
from cluster.queue.publishing.publish import Published, publish_noting
from cluster.queue.publishing.publisher import Watch
from cluster.queue.publishing.sources import Source, chosen, nothing_in
from cluster.schedulers import Say, selection
from cluster.settings import Settings
from cluster.terminal import progress
from scripts.amqp.broker import parameters
from scripts.amqp.management import Management, management_of
from scripts.amqp.queues import checked_name
from scripts.errors import ClusterError

# How long the management API may take where it must be, and where it may be at the usual port, or not at all.
_KNOWN_API_S = 20.0
_GUESSED_API_S = 2.0


@dataclass(frozen=True)
class Request:
    """The flags of `inv publish`; empty ones mean the defaults of invoke.yaml."""

    body: str | None = None
    file: str = ""
    files: str = ""
    null: bool = False
    lines_per_message: int = 1
    skip_empty: bool = False
    header: Sequence[str] = ()
    queue: str = ""
    create: bool = False
    resume: bool = False
    retry_for_s: float = 60
    url: str = ""
    marathon: str = ""
    at: str = ""
    dry_run: bool = False

    @property
    def split(self) -> Split:
        """The way in which a file is cut."""
        return Split(b"\0" if self.null else b"\n", self.lines_per_message, self.skip_empty)

    @property
    def shaping(self) -> dict[str, Any]:
        """The flags that change what is sent, by name."""
        return {
            "--null": self.null,
            "--lines-per-message": self.lines_per_message,
            "--skip-empty": self.skip_empty,
            "--header": list(self.header),
        }


def run(settings: Settings, request: Request, say: Say) -> Published:
    """Publish what the flags say, and tell a person.

    Raises:
        ClusterError: flags that do not fit, or as `publish_noting`.
    """
    _check(request)
    broker = _broker(settings, request, say)
    target = Target(
        url=broker.url,
        find=broker.find,
        service=broker.service,
        queue=checked_name(request.queue or settings.queue.name),
        create=request.create or (request.queue or settings.queue.name) == settings.queue.name,
        headers=headers_of(request.header),
        retry_for_s=request.retry_for_s,
    )
    if request.file == "-":
        _look_at_stdin(say)
    source = chosen(request.body, request.file, request.files, request.split)
    if source.left_out:
        say(f"left out, since they are no plain files: {source.left_out}")
    if source.is_empty:
        return _nothing(source, target, say)
    if request.dry_run:
        say(f"would publish {_described(source)} to {target.queue!r} at {target.place}")
        return Published(target.queue, 0, 0, 0)
    look = PolicyLook(broker.management, target.queue, _GUESSED_API_S if request.url else _KNOWN_API_S)
    with _bar(source) as advance_to:
        watch = Watch(say, advance_to, begins=look.start)
        done = publish_noting(source, target, watch, request.shaping, request.resume)
    if not source.scan and not done.messages:
        if not request.skip_empty:
            raise nothing_in(source.name)
        return _nothing(source, target, say)
    say(f"published {done.messages:,} {_messages(done.messages)} to {done.queue!r} in {done.seconds:.1f} s")
    look.tell(say)
    return done


def _look_at_stdin(say: Say) -> None:
    if sys.stdin is None:
        raise ClusterError("--file -: STDIN is closed; pipe the messages in, or name a file")
    if sys.stdin.isatty():
        say("reading messages from the terminal, one a line; Ctrl-D ends")


def _nothing(source: Source, target: Target, say: Say) -> Published:
    """Say that a source has no message, which --skip-empty allows."""
    say(f"nothing to publish: {source.name} is empty")
    return Published(target.queue, 0, 0, 0)


class _Broker(NamedTuple):
    """A broker: its URL, its management API, and how it is found again when it has moved."""

    url: str
    management: Callable[[], Management]
    find: Callable[[], str] | None = None
    service: str = ""


def _broker(settings: Settings, request: Request, say: Say) -> _Broker:
    """Return the broker of -u, else the queue of the engine that is meant, which may move where that has hosts."""
    if request.url:
        return _Broker(request.url, lambda: management_of(parameters(request.url), None))
    place = selection.where(settings, request.at, request.marathon)
    if place.is_here:
        return _Broker(settings.queue.url, lambda: settings.queue.management)
    engine = selection.scheduler(settings, place, say)
    there = queue_address.find(settings, engine)
    service = f"{QUEUE.app_id} of {engine.place}"
    return _Broker(there.url, lambda: there.management, lambda: queue_address.find(settings, engine).url, service)


def queue_url(settings: Settings, at: str, marathon: str, say: Say) -> str:
    """Return the URL of the queue that flags and invoke.yaml mean, with its login."""
    return _broker(settings, Request(at=at, marathon=marathon), say).url


def _bar(source: Source) -> AbstractContextManager[Callable[[int], None]]:
    """Return a progress bar for what can be long; one message has none."""
    if source.scan and source.scan.messages == 1:
        return nullcontext(lambda messages: None)
    return progress.bar("published", source.scan.messages if source.scan else None)


def _check(request: Request) -> None:
    if request.url and (request.marathon or request.at):
        raise ClusterError(f"-u and {'-m' if request.marathon else '--at'} both say where the queue is: give one")
    if request.lines_per_message < 1:
        raise ClusterError(f"--lines-per-message {request.lines_per_message}: give 1 or more")
    if not request.file and (request.null or request.lines_per_message > 1):
        raise ClusterError("--null and --lines-per-message say how --file is cut; give --file")


def _described(source: Source) -> str:
    if not source.scan:
        return f"what comes from {source.name}"
    scan = source.scan
    largest = f"the largest has {scan.largest_bytes:,} bytes ({source.place(scan.largest_line)})"
    return f"{scan.messages:,} {_messages(scan.messages)} from {source.name}, {largest},"


def _messages(count: int) -> str:
    return "message" if count == 1 else "messages"
