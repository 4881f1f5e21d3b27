"""Words of a command as a person would type them into a shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence


def typed(word: bytes) -> str:
    """Quote a word for a shell; with what no terminal shows as escapes, which bash, zsh and ksh read."""
    text = os.fsdecode(word)
    if text.isprintable():
        return shlex.quote(text)
    shown = (char if char.isprintable() and char not in "'\\" else _escaped(char) for char in text)
    return f"$'{''.join(shown)}'"


def in_one(words: Sequence[str]) -> str:
    """Return words as the value of one flag, such as --action, with no more quotes than splitting it again needs."""
    return " ".join(word if _is_whole(word) else shlex.quote(word) for word in words)


def _is_whole(word: str) -> bool:
    try:
        return shlex.split(word) == [word]
    except ValueError:
        return False


def _escaped(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
