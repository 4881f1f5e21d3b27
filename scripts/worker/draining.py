"""Draining as seen from outside: the signal that asks for it, and the names of the process in `ps` meanwhile."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

# Stop, but stay until told to end (`Worker.hold`). A program that does not know it does not end of it.
HOLD = signal.SIGURG

DRAINING: Final = "draining"
DRAINED: Final = "drained"


def rename_process(name: str) -> None:
    """Give this process another name, of 15 characters at most."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)
