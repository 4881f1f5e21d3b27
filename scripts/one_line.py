"""Foreign text, such as a server's message or a queue's name, made fit to be printed."""

from __future__ import annotations

import unicodedata


def visible(text: object, kept: str = "") -> str:
    """Put a text on one line, with all that a terminal obeys, hides or cannot write as escapes, such as `\\x1b`.

    That is every character without a form of its own: control characters, line ends, what turns the direction of
    writing, lone surrogates. Those in `kept` stay.
    """
    line = str(text)
    if line.isprintable():
        return line
    return "".join(
        char if char.isprintable() or unicodedata.category(char) == "Zs" or char in kept else ascii(char)[1:-1]
        for char in line
    )


def one_line(text: object, longest: int = 300) -> str:
    """Return the visible text with single spaces, also for line ends, cut to so many characters."""
    line = visible(" ".join(str(text).split()))
    return line if len(line) <= longest else line[: longest - 4] + " ..."
