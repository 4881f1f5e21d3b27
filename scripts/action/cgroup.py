"""The control group of this process: kills for want of memory, and the cores that may be used."""

from __future__ import annotations

import os
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


class OutOfMemoryKills:
    """Tells whether the kernel has killed a process of this control group for want of memory since last asked."""

    def __init__(self, mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> None:
        files = _files(mount, membership, "memory.events", "memory", "memory.oom_control")
        self._file = next((file for file in files if os.access(file, os.R_OK)), None)
        self._seen = self._count()

    def happened(self) -> bool:
        """Return True once for each rise of the kernel's counter; False where the kernel does not tell."""
        before, self._seen = self._seen, self._count()
        return self._seen > before

    def _count(self) -> int:
        if self._file is None:
            return 0
        try:
            fields = dict(line.split(maxsplit=1) for line in self._file.read_text().splitlines())
        except (OSError, ValueError):
            return 0
        return int(fields.get("oom_kill", 0))


def cores(mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> int:
    """Return the number of cores to use: the CPU affinity, or the control group's quota where that is smaller."""
    allowed = len(os.sched_getaffinity(0))
    for file in _files(mount, membership, "cpu.max", "cpu", "cpu.cfs_quota_us"):
        try:
            quota = _quota(file)
        except (OSError, ValueError):
            continue
        return max(1, min(allowed, round(quota))) if quota else allowed
    return allowed


def _quota(file: Path) -> float:
    """Return the cores that a `cpu.max` (v2) or `cpu.cfs_quota_us` (v1) file grants; 0 for no limit."""
    quota, *period = file.read_text().split()
    if quota in ("max", "-1"):
        return 0
    return int(quota) / int(period[0] if period else file.with_name("cpu.cfs_period_us").read_text())


def _files(mount: Path, membership: Path, unified: str, controller: str, legacy: str) -> list[Path]:
    """Return the places of a figure: this process's group, or the mount where that begins at it; version 2, then 1."""
    groups = _groups(membership)
    return [
        mount / groups.get("", "") / unified,
        mount / unified,
        mount / controller / groups.get(controller, "") / legacy,
        mount / controller / legacy,
    ]


def _groups(membership: Path) -> dict[str, str]:
    """Return this process's group by controller; the unified hierarchy names none (man 7 cgroups)."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return {}
    groups: dict[str, str] = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        groups |= dict.fromkeys(controllers.split(","), path.lstrip("/"))
    return groups
