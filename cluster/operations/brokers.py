"""The broker that flags mean: named by its URL, or the queue that runs on an engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from cluster.components import QUEUE
from cluster.schedulers import Say, Scheduler, selection
from cluster.settings import Settings
from scripts.amqp.broker import parameters
from scripts.amqp.management import Management, management_of
from scripts.errors import ClusterError
from scripts.hostport import HostPort

if TYPE_CHECKING:
    from cluster.queue.login import QueueAddress

# How long the management API may take where it must be, and where it may be at the usual port, or not at all.
_KNOWN_API_S = 20.0
_GUESSED_API_S = 2.0


class Broker(NamedTuple):
    """A broker: its URL, its management API, and how it is found again when it has moved."""

    url: str
    management: Callable[[], Management]
    find: Callable[[], str] | None = None
    service: str = ""
    api_s: float = _KNOWN_API_S


def broker_meant(settings: Settings, url: str, at: str, marathon: str, say: Say) -> Broker:
    """Return the broker of -u, else the queue of the engine that is meant, which may move where that has hosts."""
    if url and (marathon or at):
        raise ClusterError(f"-u and {'-m' if marathon else '--at'} both say where the queue is: give one")
    if url:
        return Broker(url, lambda: management_of(parameters(url), None), api_s=_GUESSED_API_S)
    choice = selection.chosen(settings, at, marathon)
    if choice.is_here:
        return Broker(settings.queue.url, lambda: settings.queue.management)
    engine = selection.connect(settings, choice, say)
    there = queue_at(settings, engine)
    service = f"{QUEUE.app_id} of {engine.place}"
    return Broker(there.url, lambda: there.management, lambda: queue_at(settings, engine).url, service)


def queue_at(settings: Settings, engine: Scheduler) -> QueueAddress:
    """Ask an engine for the queue; on this machine it is on the ports of the settings, whoever runs it.

    Raises:
        ServiceAway: the engine cannot be reached.
        ClusterError: the queue does not run there, or has a login that this machine does not know.
    """
    from cluster.queue.login import QueueAddress, login_of

    if engine.is_here:
        queue = settings.queue
        return QueueAddress(HostPort("127.0.0.1", queue.port), HostPort("127.0.0.1", queue.management_port), None)
    amqp = engine.address_of(QUEUE.app_id, "amqp")
    web = engine.address_of(QUEUE.app_id, "management")
    return QueueAddress(amqp, web, login_of(settings, engine.present(QUEUE.app_id)))


def queue_url(settings: Settings, at: str, marathon: str, say: Say) -> str:
    """Return the URL of the queue that flags and invoke.yaml mean, with its login."""
    return broker_meant(settings, "", at, marathon, say).url
