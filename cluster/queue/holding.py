"""The hold on a failed queue: for one process at a time, and only where to look loses nothing."""

from __future__ import annotations

import getpass
import os
import shlex
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pika import BlockingConnection
from pika.exceptions import AMQPError, ChannelClosedByBroker

from cluster.interrupts import Signals
from cluster.queue.held import Held, look, losses
from scripts.amqp.broker import broker_errors, parameters, redacted
from scripts.amqp.fields import keep_fields
from scripts.amqp.management import Management
from scripts.amqp.policies import delivery_limit
from scripts.amqp.queues import failed_queue, has_limit, lock_of, owner_of, queue_arguments
from scripts.errors import ClusterError

_WAIT_S = 10.0
_LOOK_EVERY_S = 0.2

# What returned as often as its queue's delivery limit says is dropped; to look is to deliver, and to return.
_LEAST_LIMIT = 1000

_USUAL_LIMIT = 20  # of RabbitMQ from 4.0 on

# AMQP's reply codes RESOURCE_LOCKED and PRECONDITION_FAILED.
_LOCKED = 405
_OTHER_ARGUMENTS = 406

# Asks the management API, and returns None where there is none.
Ask = Callable[[Callable[[Management], Any]], Any]


@contextmanager
def held(
    url: str, queue: str, doing: str, ask: Ask, say: Callable[[str], None], flags: str = ""
) -> Iterator[Held]:  # fmt: skip
    """Hold the failed queue of a work queue.

    `doing` says to others who is in their way; `flags` mean the broker in a command line.

    Raises:
        ClusterError: no such queue, or another process takes from its failed queue, or to look would lose messages.
        ServiceAway: no broker, or it is lost.
        Interrupted: a signal came; all has been settled first, so that nothing that has a copy returns.
    """
    keep_fields()  # what goes back is to be as it came
    how = parameters(url)
    me = f"{getpass.getuser()}@{socket.gethostname()}, pid {os.getpid()}"
    how.client_properties = {"connection_name": f"{doing} of {queue!r}, {me}"}
    with broker_errors(url):
        connection = BlockingConnection(how)
    try:
        with losses(url):
            lock = Lock(connection, url, failed_queue(queue), ask)
            one = Held(connection, url, lock.name, lock.wait(say) if lock.find(queue, flags) else 0)
        with Signals() as signals:
            try:
                yield one
            finally:
                with losses(url):
                    one.give_back()
                _close(connection)
        if signals.came:
            raise signals.came("interrupted")
    finally:
        _close(connection)


def _close(connection: Any) -> None:
    # The second signal of an impatient person may have cut pika off amid its work, of which AttributeErrors come.
    with suppress(AMQPError, AttributeError):
        connection.close()


class Lock:
    """A queue of this connection's own that is there while the failed queue `name` is held.

    Quorum queues take no notice of an exclusive subscription (RabbitMQ 4.0).
    """

    def __init__(self, connection: Any, url: str, name: str, ask: Ask) -> None:
        self.name = name
        self._connection, self._url, self._ask = connection, url, ask
        self._is_taken = False

    def find(self, queue: str, flags: str) -> bool:
        """Tell whether there is anything to hold.

        Raises:
            ClusterError: there is no such queue, or it is no work queue.
        """
        found = self._look(self.name)
        if found is None and queue != (work := owner_of(queue)):
            raise ClusterError(f"-q {queue!r}: it has messages of {work!r}; give -q {shlex.quote(work)}")
        if found is None and self._look(queue) is None:
            shows = f"./inv queue.list{flags} shows which there are"
            raise ClusterError(f"no queue {queue!r} at {redacted(self._url)}: {shows}")
        return bool(found and (found.message_count or found.consumer_count))

    def wait(self, say: Callable[[str], None]) -> int:
        """Wait until nobody else holds the queue, or takes from it; return how many messages are in it."""
        self._check_limit()
        deadline = time.monotonic() + _WAIT_S
        is_said = False
        while True:
            self._is_taken = self._is_taken or self._take()
            found = self._look(self.name)
            if self._is_taken and not (found and found.consumer_count):
                return found.message_count if found else 0
            if time.monotonic() > deadline:
                raise ClusterError(self._in_the_way())
            if not is_said and time.monotonic() > deadline - _WAIT_S + 1:
                is_said = True
                say(f"another process has {self.name!r} in hand: waiting up to {_WAIT_S:.0f} s")
            self._connection.sleep(_LOOK_EVERY_S)

    def _take(self) -> bool:
        try:
            channel = self._connection.channel()
            channel.queue_declare(lock_of(self.name), exclusive=True, arguments={"x-queue-type": "classic"})
        except ChannelClosedByBroker as refused:
            # A user who may make no queues sees others by what they take.
            return bool(refused.reply_code != _LOCKED)
        return True

    def _look(self, name: str) -> Any:
        return look(self._connection, name, self._url)

    def _in_the_way(self) -> str:
        who = " and ".join(self._ask(lambda management: management.consumers(self.name)) or ["another process"])
        return f"{self.name!r} is in the hands of {who}: wait until that is done, or stop it, and try again"

    def _check_limit(self) -> None:
        """Refuse a queue out of which the broker would drop what it has delivered a few times."""
        limit = self._ask(lambda management: delivery_limit(management, self.name))
        if limit is None and not self._is_ours():
            limit = _USUAL_LIMIT
        if limit is not None and limit < _LEAST_LIMIT:
            raise ClusterError(
                f"{self.name!r} has a delivery limit of {limit}, and drops what was looked at so often: ./inv "
                "queue.run-local or queue.deploy of its broker sets ours, as does a policy with delivery-limit 1000000"
            )

    def _is_ours(self) -> bool:
        """Tell whether the queue has the limit that we declare, or its broker has none."""
        server = self._connection._impl.server_properties
        arguments = queue_arguments(owner_of(self.name), server)[self.name]
        try:
            self._connection.channel().queue_declare(self.name, durable=True, arguments=arguments)
        except ChannelClosedByBroker as refused:
            return not has_limit(server) or refused.reply_code != _OTHER_ARGUMENTS
        return True
