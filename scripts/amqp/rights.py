"""The rights of a user at the broker: a missing one in words, with the command that gives it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

from pika import SelectConnection
from pika.exceptions import ChannelClosedByBroker

from scripts.amqp.broker import explain

# AMQP's reply code ACCESS_REFUSED.
FORBIDDEN = 403

_BESIDE = re.compile(r"\.(failed|alone|retry\.\d+s)$")

# A name that no queue can have.
_NOWHERE = "amq.nowhere"


def refusal(reason: ChannelClosedByBroker, parameters: Any, name: str) -> str:
    """Explain a refusal; for a missing right with the command that gives a worker all it needs.

    `parameters` are the connection's, `name` is the work queue or one that belongs to it.
    """
    if reason.reply_code != FORBIDDEN:
        return explain(reason)
    queues = rf"^{re.escape(_BESIDE.sub('', name))}(\.failed|\.alone|\.retry\.\d+s)?$"
    words = ["rabbitmqctl", "set_permissions", "-p", parameters.virtual_host, parameters.credentials.username]
    words += [queues, r"^amq\.default$", queues]
    return f"{explain(reason)}; a worker needs (add it to what the user may do now): {shlex.join(words)}"


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
