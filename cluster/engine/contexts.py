"""The Docker Engine that a person has named, by DOCKER_HOST or as a docker context."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cluster.engine import sdk
from scripts.errors import ServiceAway


@dataclass(frozen=True)
class Named:
    """An engine that the user named: its address, by what, how to undo that, and what makes a client of it."""

    place: str
    by: str
    undo: str
    make: Callable[..., sdk.DockerClient]


def named() -> Named | None:
    """Return the engine that DOCKER_HOST or else the docker context names; None for the usual one of this machine."""
    if host := os.environ.get("DOCKER_HOST"):
        return Named(host, "DOCKER_HOST", "unset DOCKER_HOST", sdk.from_env)
    name = context_name()
    if not name:
        return None
    has_config = sdk.utils.config.find_config_file()
    context = sdk.context.ContextAPI.get_context(name) if has_config else _context_without_config(name)
    if context is None:
        raise ServiceAway(
            f"no docker context is called {name!r}: docker context use chooses one, or unset DOCKER_CONTEXT"
        )
    undo = "unset DOCKER_CONTEXT" if os.environ.get("DOCKER_CONTEXT") else "docker context use default"
    make = partial(sdk.DockerClient, base_url=context.Host, tls=context.TLSConfig or False)
    return Named(context.Host, f"the docker context {name!r}", undo, make)


def context_name() -> str:
    """Return the name of the docker context that is chosen, empty for that of this machine's usual engine."""
    name = os.environ.get("DOCKER_CONTEXT")
    if not name:
        with suppress(OSError, ValueError, AttributeError):
            name = json.loads((_config_folder() / "config.json").read_text(encoding="utf-8")).get("currentContext")
    return "" if name == "default" else str(name or "")


def _config_folder() -> Path:
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")


def _context_without_config(name: str) -> sdk.context.Context | None:
    """Read a context as the docker command does; the SDK looks for them beside a config.json alone."""
    try:
        folder = _config_folder() / "contexts/meta" / sdk.context.config.get_context_id(name)
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        return sdk.context.Context(name, host=meta["Endpoints"]["docker"]["Host"])
    except (OSError, ValueError, KeyError):
        return None
