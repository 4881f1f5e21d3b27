"""Contexts of the docker command's own configuration."""

from __future__ import annotations

import json
from pathlib import Path

from docker.context.config import get_context_id


def add_context(folder: Path, name: str, host: str) -> None:
    """Let the configuration in a folder know a context, by the address of its engine."""
    meta = folder / "contexts/meta" / get_context_id(name)
    meta.mkdir(parents=True)
    endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoints}))
    (folder / "config.json").write_text("{}")
