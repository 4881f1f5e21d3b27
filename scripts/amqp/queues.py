"""The queues on the wire: their names, their arguments, the one way they are declared, and the rights that it needs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pika import SelectConnection
from pika.exceptions import ChannelClosedByBroker

from scripts.amqp.broker import explain
from scripts.errors import ClusterError

# A pause is rounded up to one of these: a TTL expires only at the head of a queue, so there is one queue a pause.
PAUSES_S = (1, 2, 4, 8, 16, 32, 64)

# How long RabbitMQ waits for an acknowledgement before it takes the message back: longer than any action runs.
CONSUMER_TIMEOUT_MS = 30 * 24 * 3600 * 1000

# A worker takes a suspect from its queue in the moment it has put it there, if need be after a while on a busy machine.
_ALONE_S = 10

# Of a name, which AMQP limits to 255 bytes.
_LONGEST_SUFFIX = len(".results.01234567")

# After so many deliveries that nobody settled the broker itself puts a message into the failed queue. That is for one
# that it cannot even deliver: what takes workers down goes there by --attempts long before.
DELIVERY_LIMIT = 100

# Of the queues in which messages only wait: no limit. A true one (-1) makes RabbitMQ 4.0 write to its journal for ever.
_WAITING_LIMIT = 1_000_000

# AMQP's reply codes ACCESS_REFUSED, NOT_FOUND and PRECONDITION_FAILED.
_FORBIDDEN = 403
NOT_THERE = 404
_OTHER_ARGUMENTS = 406

# Of a refusal: "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but current is 'stream'".
_STREAM = re.compile(r"x-queue-type.* but current is 'stream'")

_BESIDE = re.compile(r"\.(failed|alone|paused|retry\.\d+s|worker\.[0-9a-f]{8})$")
_INBOX = re.compile(r"\.worker\.[0-9a-f]{8}$")

_RESULTS = re.compile(r"(.+)\.results\.([0-9a-f]{8})", re.DOTALL)

# A name that no queue can have.
_NOWHERE = "amq.nowhere"


class IsStream(ClusterError):
    """A stream keeps what was read: it would never be empty, and as a work queue grow with each retry."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is a stream, which is never empty: name another queue, or delete it")


def failed_queue(queue: str) -> str:
    """Return the queue where a message goes when its last attempt failed."""
    return f"{queue}.failed"


def lock_of(failed: str) -> str:
    """Return the queue that is there while somebody looks at a failed queue, or moves what is in it."""
    return f"{failed}.held"


def alone_queue(queue: str) -> str:
    """Return the queue where a message goes that is to be run alone; see scripts/worker/isolation.py."""
    return f"{queue}.alone"


def results_queue(queue: str, run: str) -> str:
    """Return the queue to which the workers of `queue` send the results of a run (8 hexadecimal digits)."""
    return f"{queue}.results.{run}"


def paused_queue(queue: str) -> str:
    """Return the queue that is there as long as `queue` is paused; it says so to workers that start, and is empty."""
    return f"{queue}.paused"


def inbox(queue: str, number: str) -> str:
    """Return the queue, of one worker (8 hexadecimal digits), by which it is asked how it is."""
    return f"{queue}.worker.{number}"


def is_inbox(name: str) -> bool:
    """Tell whether a queue is a worker's own, with no work in it."""
    return bool(_INBOX.search(name))


def run_of(name: str) -> tuple[str, str] | None:
    """Return the work queue and the run of a queue of results; None where it is another queue."""
    match = _RESULTS.fullmatch(name)
    return (match[1], match[2]) if match else None


def owner_of(name: str) -> str:
    """Return the work queue to which a failed queue, or one in which messages wait, belongs; else the name itself."""
    return _BESIDE.sub("", name)


def results_arguments(server: dict[str, Any], most_bytes: int | None = None) -> dict[str, Any]:
    """Return the arguments of a queue of results; one that holds `most_bytes` takes no more until some are fetched."""
    bounded = {} if most_bytes is None else {"x-max-length-bytes": most_bytes, "x-overflow": "reject-publish"}
    return _quorum(server) | bounded


def marker_arguments(server: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the queue that marks another one as paused."""
    return _quorum(server)


def _quorum(server: dict[str, Any], limit: int = _WAITING_LIMIT) -> dict[str, Any]:
    return {"x-queue-type": "quorum"} | ({"x-delivery-limit": limit} if has_limit(server) else {})


def true_pause_s(wanted_s: float) -> int:
    """Round a pause up to one of PAUSES_S."""
    return next((known for known in PAUSES_S if known >= wanted_s), PAUSES_S[-1])


def retry_queue(queue: str, pause_s: float) -> str:
    """Return the queue where a message waits for the rounded-up pause before it returns to `queue`."""
    return f"{queue}.retry.{true_pause_s(pause_s)}s"


def side_queues(queue: str) -> list[str]:
    """Return the queues in which messages of `queue` wait, to come back to it."""
    return [alone_queue(queue), *(retry_queue(queue, pause_s) for pause_s in PAUSES_S)]


def checked_name(queue: str) -> str:
    """Return a queue's name as it is."""
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


def queue_arguments(queue: str, server: dict[str, Any], results: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the arguments of each queue for messages of `queue`, for a broker with these server properties.

    `results` is one of a worker's own, for what comes of them.
    From 4.0 the work queue has a delivery limit that keeps what is over it, which the broker's own would drop.
    """
    failed = failed_queue(queue)
    work = _quorum(server, DELIVERY_LIMIT) | (_dead_lettering(failed) if has_limit(server) else {})
    if version(server) >= (3, 12):
        work["x-consumer-timeout"] = CONSUMER_TIMEOUT_MS
    back_after_s = {alone_queue(queue): _ALONE_S} | {retry_queue(queue, pause_s): pause_s for pause_s in PAUSES_S}
    found = {queue: work, failed: _quorum(server)} | {
        name: _quorum(server) | {"x-message-ttl": after_s * 1000} | _dead_lettering(queue)
        for name, after_s in back_after_s.items()
    }
    return found | ({results: results_arguments(server)} if results else {})


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
    arguments: Mapping[str, dict[str, Any]],
    done: Callable[[ClusterError | None], None],
    warn: Callable[[str], None],
) -> None:
    """Declare durable queues, by name, one after the other on an open, asynchronous pika connection.

    A queue that exists with other arguments is used as it is, after one `warn`, and one that we may not declare as
    well. `done` is called with None, or with why a queue cannot be used, or not at all when the connection is lost.
    """
    if not arguments:
        done(None)
        return
    (name, of_this), *rest = arguments.items()

    def declared(problem: ClusterError | None) -> None:
        if problem:
            done(problem)
        else:
            declare(connection, dict(rest), done, warn)

    def answered(answer: Any) -> None:
        if isinstance(answer, ChannelClosedByBroker):
            _refused(connection, name, answer, declared, warn)
        elif not isinstance(answer, BaseException):
            declared(None)

    declare_alone(connection, answered, name, durable=True, arguments=of_this)


def _refused(
    connection: Any, name: str, reason: ChannelClosedByBroker, declared: Callable[..., None], warn: Callable[..., None]
) -> None:
    def looked(found: Any) -> None:
        if not isinstance(found, BaseException):
            declared(None)
        elif isinstance(found, ChannelClosedByBroker):
            fail(reason if found.reply_code == NOT_THERE else found)

    def fail(reason: ChannelClosedByBroker) -> None:
        declared(ClusterError(f"queue {name!r}: {refusal(reason, connection.params, name)}"))

    if reason.reply_code == _FORBIDDEN:
        declare_alone(connection, looked, name, passive=True)
    elif reason.reply_code != _OTHER_ARGUMENTS:
        fail(reason)
    elif _STREAM.search(reason.reply_text):
        declared(IsStream(name))
    else:
        warn(f"queue {name!r} is used as it is: {explain(reason)}")
        declared(None)


def refusal(reason: ChannelClosedByBroker, parameters: Any, name: str) -> str:
    """Explain a refusal; for a missing right with the command that gives a worker all it needs.

    `parameters` are the connection's, `name` is the work queue or one that belongs to it.
    """
    if reason.reply_code != _FORBIDDEN:
        return explain(reason)
    queue = re.escape(owner_of(name))
    inboxes = rf"{queue}\.worker\.\w+"
    queues = rf"{queue}(\.failed|\.alone|\.retry\.\d+s)?|{inboxes}"
    words = ["rabbitmqctl", "set_permissions", "-p", parameters.virtual_host, parameters.credentials.username]
    words += [f"^({queues})$", rf"^(amq\.default|{inboxes})$", rf"^(amq\.direct|{queues})$"]
    return f"{explain(reason)}; a worker needs (add it to what the user may do now): {shlex.join(words)}"


@dataclass(frozen=True)
class Counted:
    """Messages that are ready, and consumers; a quorum queue counts each that holds messages, cancelled or not."""

    ready: int = 0
    consumers: int = 0


def count(
    connection: Any, names: Sequence[str], done: Callable[[Counted | None], None], so_far: Counted = Counted()
) -> None:
    """Count all of these queues together, one that is not there counting as empty.

    `done` is called with the numbers, or with None when the connection is lost.
    """
    if not names:
        done(so_far)
        return
    name, *rest = names

    def answered(answer: Any) -> None:
        if isinstance(answer, ChannelClosedByBroker):
            count(connection, rest, done, so_far)
        elif isinstance(answer, BaseException):
            done(None)
        else:
            found = answer.method
            more = Counted(so_far.ready + found.message_count, so_far.consumers + found.consumer_count)
            count(connection, rest, done, more)

    declare_alone(connection, answered, name, passive=True)


def declare_alone(connection: Any, answered: Callable[[Any], None], name: str, **how: Any) -> None:
    """Declare a queue on a channel of its own, which a refusal closes.

    `answered` gets the broker's answer, or why the channel closed.
    """
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


def has_limit(server: dict[str, Any]) -> bool:
    """Tell whether a quorum queue of this broker has a delivery limit (20) unless it is declared with another."""
    return version(server) >= (4, 0)


def version(server: dict[str, Any]) -> tuple[int, int]:
    """Return the broker's version by its server properties; (0, 0) when it does not say."""
    match = re.match(r"(\d+)\.(\d+)", str(server.get("version", "")))
    return (int(match[1]), int(match[2])) if match else (0, 0)


def try_publishing(loop: Any, parameters: Any, tried: Callable[[ChannelClosedByBroker | None], None]) -> None:
    """Call `tried` with the broker's refusal to let this user publish to queues, or with None.

    On a connection of its own: in a memory or disk alarm the broker reads no more from one that has published, and it
    is not known then (None).
    """
    answers: list[ChannelClosedByBroker | None] = []

    def answer(refused: ChannelClosedByBroker | None = None) -> None:
        if not answers:
            answers.append(refused)
            if connection.is_open:
                connection.close()
            tried(refused)

    def opened(_connection: Any) -> None:
        connection.add_on_connection_blocked_callback(lambda *_: answer())
        connection.channel(on_open_callback=publish)

    def publish(channel: Any) -> None:
        channel.add_on_close_callback(closed)
        channel.confirm_delivery(lambda _frame: answer())
        channel.basic_publish("", _NOWHERE, b"")

    def closed(_channel: Any, reason: BaseException) -> None:
        answer(reason if isinstance(reason, ChannelClosedByBroker) else None)

    connection = SelectConnection(
        parameters,
        on_open_callback=opened,
        on_open_error_callback=lambda *_: answer(),
        on_close_callback=lambda *_: answer(),
        custom_ioloop=loop,
    )
