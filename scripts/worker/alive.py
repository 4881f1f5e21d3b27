"""Signs of life: the file that a health check looks at, and the name of the process while it drains."""

from __future__ import annotations

import os
import signal
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from scripts.action.output import say
from scripts.event_loop import EventLoop, Timer

# The environment variable that names the file.
VARIABLE = "CLUSTER_WORKER_ALIVE_FILE"

_TOUCH_EVERY_S = 10.0

# Stop, but stay until told to end (`Worker.hold`). A program that does not know it does not end of it.
HOLD = signal.SIGURG

# The names of the process meanwhile, in `ps`.
DRAINING: Final = "draining"
DRAINED: Final = "drained"


def rename_process(name: str) -> None:
    """Give this process another name, of 15 characters at most."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)


class AliveFile:
    """There, and fresh, exactly while the worker consumes: touched every 10 s, then removed; without a path: nothing.

    Where that cannot be done, or something else has the name, the worker says so once and goes on without the file.
    """

    def __init__(self, loop: EventLoop, path: str | None) -> None:
        self._path = Path(path) if path else None
        self.is_wanted = bool(path)
        self._next_touch = Timer(loop, self.consuming)

    def consuming(self) -> None:
        """Make the file and keep it fresh: the worker consumes."""
        if self._path is None:
            return
        try:
            _touch(self._path)
        except OSError as error:
            self._give_up(error)
        else:
            self._next_touch.set(_TOUCH_EVERY_S)

    def not_consuming(self) -> None:
        """Remove the file: the worker does not consume."""
        self._next_touch.stop()
        try:
            if self._path is not None and _is_there(self._path):
                self._path.unlink()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        say(f"{VARIABLE}: {self._path}: {error.strerror}; going on without it, a health check will miss it")
        self._path = None
        self._next_touch.stop()


def _touch(path: Path) -> None:
    _is_there(path)
    # Not by touch() alone: mode 0600 would hide it from a health check that runs as another user.
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    try:
        os.utime(file)
    finally:
        os.close(file)


def _is_there(path: Path) -> bool:
    """Return whether the file is there; refuse what is no plain file, not empty, or another user's."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode) or found.st_size or found.st_uid != os.geteuid():
        raise FileExistsError(0, "what is there is not the worker's: that is an empty plain file of its user")
    return True
