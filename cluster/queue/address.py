"""The queue of a cluster as Marathon has it: where it answers, and with which login."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.components import QUEUE
from cluster.queue import login as queue_login
from cluster.queue.login import QueueLogin
from cluster.schedulers import selection
from cluster.settings import Settings
from scripts.amqp.broker import credentials
from scripts.amqp.management import Management
from scripts.errors import ClusterError
from scripts.hostport import HostPort
from scripts.marathon.discovery import discover


@dataclass(frozen=True)
class QueueThere:
    """Where the queue answers; `login` is None where it is open to guest."""

    address: HostPort
    management_address: HostPort
    login: QueueLogin | None

    @property
    def url(self) -> str:
        """For AMQP, with user and password."""
        return queue_login.url(self.address, self.login)

    @property
    def management(self) -> Management:
        """RabbitMQ's API, to be asked as the same user."""
        user, password = (self.login.user, self.login.password) if self.login else ("guest", "guest")
        return Management(f"http://{self.management_address}", user, password, "/")


def find(settings: Settings, marathon: str, environ: Mapping[str, str] = os.environ) -> QueueThere:
    """Ask Marathon (`host:port[,host:port]`) for the queue.

    Raises:
        ServiceAway: Marathon cannot be reached.
        ClusterError: the queue does not run there, or has a login that this machine does not know.
    """
    address = discover(marathon, QUEUE.app_id, port_name="amqp", environ=environ)
    management = discover(marathon, QUEUE.app_id, port_name="management", environ=environ)
    return QueueThere(address, management, login_of(settings, _definition(marathon, environ), environ))


def url(settings: Settings, marathon: str) -> str:
    """The URL of the queue that -m and invoke.yaml mean: on a cluster, else on this machine."""
    where = selection.marathon_of(settings, marathon)
    return find(settings, where).url if where else settings.queue.url


def login_of(
    settings: Settings, definition: Mapping[str, Any], environ: Mapping[str, str] = os.environ
) -> QueueLogin | None:
    """The login of a queue with this definition: AMQP_USER and AMQP_PASSWORD(_FILE), else the one kept; None for guest.

    Raises:
        ClusterError: the one kept is another, or there is none.
    """
    user, password = credentials("", environ)
    if password:
        return QueueLogin(user or queue_login.USER, password, salt="", id="")
    wanted = queue_login.id_in(definition)
    if not wanted:
        return None
    kept = queue_login.known(settings)
    if kept is None or kept.id != wanted:
        raise ClusterError(
            f"{queue_login.place(settings)}: the login of the queue ({wanted}) is not here, since it was deployed from "
            "elsewhere: copy this file from there, or set AMQP_USER and AMQP_PASSWORD_FILE"
        )
    return kept


def _definition(marathon: str, environ: Mapping[str, str]) -> Mapping[str, Any]:
    from scripts.marathon.api import Marathon

    return Marathon(marathon, "", 10, environ).app(QUEUE.app_id)
