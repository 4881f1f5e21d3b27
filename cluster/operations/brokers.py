"""The broker that flags mean: named by its URL, or the queue that runs on an engine."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from cluster.components import QUEUE
from cluster.schedulers import Say, Scheduler, selection
from cluster.settings import Settings
from scripts.amqp.broker import parameters, redacted
from scripts.amqp.management import Management, management_of
from scripts.errors import ClusterError
from scripts.hostport import HostPort

if TYPE_CHECKING:
    from cluster.queue.login import QueueAddress

# How long the management API may take where it must be, and where it may be at the usual port, or not at all.
_KNOWN_API_S = 20.0
_GUESSED_API_S = 2.0


class Broker(NamedTuple):
    """A broker: its URL, its management API, and how it is found again when it has moved.

    `last_found` tells the URL at which it was found last; None for one that does not move. `flags` mean it in a command
    line that is suggested, as `flags_of` returns them.
    """

    url: str
    management: Callable[[], Management]
    find: Callable[[], str] | None = None
    service: str = ""
    api_s: float = _KNOWN_API_S
    last_found: Callable[[], str] | None = None
    flags: str = ""

    def url_now(self) -> str:
        """Return its URL as it is known now."""
        return self.last_found() if self.last_found else self.url


class _Moving:
    """The queue of an engine that may start it elsewhere, as it was found last."""

    def __init__(self, settings: Settings, engine: Scheduler) -> None:
        self._settings, self._engine = settings, engine
        self.found = queue_at(settings, engine)

    def find(self) -> str:
        """Look for it again, and return its URL."""
        self.found = queue_at(self._settings, self._engine)
        return self.found.url


def flags_of(at: str, marathon: str, url: str) -> str:
    """Return the flags that say which broker, for a command line, each with a blank before; without a login."""
    given = (("--at", at), ("-m", marathon), ("-u", url and redacted(url)))
    return "".join(f" {flag} {shlex.quote(value)}" for flag, value in given if value)


def broker_meant(settings: Settings, url: str, at: str, marathon: str, say: Say) -> Broker:
    """Return the broker of -u, else the queue of the engine that is meant, which may move where that has hosts."""
    if url and (marathon or at):
        raise ClusterError(f"-u and {'-m' if marathon else '--at'} both say where the queue is: give one")
    flags = flags_of(at, marathon, url)
    if url:
        return Broker(url, lambda: management_of(parameters(url), None), api_s=_GUESSED_API_S, flags=flags)
    choice = selection.chosen(settings, at, marathon)
    if choice.is_here:
        return Broker(settings.queue.url, lambda: settings.queue.management, flags=flags)
    engine = selection.connect(settings, choice, say)
    queue, service = _Moving(settings, engine), f"{QUEUE.app_id} of {engine.place}"
    return Broker(
        queue.found.url, lambda: queue.found.management, queue.find, service, last_found=lambda: queue.found.url,
        flags=flags,
    )  # fmt: skip


def queue_at(settings: Settings, engine: Scheduler) -> QueueAddress:
    """Ask an engine for the queue, and return where this machine reaches it; raises as `own_address`."""
    there = own_address(settings, engine)
    return replace(there, amqp=engine.reach(there.amqp), web=engine.reach(there.web))


def own_address(settings: Settings, engine: Scheduler) -> QueueAddress:
    """Ask an engine for the queue, as its instances reach it.

    On this machine it is on the ports of the settings, whoever runs it.

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
    choice = selection.chosen(settings, at, marathon)
    if choice.is_here:
        return settings.queue.url
    return own_address(settings, selection.connect(settings, choice, say)).url
