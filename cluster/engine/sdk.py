"""Docker's SDK, loaded when something of it is first used: that takes longer than all else that most commands do.

`sdk.errors.NotFound` is docker.errors.NotFound; `except sdk.errors.NotFound:` loads nothing unless something is raised.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    return getattr(import_module("docker"), name)
