"""Completion for shells: a script that knows all commands and flags, so that no Python starts at a TAB."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from commands import help as helping
from commands.output import result
from commands.task import task
from scripts.errors import ClusterError

SHELLS = ("bash", "zsh", "fish")
_ROOT = Path(__file__).resolve().parent.parent


def of(namespace: Any) -> Any:
    """Return the command for the tasks of this collection."""

    @task(help={"shell": "bash, zsh or fish"}, needs=("shell",))
    def completion(c: Any, shell: str = "") -> None:
        """Print what lets a shell complete commands and flags: bash, zsh or fish."""
        if shell not in SHELLS:
            given = f"{shell!r} is no shell that is known" if shell else "which shell"
            raise ClusterError(f'{given}: eval "$(./inv completion bash)", or zsh, or ./inv completion fish | source')
        result(script(shell, namespace))

    return completion


def script(shell: str, namespace: Any) -> str:
    """Return the script for a shell."""
    quoted = _fish if shell == "fish" else shlex.quote
    filled = Path(__file__).with_suffix(f".{shell}").read_text()
    for name, value in {"ROOT": str(_ROOT), "STAMP": _stamp(), "TABLE": "\n".join(table(namespace))}.items():
        filled = filled.replace(f"@{name}@", quoted(value))
    return filled.rstrip("\n")


def table(namespace: Any) -> Iterator[str]:
    """Yield a line COMMAND|FLAG|VALUE|HELP for each command and flag; the help of a short flag is empty.

    VALUE is in lower case the values that there are, else a word for what they are; that of a flag that takes none is
    empty. With a command stand the words that may follow it.
    """
    yield from ("|--help|COMMAND|the flags of a command", "|--list||the commands", "|--version||the version")
    for name, found in helping.tasks_of(namespace).items():
        yield f"{name}||{' '.join(SHELLS) if name == 'completion' else ''}|{helping.summary(found)}"
        for flag in found.get_arguments():
            yield f"{name}|--{flag.names[0]}|{_values(flag)}|{flag.help}"
            yield from (f"{name}|-{short}|{_values(flag)}|" for short in flag.names[1:])
        yield f"{name}|--help||what it does, and its flags"


def _values(flag: Any) -> str:
    from cluster.schedulers.selection import SCHEDULERS

    word = helping.word_of(flag)
    if word == "ENGINE":
        return " ".join(
            f"{name}:" if engine.address_key and engine.needs_address else name for name, engine in SCHEDULERS.items()
        )
    return {"SHELL": " ".join(SHELLS)}.get(word, word)


def _stamp() -> str:
    """Return when the commands were last changed, as the scripts find it out at a TAB."""
    sources = (_ROOT / "tasks.py", *(_ROOT / "commands").glob("*.py"))
    return str(max(int(source.stat().st_mtime) for source in sources))


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
