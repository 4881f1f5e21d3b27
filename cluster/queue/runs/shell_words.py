"""Words of a command as a person would type them into a shell."""

from __future__ import annotations

import os
import shlex


def typed(word: bytes) -> str:
    """Quote a word for a shell; with what no terminal shows as escapes, which bash, zsh and ksh read."""
    text = os.fsdecode(word)
    if text.isprintable():
        return shlex.quote(text)
    shown = (char if char.isprintable() and char not in "'\\" else _escaped(char) for char in text)
    return f"$'{''.join(shown)}'"


def _escaped(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
