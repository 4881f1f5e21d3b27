"""The queue of an engine: where it answers, and with which login."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from cluster.apps.app import AppSpec
from cluster.components import QUEUE
from cluster.queue import login as queue_login
from cluster.queue.login import QueueLogin
from cluster.settings import Settings
from scripts.amqp.management import Management
from scripts.hostport import HostPort


class QueueEngine(Protocol):
    """The part of an engine (`cluster.schedulers.Scheduler`) that knows its queue."""

    is_here: bool

    def present(self, app_id: str) -> AppSpec | None:
        """Return the app."""

    def address_of(self, app_id: str, port_name: str = "") -> HostPort:
        """Return the address of a port of it."""


@dataclass(frozen=True)
class QueueAddress:
    """The address of a queue; `login` is None where it is open to guest."""

    amqp: HostPort
    web: HostPort
    login: QueueLogin | None

    @property
    def url(self) -> str:
        """The URL for AMQP, with user and password, for the standard tools; without a login as guest."""
        login = self.login
        user = f"{quote(login.user, safe='')}:{quote(login.password, safe='')}@" if login else ""
        return f"amqp://{user}{self.amqp}"

    @property
    def management(self) -> Management:
        """RabbitMQ's API, to be asked as the same user."""
        user, password = (self.login.user, self.login.password) if self.login else ("guest", "guest")
        return Management(f"http://{self.web}", user, password, "/")


def find(settings: Settings, engine: QueueEngine, environ: Mapping[str, str] = os.environ) -> QueueAddress:
    """Ask an engine for the queue; on this machine it is on the ports of the settings, whoever runs it.

    Raises:
        ServiceAway: the engine cannot be reached.
        ClusterError: the queue does not run there, or has a login that this machine does not know.
    """
    if engine.is_here:
        queue = settings.queue
        return QueueAddress(HostPort("127.0.0.1", queue.port), HostPort("127.0.0.1", queue.management_port), None)
    amqp = engine.address_of(QUEUE.app_id, "amqp")
    web = engine.address_of(QUEUE.app_id, "management")
    return QueueAddress(amqp, web, queue_login.login_of(settings, engine.present(QUEUE.app_id), environ))
