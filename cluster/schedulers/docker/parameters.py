"""The `parameters` of a Docker container in a definition, each an option of `docker run`, in the Engine's terms."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from scripts.errors import ClusterError

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


def _nano_cpus(text: str) -> int:
    return int(float(text) * 1e9)


def _list(text: str) -> list[str]:
    return [text]


def _setting(text: str) -> dict[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise ValueError("write name=value")
    return {key: value}


def _tmpfs(text: str) -> dict[str, str]:
    path, _, options = text.partition(":")
    return {path: options}


def _ulimit(text: str) -> list[dict[str, Any]]:
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    return [{"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}]


# `docker run --KEY=VALUE`: where it stands in the body of the Engine's "create a container", and how it is read. A list
# or an object joins what the same place has already, so that these may be given several times.
PARAMETERS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "add-host": ("HostConfig.ExtraHosts", _list),
    "cap-add": ("HostConfig.CapAdd", _list),
    "cap-drop": ("HostConfig.CapDrop", _list),
    "cpus": ("HostConfig.NanoCpus", _nano_cpus),
    "cpuset-cpus": ("HostConfig.CpusetCpus", str),
    "dns": ("HostConfig.Dns", _list),
    "group-add": ("HostConfig.GroupAdd", _list),
    "hostname": ("Hostname", str),
    "init": ("HostConfig.Init", _boolean),
    "ipc": ("HostConfig.IpcMode", str),
    "memory-swap": ("HostConfig.MemorySwap", _bytes),
    "oom-score-adj": ("HostConfig.OomScoreAdj", int),
    "pids-limit": ("HostConfig.PidsLimit", int),
    "read-only": ("HostConfig.ReadonlyRootfs", _boolean),
    "security-opt": ("HostConfig.SecurityOpt", _list),
    "shm-size": ("HostConfig.ShmSize", _bytes),
    "stop-signal": ("StopSignal", str),
    "sysctl": ("HostConfig.Sysctls", _setting),
    "tmpfs": ("HostConfig.Tmpfs", _tmpfs),
    "ulimit": ("HostConfig.Ulimits", _ulimit),
    "user": ("User", str),
    "workdir": ("WorkingDir", str),
}


def translate(key: str, value: str, place: str) -> tuple[str, Any]:
    """Where a parameter goes in the Engine's terms, and its value there; `place` is for the error.

    Raises:
        ClusterError: the parameter is not known here, or its value cannot be read.
    """
    if key not in PARAMETERS:
        raise ClusterError(
            f"{place}: the docker parameter {key!r} is not known here; those are {', '.join(PARAMETERS)}"
        )
    path, read = PARAMETERS[key]
    try:
        return path, read(value)
    except ValueError as error:
        raise ClusterError(f"{place}: docker parameter {key}: {value!r}: {error}") from error
