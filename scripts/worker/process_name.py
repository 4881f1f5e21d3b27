"""The name of this process in `ps`, by which is seen from outside how far a stop is."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

DRAINING: Final = "draining"
DRAINED: Final = "drained"


def change(name: str) -> None:
    """Give the process another name, of 15 characters at most."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)
