"""The file that a health check looks at: there, and fresh, exactly while the worker consumes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from scripts.action.worker_log import say
from scripts.event_loop import EventLoop

# The environment variable that names the file.
VARIABLE = "CLUSTER_WORKER_ALIVE_FILE"

_TOUCH_EVERY_S = 10.0


class AliveFile:
    """Made when the worker consumes, touched every 10 s, removed when it does not; without a path: nothing."""

    def __init__(self, loop: EventLoop, path: str | None) -> None:
        self._loop = loop
        self._path = Path(path) if path else None
        self._timer: Any = None

    def consuming(self) -> None:
        """The worker consumes: make the file and keep it fresh."""
        if self._path is None:
            return
        self._forget_timer()
        try:
            # Not by touch() alone: mode 0600 would hide it from a health check that runs as another user.
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o644))
            os.utime(self._path)
        except OSError as error:
            say(f"{VARIABLE}: {self._path}: {error.strerror}")
            self._path = None
            return
        self._timer = self._loop.call_later(_TOUCH_EVERY_S, self.consuming)

    def not_consuming(self) -> None:
        """The worker does not consume: remove the file."""
        if self._path is None:
            return
        self._forget_timer()
        self._path.unlink(missing_ok=True)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._loop.remove_timeout(self._timer)
            self._timer = None
