"""Two that set up the same registry from this machine would each write half of it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from cluster import credentials
from scripts.errors import ClusterError


@contextmanager
def alone(project: str) -> Iterator[None]:
    """Be the only one that sets up the registry of a project; the system ends the lock with the process.

    Raises:
        ClusterError: another one is at it.
    """
    credentials.SECRETS.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (credentials.SECRETS / f"{project}-registry.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(
                f"another `./inv registry.up --host` of project {project} is under way: wait for it, then try again"
            ) from None
        yield
