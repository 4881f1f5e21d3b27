"""The expected failures of this project; all else is a bug and keeps its traceback.

    ClusterError          exit 1: bad input, or something that could not be done
    ├── MessagesFailed    exit 2: done, but messages went to the failed queue
    ├── ServiceAway       exit 3: the broker, engine, registry or Marathon does not answer
    └── WrongUsage        exit 64: cluster_worker was called with wrong flags (EX_USAGE of sysexits.h)

The message of each is one line that names the value, the place and the next step.
"""


class ClusterError(Exception):
    """An expected failure: shown as one line `error: ...`, never as a traceback."""

    exit_code = 1


class MessagesFailed(ClusterError):
    """The work was done, but messages went to the failed queue."""

    exit_code = 2


class ServiceAway(ClusterError):
    """A service that is needed does not answer."""

    exit_code = 3


class WrongUsage(ClusterError):
    """A command line that cannot be understood."""

    exit_code = 64
