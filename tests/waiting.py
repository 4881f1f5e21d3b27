"""Waiting for a condition: the tests wait for nothing else, and with limits that a busy machine keeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(happened: Callable[[], Any], what: str = "what is waited for", timeout_s: float = 60) -> Any:
    """Wait until a condition is true; return its value.

    Raises:
        TimeoutError: it does not become true.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := happened()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s} s: {what}")
        time.sleep(0.02)
    return value
