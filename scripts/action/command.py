"""The command that is run for each message, found before anything is taken from the queue."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from scripts.errors import ClusterError

# What Linux reads of it (BINPRM_BUF_SIZE).
_LONGEST_FIRST_LINE = 256


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
        _check_interpreter(found)
        return (str(Path(found).absolute()), *arguments)
    if Path(name).is_dir():
        raise CommandNotExecutable(f"{name} is a directory, not a command")
    if "/" in name and Path(name).exists():
        raise CommandNotExecutable(f"{name} is not executable: make it so with chmod +x {name}")
    raise CommandNotFound(f"{name} is not there: give a command of PATH, or the path of a file")


def _check_interpreter(path: str) -> None:
    """Find a script that no kernel can start: what it would say then ("no such file") leads nobody to the reason."""
    try:
        with Path(path).open("rb") as file:
            first = file.readline(_LONGEST_FIRST_LINE)
    except OSError:
        # It may be executed and not read.
        return
    shebang = re.match(rb"#![ \t]*([^ \t\n]+)", first)
    if not shebang:
        return
    interpreter = os.fsdecode(shebang[1])
    # To Linux a carriage return is a letter: of the interpreter's name, or of what `env` is to look for.
    if first.endswith(b"\r\n") and (interpreter.endswith("\r") or Path(interpreter).name == "env"):
        raise CommandNotExecutable(f"{path} has Windows line ends: take them away with sed -i 's/\\r$//' {path}")
    if not Path(interpreter).exists():
        raise CommandNotExecutable(f"{path} is a script for {interpreter}, says its first line, which is not there")
