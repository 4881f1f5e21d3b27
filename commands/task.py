"""The one `@task` of this project: short flags by name, expected failures and signals as one line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import invoke
from invoke.exceptions import Exit, ParseError

from commands.interruption import Interruption
from scripts.errors import ClusterError
from scripts.number import number

# These and no others: Invoke's own way hands letters out in parameter order, so that a new parameter moves them.
SHORT_FLAGS = {"tag": "t", "marathon": "m", "queue": "q", "url": "u", "body": "b"}

INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


class Task(invoke.Task):  # type: ignore[misc]
    """An Invoke task whose every argument has a default and whose expected failures are one line."""

    def __init__(self, body: Callable[..., Any], **options: Any) -> None:
        _refuse_positionals(body)
        options |= {"auto_shortflags": False, "positional": []}
        super().__init__(_one_line_errors(body), **options)

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:
        """Invoke's hook for one argument; adds the short flag and readable number errors."""
        opts: dict[str, Any] = super().arg_opts(name, default, taken_names)
        if name in SHORT_FLAGS:
            opts["names"] = [*opts["names"], SHORT_FLAGS[name]]
        if opts.get("kind") in (int, float):
            opts["kind"] = _number(opts["kind"], opts["names"][0])
        return opts


def task(*args: Any, **options: Any) -> Any:
    """Mark a function as a task of this project (see `Task`)."""
    return invoke.task(*args, klass=Task, **options)


def _refuse_positionals(body: Callable[..., Any]) -> None:
    """An argument without a default swallows `--help` as its value and runs the task."""
    _, *parameters = inspect.signature(body).parameters.values()
    bare = [p.name for p in parameters if p.default is p.empty]
    if bare:
        raise TypeError(f"{body.__module__}.{body.__name__}: {', '.join(bare)} needs a default")


def _one_line_errors(body: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(body)
    def run(*args: Any, **kwargs: Any) -> Any:
        interruption = Interruption()
        try:
            with interruption:
                return body(*args, **kwargs)
        except ClusterError as error:
            raise Exit(f"error: {error}", code=interruption.exit_code or error.exit_code) from error
        except KeyboardInterrupt as interrupt:  # Invoke would say nothing, and 1 as for an error
            raise Exit("error: interrupted", code=interruption.exit_code or INTERRUPTED) from interrupt

    return run


def _number(kind: type[int] | type[float], flag: str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return number(kind, text)
        except ValueError as wanted:
            raise ParseError(f"error: --{flag} wants {wanted}, not {text!r}") from None

    return read
