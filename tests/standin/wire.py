"""Servers that are no Marathon: each does one thing to whoever connects."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

# Does something with a connection until the event says that the test is over.
Conduct = Callable[[socket.socket, Event], None]

# Ten seconds in steps of 0.05: longer than any client of the tests is to wait.
_LONG = 200


@contextmanager
def serving(conduct: Conduct) -> Iterator[str]:
    """The host:port of a server that treats every connection so."""
    over = Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            conduct(connection, over)

    def accept() -> None:
        with suppress(OSError):
            while True:
                Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    thread = Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def silence(connection: socket.socket, over: Event) -> None:
    """Takes the request and says nothing."""
    over.wait()


def trickle(connection: socket.socket, over: Event) -> None:
    """Does not end its answer for a long time, and is never silent for long."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(_LONG):
        connection.sendall(b" ")
        if over.wait(0.05):
            return


def trickle_headers(connection: socket.socket, over: Event) -> None:
    """Does not get to the end of its first line for a long time."""
    for _ in range(_LONG):
        connection.sendall(b"H")
        if over.wait(0.05):
            return


def saying(words: bytes) -> Conduct:
    """Says these bytes to any first words, and closes."""

    def say(connection: socket.socket, over: Event) -> None:
        connection.recv(65536)
        connection.sendall(words)

    return say
