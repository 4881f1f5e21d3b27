"""A look at a child from outside: does it wait for its STDIN, has it done anything since the last look; its memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")

# The numbers of `read` and `readv`.
_READS = {"x86_64": ("0", "19"), "aarch64": ("63", "65")}.get(os.uname().machine, ())


@dataclass(frozen=True)
class Seen:
    """The state of a session: a main thread of it waits for input from the pipe; it has used so many ticks of CPU."""

    waits: bool = False
    ticks: int = -1


def look(leader: int, pipe: int) -> Seen:
    """Look at the session of a child; `pipe` is our end of its STDIN. Where /proc does not tell, nothing waits."""
    try:
        inode = os.fstat(pipe).st_ino
    except OSError:
        return Seen()
    found = list(_session(leader))
    return Seen(any(_waits_for(process, f"pipe:[{inode}]") for process, _ in found), sum(ticks for _, ticks in found))


def peak_kib(leader: int) -> int:
    """Return the most memory that a process of a child's session had, of those that live now; 0 where not known."""
    return max((_peak_kib(process) for process, _ in _session(leader)), default=0)


def _peak_kib(process: Path) -> int:
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", (process / "status").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _session(leader: int) -> Iterator[tuple[Path, int]]:
    """Yield the processes of a session, and how many ticks of CPU each has used."""
    for process in _PROC.glob("[0-9]*"):
        try:
            # After the name, which may have blanks: state, parent, group, session, ...
            rest = (process / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(rest[3]) == leader:
            yield process, int(rest[11]) + int(rest[12])


def _waits_for(process: Path, pipe: str) -> bool:
    """Return whether the main thread of a process reads from this pipe now, in a system call that has not returned.

    A thread beside it may well read ahead; and a shell that waits for the output of a command reads from another pipe.
    """
    try:
        number, *arguments = (process / "syscall").read_text().split()
        return number in _READS and str((process / "fd" / str(int(arguments[0], 16))).readlink()) == pipe
    except (OSError, ValueError):
        return False
