"""The address of a cluster's queue, as Marathon has it, and the login there."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.components import QUEUE
from cluster.queue import login as queue_login
from cluster.queue.login import QueueLogin
from cluster.settings import Settings
from scripts.amqp.management import Management
from scripts.hostport import HostPort
from scripts.marathon.discovery import ask, pick


@dataclass(frozen=True)
class QueueAddress:
    """The address of a queue; `login` is None where it is open to guest."""

    address: HostPort
    management_address: HostPort
    login: QueueLogin | None

    @property
    def url(self) -> str:
        """The URL for AMQP, with user and password."""
        return queue_login.url(self.address, self.login)

    @property
    def management(self) -> Management:
        """RabbitMQ's API, to be asked as the same user."""
        user, password = (self.login.user, self.login.password) if self.login else ("guest", "guest")
        return Management(f"http://{self.management_address}", user, password, "/")


def find(settings: Settings, marathon: str) -> QueueAddress:
    """Ask Marathon (`host:port[,host:port]`) for the queue.

    Raises:
        ServiceAway: Marathon cannot be reached.
        ClusterError: the queue does not run there, or has a login that this machine does not know.
    """
    return ask(
        marathon,
        QUEUE.app_id,
        lambda app: QueueAddress(pick(app, "amqp"), pick(app, "management"), queue_login.of_queue(settings, app)),
    )
