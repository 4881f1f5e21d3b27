"""What /proc says of a process."""

from __future__ import annotations

from pathlib import Path


def runs(pid: int) -> bool:
    """Whether the process runs; one that nobody has reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def memory_mib(pid: int, what: str = "VmRSS") -> float:
    """What it uses, or with VmHWM the most so far; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(what)), 0)
