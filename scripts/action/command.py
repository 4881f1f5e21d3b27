"""The command that is run for each message, found before anything is taken from the queue."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from scripts.errors import ClusterError

# What Linux reads of it (BINPRM_BUF_SIZE).
_LONGEST_FIRST_LINE = 256

# How many scripts that are interpreters of scripts Linux puts up with.
_DEEPEST = 4


class CommandNotFound(ClusterError):
    """Raised for a command that is not there (a shell's exit code)."""

    exit_code = 127


class CommandNotExecutable(ClusterError):
    """Raised for a command that is there and cannot be executed (a shell's exit code)."""

    exit_code = 126


def executable(command: Sequence[str]) -> tuple[str, ...]:
    """Return the command with its first word as an absolute path, looked up in PATH as a shell does.

    Raises:
        CommandNotFound, CommandNotExecutable: nothing should be taken from the queue then.
    """
    name, *arguments = command
    if found := shutil.which(name):
        _refuse_text(found)
        _check_interpreter(found)
        return (str(Path(found).absolute()), *arguments)
    if Path(name).is_dir():
        raise CommandNotExecutable(f"{name} is a directory, not a command")
    if "/" in name and Path(name).exists():
        raise CommandNotExecutable(f"{name} is not executable: make it so with chmod +x {name}")
    raise CommandNotFound(f"{name} is not there: give a command of PATH, or the path of a file")


def _refuse_text(path: str) -> None:
    """Refuse a text that does not say by which program it is to be run: shells run such a one, the kernel does not."""
    try:
        with Path(path).open("rb") as file:
            begin = file.read(_LONGEST_FIRST_LINE)
    except OSError:
        return
    if begin and not begin.startswith(b"#!") and b"\0" not in begin:
        first = "its interpreter must be its first line, such as #!/usr/bin/env Rscript"
        raise CommandNotExecutable(f"{path} is a script without a #! line: {first}")


def _check_interpreter(path: str, depth: int = 0) -> None:
    """Refuse a script that no kernel can start, with the reason: the kernel would only say "no such file"."""
    try:
        with Path(path).open("rb") as file:
            first = file.readline(_LONGEST_FIRST_LINE)
    except OSError:
        # It may be executed and not read.
        return
    shebang = re.match(rb"#![ \t]*([^ \t\n]+)[ \t]*([^\n]*)", first)
    if not shebang:
        return
    interpreter = os.fsdecode(shebang[1])
    # To Linux a carriage return is a letter: of the interpreter's name, or of what `env` is to look for.
    if first.endswith(b"\r\n") and (interpreter.endswith("\r") or Path(interpreter).name == "env"):
        raise CommandNotExecutable(f"{path} has Windows line ends: take them away with sed -i 's/\\r$//' {path}")
    if not Path(interpreter).exists():
        raise CommandNotExecutable(f"{path} is a script for {interpreter}, says its first line, which is not there")
    if not os.access(interpreter, os.X_OK) or Path(interpreter).is_dir():
        raise CommandNotExecutable(f"{path} is a script for {interpreter}, which is not executable")
    if Path(interpreter).name == "env" and len(first) < _LONGEST_FIRST_LINE:
        interpreter = _program_of_env(path, os.fsdecode(shebang[2]).strip())
    if interpreter and depth < _DEEPEST:
        _check_interpreter(interpreter, depth + 1)


def _program_of_env(path: str, argument: str) -> str:
    """Return the path of the program that `#!/usr/bin/env ARGUMENT` runs; empty where that cannot be told from here.

    Linux hands all that follows `env` to it as one argument, which env splits with -S alone.
    """
    split = re.match(r"(?:-S|--split-string=?)\s*(.*)", argument)
    try:
        words = shlex.split(split[1]) if split else [argument]
    except ValueError:
        return ""
    program = next((word for word in words if "=" not in word), "")
    if not program or program.startswith("-") or "$" in program or any(word.startswith("PATH=") for word in words):
        return ""
    found = shutil.which(program)
    if not found:
        spaces = "; for arguments write env -S" if " " in program else ""
        raise CommandNotExecutable(f"{path} is a script for {program}, says its first line, which is not there{spaces}")
    return found
