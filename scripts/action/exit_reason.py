"""Why a process ended, in words for people and headers."""

from __future__ import annotations

import signal

from scripts.action.cgroup import OutOfMemoryKills


def exit_reason(code: int, out_of_memory: OutOfMemoryKills) -> str:
    """`exit 3`, `killed by SIGKILL`; the code is below 0 for a signal, as os.waitstatus_to_exitcode gives it."""
    # A shell says 128 + the number of the signal that ended its child.
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL) and out_of_memory.happened():
        return "out of memory: killed by the kernel"
    return f"exit {code}" if code >= 0 else f"killed by {_name(-code)}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
