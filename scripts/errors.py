"""The expected failures of this project; all else is a bug and keeps its traceback.

The message of each is one line that names the value, the place and the next step; a program ends with its exit code.
"""

from collections.abc import Iterable


class ClusterError(Exception):
    """An expected failure: shown as one line `error: ...`, never as a traceback.

    `lines` stand below it, such as the last that a program printed. They are given apart, since a line end in the
    message may be somebody else's, who could make it look like a line of ours: it is shown as an escape.
    """

    exit_code = 1

    def __init__(self, message: str = "", lines: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.lines = tuple(lines)

    def __str__(self) -> str:
        return "\n".join([self.message, *self.lines])


class MessagesFailed(ClusterError):
    """The work was done, but messages went to the failed queue."""

    exit_code = 2


class ServiceAway(ClusterError):
    """The broker, engine, registry or Marathon does not answer."""

    exit_code = 3


class WrongUsage(ClusterError):
    """A command line that cannot be understood (EX_USAGE of sysexits.h)."""

    exit_code = 64
