"""The expected failures of this project; all else is a bug and keeps its traceback.

The message of each is one line that names the value, the place and the next step; a program ends with its exit code.
"""


class ClusterError(Exception):
    """An expected failure: shown as one line `error: ...`, never as a traceback."""

    exit_code = 1


class MessagesFailed(ClusterError):
    """The work was done, but messages went to the failed queue."""

    exit_code = 2


class ServiceAway(ClusterError):
    """The broker, engine, registry or Marathon does not answer."""

    exit_code = 3


class WrongUsage(ClusterError):
    """A command line that cannot be understood (EX_USAGE of sysexits.h)."""

    exit_code = 64
