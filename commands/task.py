"""The one `@task` of this project: short flags by name, expected failures and signals as one line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import invoke
from invoke import Collection as Collection
from invoke.exceptions import Exit, ParseError
from invoke.parser import Argument

from commands.interruption import Interruption
from scripts.errors import ClusterError
from scripts.number import number
from scripts.one_line import visible

# These and no others: Invoke's own way hands letters out in parameter order, so that a new parameter moves them.
SHORT_FLAGS = {"tag": "t", "marathon": "m", "queue": "q", "url": "u", "body": "b"}

# Of these the empty value is one, and the same as nothing or a message's body; of all others it is a variable that is
# not set (`-q "$UNSET"`), and must not become the default.
MAY_BE_EMPTY = {"body", "options"}

# To these tasks 0 says that the flag is not given, or it would be of no use: nobody else may say it.
LEAST = {"max-instances": 1, "attempts": 1, "cpus": 0.001, "mem-mib": 1, "wait-timeout": 0.001}

INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


class Flag(Argument):  # type: ignore[misc]
    """A flag that takes one value, once.

    Invoke's parser takes a second value for a command of its own. Only a list is given all values: so this is one to
    the parser, and refuses the second. `word` stands for the value in a command's help.
    """

    raw_value: str | None

    def __init__(self, read: Callable[[str], Any], **options: Any) -> None:
        super().__init__(**options)
        self.kind = list
        self.word = "STRING" if read is str else "NUMBER"
        self._read = read

    def set_value(self, value: Any, cast: bool = True) -> None:
        """Take the value that the command line gives (ParseError: not the first, empty, or none of this kind)."""
        if self.raw_value is not None:
            raise ParseError(f"error: --{self.names[0]} is given twice: give it once")
        if not value and self.word == "STRING" and self.name not in MAY_BE_EMPTY:
            raise ParseError(f"error: --{self.names[0]} is empty: give it a value, or leave it out for its default")
        self._value = self._read(value) if cast else value
        self.raw_value = value


class Task(invoke.Task):  # type: ignore[misc]
    """An Invoke task whose every argument has a default and whose expected failures are one line.

    `needs` are the names of the arguments without which it does nothing, for its help; "file|files" is one of the two.
    """

    def __init__(self, body: Callable[..., Any], needs: Sequence[str] = (), **options: Any) -> None:
        _refuse_positionals(body)
        self.needs = needs
        self.help: dict[str, str]
        options |= {"auto_shortflags": False, "positional": []}
        super().__init__(_one_line_errors(body), **options)

    def __eq__(self, other: object) -> bool:
        """Tell tasks apart that have one name in two collections: Invoke runs only one of those that are equal."""
        return self is other

    __hash__ = object.__hash__

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:
        """Invoke's hook for one argument; adds the short flag."""
        opts: dict[str, Any] = super().arg_opts(name, default, taken_names)
        if name in SHORT_FLAGS:
            opts["names"] = [*opts["names"], SHORT_FLAGS[name]]
        return opts

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """Invoke's hook for all arguments; makes each that takes one value a `Flag`, and keeps their help."""
        words: dict[str, str] = dict(self.help)
        try:
            return [_flag(argument) for argument in super().get_arguments(ignore_unknown_help)]
        finally:
            self.help = words


def task(*args: Any, **options: Any) -> Any:
    """Mark a function as a task of this project (see `Task`)."""
    return invoke.task(*args, klass=Task, **options)


def _refuse_positionals(body: Callable[..., Any]) -> None:
    """An argument without a default swallows `--help` as its value and runs the task."""
    _, *parameters = inspect.signature(body).parameters.values()
    bare = [p.name for p in parameters if p.default is p.empty]
    if bare:
        raise TypeError(f"{body.__module__}.{body.__name__}: {', '.join(bare)} needs a default")


def _flag(argument: Argument) -> Argument:
    kind = argument.kind
    if kind in (bool, list):
        return argument
    return Flag(
        number_of(kind, argument.names[0]) if kind in (int, float) else kind,
        names=argument.names,
        default=argument.default,
        help=argument.help,
        attr_name=argument.attr_name,
    )


def _one_line_errors(body: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(body)
    def run(*args: Any, **kwargs: Any) -> Any:
        interruption = Interruption()
        try:
            with interruption:
                return body(*args, **kwargs)
        except ClusterError as error:
            words = "\n".join(map(visible, [f"error: {error.message}", *error.lines]))
            raise Exit(words, code=interruption.exit_code or error.exit_code) from error
        except (KeyboardInterrupt, RuntimeError) as interrupt:  # Invoke would say nothing, and 1 as for an error
            if isinstance(interrupt, RuntimeError) and not isinstance(interrupt.__cause__, KeyboardInterrupt):
                raise  # Python 3.11 wraps what comes in the middle of making a class
            raise Exit("error: interrupted", code=interruption.exit_code or INTERRUPTED) from interrupt

    return run


def number_of(kind: type[int] | type[float], flag: str) -> Callable[[str], Any]:
    """Return what reads the number of a flag (ParseError where it is none)."""

    def read(text: str) -> Any:
        try:
            return number(kind, text, LEAST.get(flag, 0))
        except ValueError as wanted:
            raise ParseError(f"error: --{flag} wants {wanted}, not {text!r}") from None

    return read
