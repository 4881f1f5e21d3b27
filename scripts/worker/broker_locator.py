"""The broker's place at the moment: under a URL, or wherever Marathon runs it now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scripts.amqp.broker import parameters, redacted, url_of
from scripts.errors import ClusterError
from scripts.event_loop import EventLoop, in_thread


@dataclass(frozen=True)
class Place:
    """A broker's URL for people (without credentials) and pika's parameters for a connection to it."""

    url: str
    parameters: Any


# Called with the place, or with the reason why there is none.
Found = Callable[[Place | str], None]

# Looks for the broker without blocking, and calls back once, through the event loop.
Locate = Callable[[Found], None]


def at_url(loop: EventLoop, url: str) -> Locate:
    """Locate a broker that stays where it is; its password file is read anew each time."""
    return lambda found: loop.add_callback_threadsafe(lambda: found(_place(url)))


def in_marathon(loop: EventLoop, marathon: str, app: str) -> Locate:
    """Locate a broker that Marathon may move: asked anew for each connection, in a thread, since it speaks HTTP."""
    return lambda found: in_thread(loop, lambda: _marathon_url(marathon, app), lambda url: found(_place(url)), found)


def _place(url: str) -> Place | str:
    try:
        return Place(redacted(url), parameters(url))
    except ClusterError as error:
        return str(error)


def _marathon_url(marathon: str, app: str) -> str:
    # Only here, so that a worker with a URL does without requests and its 8 MB.
    from scripts.marathon.discovery import discover

    address = discover(marathon, app)
    return url_of(address.host, address.port)
