"""Placeholders in an action's arguments: `{}` is the item's line, `{#}` its number, `{2}` or `{name}` a column.

Nothing is ever read by a shell: a value becomes part of one argument, whatever characters it has. So the text of a
program for a shell (`sh -c TEXT`) is left as it is: there a value would be read as part of that program.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from scripts.errors import ClusterError

LINE, NUMBER = "", "#"

# Not `${HOME}`, which is a shell's.
_PLACEHOLDER = re.compile(r"(?<!\$)\{([^{}]*)\}")

_SHELLS = {"sh", "bash", "dash", "zsh", "ksh", "ash"}


class Template:
    """An action's words, some with placeholders; `names` are those that stand in them, each once.

    The first word, the program, has none: no message is to say which program is run.
    """

    def __init__(self, words: Sequence[str]) -> None:
        plain = {0, shell_text(words)}
        self._words = [
            os.fsencode(word) if place in plain else _parts(word) for place, word in enumerate(words)
        ]  # fmt: skip
        found = [part for word in self._words if isinstance(word, list) for part in word if isinstance(part, str)]
        self.names = tuple(dict.fromkeys(found))

    def fill(self, values: Mapping[str, bytes]) -> list[bytes]:
        """Return the words with each placeholder that has a value filled; others stay as they are.

        Raises:
            ClusterError: a value has a NUL byte, which ends an argument.
        """
        return [word if isinstance(word, bytes) else _filled(word, values) for word in self._words]


def shell_text(words: Sequence[str]) -> int | None:
    """Return which word is a program's text for a shell (`sh -c TEXT`); None where none is."""
    if not words or PurePath(words[0]).name not in _SHELLS:
        return None
    for place, word in enumerate(words[1:-1], start=1):
        if re.fullmatch(r"-[a-z]*c[a-z]*", word):
            return place + 1
        if not word.startswith("-"):
            break
    return None


def _parts(word: str) -> bytes | list[bytes | str]:
    """Cut a word into text (bytes) and names of placeholders (str); a word without any is bytes."""
    pieces = _PLACEHOLDER.split(word)
    if len(pieces) == 1:
        return os.fsencode(word)
    return [piece if place % 2 else os.fsencode(piece) for place, piece in enumerate(pieces)]


def _filled(parts: list[bytes | str], values: Mapping[str, bytes]) -> bytes:
    return b"".join(part if isinstance(part, bytes) else _value(part, values) for part in parts)


def _value(name: str, values: Mapping[str, bytes]) -> bytes:
    value = values.get(name)
    if value is None:
        return b"{%b}" % os.fsencode(name)
    if b"\0" in value:
        raise ClusterError(f"the value of {{{name}}} has a NUL byte, which no argument can have")
    return value
