"""A command line whose every flag has one value, which is not empty."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from scripts.errors import WrongUsage


class Parser(argparse.ArgumentParser):
    """A parser of Python's that refuses a value twice or empty, and raises WrongUsage where flags are wrong."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)
        self.register("action", None, _Once)

    def error(self, message: str) -> NoReturn:
        """Say that flags are wrong."""
        raise WrongUsage(f"{message}; see {self.prog} --help")


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
