"""A command line whose every flag has one value, which is not empty."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from scripts import VERSION
from scripts.errors import WrongUsage
from scripts.number import MOST, number


class Parser(argparse.ArgumentParser):
    """A parser of Python's with --version; it refuses a value twice or empty, and raises WrongUsage for wrong flags."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)
        self.register("action", None, _Once)
        version = f"{self.prog} {VERSION}"
        self.add_argument("--version", action="version", version=version, help="show the version and exit")

    def error(self, message: str) -> NoReturn:
        """Say that flags are wrong."""
        raise WrongUsage(f"{message}; see {self.prog} --help")


def number_of(kind: type[int] | type[float], words: str, least: float = 0, most: float = MOST) -> Callable[[str], Any]:
    """Return a reader of a flag's number; `words` say what it is."""

    def read(text: str) -> float:
        try:
            return number(kind, text, least, most)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {words}") from None

    return read


class _Once(argparse.Action):
    """Keep a flag's value: `-q "$UNSET"` must not mean the default, and of two values nobody knows which was meant."""

    _was_given = False

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if option and values == "":
            raise argparse.ArgumentError(self, "it is empty")
        if option and self._was_given:
            raise argparse.ArgumentError(self, "it is given twice")
        self._was_given = True
        setattr(namespace, self.dest, values)
