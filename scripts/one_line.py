"""Foreign text, such as a server's message, made fit for a line of ours."""

from __future__ import annotations


def one_line(text: object, longest: int = 300) -> str:
    """The text without line ends and control characters, cut to so many characters."""
    line = " ".join("".join(char if char.isprintable() else " " for char in str(text)).split())
    return line if len(line) <= longest else line[: longest - 4] + " ..."
