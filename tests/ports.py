"""Ports for tests, which nobody else takes between their choice and their use."""

from __future__ import annotations

import fcntl
import os
import random
import tempfile
from pathlib import Path
from threading import Lock

from cluster.schedulers.instances import port_is_free

# None that a scheduler, an agent of the stand-in, or the system for a connection would choose, nor a user's default.
_CHOSEN_FROM = range(10_000, 15_000)


class Claims:
    """Ports that are ours until this process ends: a lock on one byte each of a file that all test processes share."""

    def __init__(self) -> None:
        self._locks = (Path(tempfile.gettempdir()) / f"cluster-test-ports-{os.getuid()}").open("wb")
        self._left = iter(random.sample(_CHOSEN_FROM, len(_CHOSEN_FROM)))
        self._one_at_a_time = Lock()

    def port(self) -> int:
        with self._one_at_a_time:
            return next(port for port in self._left if self._claim(port) and port_is_free(port))

    def _claim(self, port: int) -> bool:
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        return True


_CLAIMS = Claims()


def free_port() -> int:
    """A free TCP port of 127.0.0.1, which no other test is given and no connection takes."""
    return _CLAIMS.port()


def free_ports(count: int) -> list[int]:
    """Several of them."""
    return [free_port() for _ in range(count)]
