"""The command that is run for each message, found before anything is taken from the queue."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from scripts.errors import ClusterError


class CommandNotFound(ClusterError):
    """There is no such command (a shell's exit code)."""

    exit_code = 127


class CommandNotExecutable(ClusterError):
    """It is there, but cannot be executed (a shell's exit code)."""

    exit_code = 126


def executable(command: Sequence[str]) -> tuple[str, ...]:
    """The command with its first word as an absolute path, looked up in PATH as a shell does.

    Raises:
        CommandNotFound, CommandNotExecutable: nothing should be taken from the queue then.
    """
    name, *arguments = command
    found = shutil.which(name)
    if found:
        return (str(Path(found).absolute()), *arguments)
    if Path(name).is_dir():
        raise CommandNotExecutable(f"{name} is a directory, not a command")
    if "/" in name and Path(name).exists():
        raise CommandNotExecutable(f"{name} is not executable: make it so with chmod +x {name}")
    raise CommandNotFound(f"{name} is not there: give a command of PATH, or the path of a file")
