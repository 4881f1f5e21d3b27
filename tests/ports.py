"""Ports for tests, which nobody else takes between their choice and their use."""

from __future__ import annotations

import fcntl
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cluster.schedulers.instances import port_is_free

# None that a scheduler, an agent of the stand-in, or the system for a connection would choose, nor a user's default.
_OURS = range(10_000, 15_000)


def _claims() -> Iterator[int]:
    """Ports that are ours until this process ends: a lock on one byte each of a file that all test processes share."""
    with (Path(tempfile.gettempdir()) / f"cluster-test-ports-{os.getuid()}").open("wb") as locks:
        for port in random.sample(_OURS, len(_OURS)):
            try:
                fcntl.lockf(locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            except OSError:
                continue
            if port_is_free(port):
                yield port


_claimed = _claims()


def free_ports(count: int) -> list[int]:
    """Free TCP ports of 127.0.0.1, all different, which no other test is given and no connection takes."""
    return [next(_claimed) for _ in range(count)]


def free_port() -> int:
    """One of them."""
    return next(_claimed)
