"""Options of `docker run` that an app may have, in the Engine's terms."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scripts.errors import ClusterError

Body = dict[str, Any]

_SIZE = re.compile(r"(\d+)([bkmg]?)", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30}


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("write true or false")
    return text == "true"


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError("write a size such as 64m or 1g")
    return int(match[1]) * _UNITS[match[2].lower()]


def _list(text: str) -> list[str]:
    return [text]


def _tmpfs(text: str) -> dict[str, str]:
    path, _, options = text.partition(":")
    return {path: options}


def _ulimit(text: str) -> list[dict[str, Any]]:
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    return [{"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}]


# `docker run --KEY=VALUE`: its place in the body of the Engine's "create a container", and its reader. A list or an
# object joins what the same place has already, so that these may be given several times.
OPTIONS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "add-host": ("HostConfig.ExtraHosts", _list),
    "cap-add": ("HostConfig.CapAdd", _list),
    "cap-drop": ("HostConfig.CapDrop", _list),
    "cpuset-cpus": ("HostConfig.CpusetCpus", str),
    "group-add": ("HostConfig.GroupAdd", _list),
    "hostname": ("Hostname", str),
    "init": ("HostConfig.Init", _boolean),
    "pids-limit": ("HostConfig.PidsLimit", int),
    "read-only": ("HostConfig.ReadonlyRootfs", _boolean),
    "security-opt": ("HostConfig.SecurityOpt", _list),
    "shm-size": ("HostConfig.ShmSize", _bytes),
    "tmpfs": ("HostConfig.Tmpfs", _tmpfs),
    "ulimit": ("HostConfig.Ulimits", _ulimit),
    "user": ("User", str),
}


def options_body(options: Iterable[tuple[str, str]], app_id: str) -> Body:
    """Return the part of a container's body that options make."""
    body: Body = {}
    for key, value in options:
        if key not in OPTIONS:
            raise ClusterError(
                f"{app_id}: the container option {key!r} is not known here; those are {', '.join(OPTIONS)}"
            )
        path, read = OPTIONS[key]
        try:
            body = merged(body, at(path, read(value)))
        except ValueError as error:
            raise ClusterError(f"{app_id}: the container option {key} is {value!r}: {error}") from error
    return body


def at(path: str, value: Any) -> Body:
    """Return `{"HostConfig": {"Init": value}}` for HostConfig.Init."""
    first, _, rest = path.partition(".")
    return {first: at(rest, value) if rest else value}


def merged(one: Body, other: Body) -> Body:
    """Return both; objects join, lists follow each other, and otherwise the second wins."""
    result = dict(one)
    for key, value in other.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = merged(old, value)
        else:
            result[key] = [*old, *value] if isinstance(old, list) and isinstance(value, list) else value
    return result
