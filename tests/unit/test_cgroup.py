from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts.action.cgroup import OutOfMemoryKills, cores


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("membership", "file", "before", "after"),
    [
        ("0::/pod/worker\n", "pod/worker/memory.events", "max 3\noom 0\noom_kill 0\n", "max 9\noom 1\noom_kill 1\n"),
        # Inside a container the mount begins at its own group.
        ("0::/\n", "memory.events", "oom_kill 4\n", "oom_kill 6\n"),
        ("4:memory:/a/b\n0::/\n", "memory/a/b/memory.oom_control", "under_oom 0\noom_kill 0\n", "oom_kill 1\n"),
        ("4:memory:/docker/abc\n", "memory/memory.oom_control", "oom_kill 0\n", "oom_kill 1\n"),
    ],
)  # fmt: skip
def test_out_of_memory_is_told_once(tmp_path: Path, membership: str, file: str, before: str, after: str) -> None:
    counter = _write(tmp_path / "mount" / file, before)
    kills = OutOfMemoryKills(tmp_path / "mount", _write(tmp_path / "cgroup", membership))
    assert not kills.happened()
    counter.write_text(after)
    assert kills.happened()
    assert not kills.happened()


def test_without_control_groups_nothing_happened(tmp_path: Path) -> None:
    assert not OutOfMemoryKills(tmp_path, tmp_path / "none").happened()


@pytest.mark.parametrize(
    ("membership", "files", "found"),
    [
        ("0::/a\n", {"a/cpu.max": "100000 100000"}, 1),
        ("0::/a\n", {"a/cpu.max": "20000 100000"}, 1),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("1:cpu:/b\n", {"cpu/b/cpu.cfs_quota_us": "100000", "cpu/b/cpu.cfs_period_us": "100000"}, 1),
        ("1:cpu:/b\n", {"cpu/b/cpu.cfs_quota_us": "-1", "cpu/b/cpu.cfs_period_us": "100000"}, None),
        ("", {}, None),
    ],
)
def test_cores(tmp_path: Path, membership: str, files: dict[str, str], found: int | None) -> None:
    for name, text in files.items():
        _write(tmp_path / "mount" / name, text)
    everything = len(os.sched_getaffinity(0))
    assert cores(tmp_path / "mount", _write(tmp_path / "cgroup", membership)) == (found or everything)
