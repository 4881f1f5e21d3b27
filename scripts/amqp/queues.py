"""The queues of this project on the wire: their names, their arguments, and the one way they are declared."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from scripts.amqp.broker import explain
from scripts.amqp.rights import refusal
from scripts.errors import ClusterError

# A pause is rounded up to one of these: a TTL expires only at the head of a queue, so there is one queue a pause.
PAUSES_S = (1, 2, 4, 8, 16, 32, 64)

# How long RabbitMQ waits for an acknowledgement before it takes the message back: longer than any action runs.
CONSUMER_TIMEOUT_MS = 30 * 24 * 3600 * 1000

# A worker takes a suspect from its queue in the moment it has put it there, if need be after a while on a busy machine.
_ALONE_S = 10

_LONGEST_SUFFIX = len(".retry.64s")

# After so many deliveries that nobody settled the broker itself puts a message into the failed queue. That is for one
# that it cannot even deliver: what takes workers down goes there by --attempts long before.
DELIVERY_LIMIT = 100

# Of the queues in which messages only wait: no limit. A true one (-1) makes RabbitMQ 4.0 write to its journal for ever.
_WAITING_LIMIT = 1_000_000

# AMQP's reply codes PRECONDITION_FAILED, ACCESS_REFUSED and NOT_FOUND.
_OTHER_ARGUMENTS = 406
_FORBIDDEN = 403
_NOT_THERE = 404

# Of a refusal: "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but current is 'stream'".
_STREAM = re.compile(r"x-queue-type.* but current is 'stream'")


class IsStream(ClusterError):
    """A stream keeps what was read: as a work queue it would never be empty, and grow with each retry."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is a stream, which cannot be a work queue: name another queue, or delete it")


@dataclass(frozen=True)
class Declaration:
    """A durable queue to be declared with these arguments."""

    name: str
    arguments: dict[str, Any]


def failed_queue(queue: str) -> str:
    """Where a message goes when its last attempt failed."""
    return f"{queue}.failed"


def alone_queue(queue: str) -> str:
    """Where a message goes that is to be run with nothing beside it; see scripts/worker/isolation.py."""
    return f"{queue}.alone"


def true_pause_s(wanted_s: float) -> int:
    """How long a message waits that is to wait so many seconds: rounded up to one of PAUSES_S."""
    return next((known for known in PAUSES_S if known >= wanted_s), PAUSES_S[-1])


def retry_queue(queue: str, pause_s: float) -> str:
    """Where a message waits `pause_s` seconds, rounded up to one of PAUSES_S, before it returns to `queue`."""
    return f"{queue}.retry.{true_pause_s(pause_s)}s"


def side_queues(queue: str) -> list[str]:
    """Return the queues in which messages of `queue` wait, to come back to it."""
    return [alone_queue(queue), *(retry_queue(queue, pause_s) for pause_s in PAUSES_S)]


def checked_name(queue: str) -> str:
    """A queue's name as it is.

    Raises:
        ClusterError: empty, with control characters, reserved by the broker or by this project, or too long to have
            a failed queue (AMQP's limit is 255 bytes).
    """
    problem = (
        "it is empty" if not queue
        else "it is not UTF-8" if any("\ud800" <= char <= "\udfff" for char in queue)
        else "it has control characters" if any(ord(char) < 32 or ord(char) == 127 for char in queue)
        else "names that begin with amq. are the broker's own" if queue.startswith("amq.")
        else f"it is longer than {255 - _LONGEST_SUFFIX} bytes" if len(queue.encode()) > 255 - _LONGEST_SUFFIX
        else ""
    )  # fmt: skip
    if problem:
        raise ClusterError(f"{queue!r} cannot be a queue's name: {problem}; use one such as myqueue")
    return queue


def work_declarations(queue: str, server: dict[str, Any]) -> list[Declaration]:
    """The work queue and its failed queue, for a broker with these server properties."""
    return [work_declaration(queue, server), failed_declaration(queue, server)]


def work_declaration(queue: str, server: dict[str, Any]) -> Declaration:
    """The work queue; from 4.0, which has a limit by itself and drops what is over it, with one that keeps it."""
    timeout = {"x-consumer-timeout": CONSUMER_TIMEOUT_MS} if version(server) >= (3, 12) else {}
    keeping = _dead_lettering(failed_queue(queue)) if has_limit(server) else {}
    return Declaration(queue, _quorum(server, DELIVERY_LIMIT) | keeping | timeout)


def failed_declaration(queue: str, server: dict[str, Any]) -> Declaration:
    """The failed queue of `queue`."""
    return Declaration(failed_queue(queue), _quorum(server))


def retry_declaration(queue: str, pause_s: float, server: dict[str, Any]) -> Declaration:
    """The queue in which messages of `queue` wait; the broker hands each back when its time is over."""
    return _returning(retry_queue(queue, pause_s), queue, true_pause_s(pause_s), server)


def alone_declaration(queue: str, server: dict[str, Any]) -> Declaration:
    """The queue of suspects; what nobody has in hand there goes back to `queue`."""
    return _returning(alone_queue(queue), queue, _ALONE_S, server)


def _returning(name: str, queue: str, after_s: int, server: dict[str, Any]) -> Declaration:
    return Declaration(name, _quorum(server) | {"x-message-ttl": after_s * 1000} | _dead_lettering(queue))


def _dead_lettering(queue: str) -> dict[str, Any]:
    # At-least-once dead-lettering needs reject-publish (RabbitMQ's quorum queue guide), else it is at-most-once.
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def declare(
    connection: Any,
    declarations: Sequence[Declaration],
    done: Callable[[ClusterError | None], None],
    warn: Callable[[str], None],
) -> None:
    """Declare the queues one after the other on an open, asynchronous pika connection.

    A queue that exists with other arguments is used as it is, after one `warn`, and one that we may not declare as
    well. `done` is called with None, or with why a queue cannot be used, or not at all when the connection is lost.
    """
    if not declarations:
        done(None)
        return
    wanted, *rest = declarations

    def next_one(problem: ClusterError | None) -> None:
        if problem:
            done(problem)
        else:
            declare(connection, rest, done, warn)

    _Declaring(connection, wanted, next_one, warn)


class _Declaring:
    """One queue being declared; `done` as for `declare`."""

    def __init__(
        self,
        connection: Any,
        wanted: Declaration,
        done: Callable[[ClusterError | None], None],
        warn: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._name = wanted.name
        self._done = done
        self._warn = warn
        _declare_one(connection, self._answered, wanted.name, durable=True, arguments=wanted.arguments)

    def _answered(self, answer: Any) -> None:
        if not isinstance(answer, BaseException):
            self._done(None)
        elif isinstance(answer, ChannelClosedByBroker):
            self._refused(answer)

    def _refused(self, reason: ChannelClosedByBroker) -> None:
        if is_stream(reason):
            self._done(IsStream(self._name))
        elif reason.reply_code == _OTHER_ARGUMENTS:
            self._warn(f"queue {self._name!r} is used as it is: {explain(reason)}")
            self._done(None)
        elif reason.reply_code == _FORBIDDEN:
            _declare_one(self._connection, lambda found: self._looked(found, reason), self._name, passive=True)
        else:
            self._fail(reason)

    def _looked(self, found: Any, forbidden: ChannelClosedByBroker) -> None:
        if isinstance(found, ChannelClosedByBroker) and found.reply_code == _NOT_THERE:
            self._fail(forbidden)
        elif isinstance(found, ChannelClosedByBroker):
            self._fail(found)
        else:
            self._answered(found)

    def _fail(self, reason: ChannelClosedByBroker) -> None:
        self._done(ClusterError(f"queue {self._name!r}: {refusal(reason, self._connection.params, self._name)}"))


def is_stream(refused: ChannelClosedByBroker) -> bool:
    """Whether a queue was refused since it exists as a stream."""
    return refused.reply_code == _OTHER_ARGUMENTS and bool(_STREAM.search(refused.reply_text))


def count_ready(connection: Any, names: Sequence[str], done: Callable[[int | None], None], so_far: int = 0) -> None:
    """How many messages are ready in these queues together, one that is not there counting as empty.

    `done` is called with the number, or with None when the connection is lost.
    """
    if not names:
        done(so_far)
        return
    name, *rest = names

    def answered(answer: Any) -> None:
        if isinstance(answer, ChannelClosedByBroker):
            count_ready(connection, rest, done, so_far)
        elif isinstance(answer, BaseException):
            done(None)
        else:
            count_ready(connection, rest, done, so_far + answer.method.message_count)

    _declare_one(connection, answered, name, passive=True)


def _declare_one(connection: Any, answered: Callable[[Any], None], name: str, **how: Any) -> None:
    """Declare on a channel of its own, which a refusal closes; gets the broker's answer or why the channel closed."""
    answers: list[Any] = []

    def closed(_channel: Any, reason: BaseException) -> None:
        if not answers:
            answers.append(reason)
            answered(reason)

    def opened(channel: Any) -> None:
        def declared(frame: Any) -> None:
            answers.append(frame)
            # A channel that is closing: the whole connection is, and nobody waits for the answer any more.
            if channel.is_open:
                channel.close()
                answered(frame)

        channel.queue_declare(name, callback=declared, **how)

    # From the first moment: a connection that is lost before the channel is open is an answer as well.
    connection.channel(on_open_callback=opened).add_on_close_callback(closed)


def _quorum(server: dict[str, Any], limit: int = _WAITING_LIMIT) -> dict[str, Any]:
    return {"x-queue-type": "quorum"} | ({"x-delivery-limit": limit} if has_limit(server) else {})


def has_limit(server: dict[str, Any]) -> bool:
    """Whether a quorum queue of this broker has a delivery limit (20) unless it is declared with another."""
    return version(server) >= (4, 0)


def version(server: dict[str, Any]) -> tuple[int, int]:
    """The broker's version by its server properties; (0, 0) when it does not say."""
    match = re.match(r"(\d+)\.(\d+)", str(server.get("version", "")))
    return (int(match[1]), int(match[2])) if match else (0, 0)
