"""Where the broker is at the moment: under a URL, or wherever Marathon runs it now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

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


class Whereabouts(Protocol):
    """Answers where the broker is, through the event loop."""

    def find(self, found: Found) -> None:
        """Look, without blocking, and call `found` once."""


class GivenUrl:
    """A broker that stays where it is; its password file is read anew each time."""

    def __init__(self, loop: EventLoop, url: str) -> None:
        self._loop = loop
        self._url = url

    def find(self, found: Found) -> None:
        """The URL and the credentials of this moment."""
        self._loop.add_callback_threadsafe(lambda: found(_place(self._url)))


class MarathonApp:
    """A broker that Marathon may move: asked anew for each connection, in a thread, since it speaks HTTP."""

    def __init__(self, loop: EventLoop, marathon: str, app: str) -> None:
        self._loop = loop
        self._marathon = marathon
        self._app = app

    def find(self, found: Found) -> None:
        """Ask Marathon for the app's host and first port."""
        in_thread(self._loop, lambda: _marathon_url(self._marathon, self._app), lambda url: found(_place(url)), found)


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
