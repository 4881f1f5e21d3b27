"""The program work_left: tells by its exit code whether messages of a queue wait."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as a file, which has the wrong folder on its path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import streams
from scripts.amqp.work import work_of
from scripts.errors import ClusterError, ServiceAway, WrongUsage
from scripts.flags import Parser
from scripts.one_line import one_line
from scripts.worker.options import add_queue

_ABOUT = """Tell whether messages of a queue wait, in it or where they wait to come back to it, and print how many. What
workers have in hand does not count."""

_CODES = """user and password: AMQP_USER, and AMQP_PASSWORD_FILE or AMQP_PASSWORD

exit codes: 0 messages wait, 1 none waits, 3 the broker cannot be asked, 64 wrong usage
"""


def main(arguments: Sequence[str]) -> int:
    """Run the program; its exit code."""
    parser = Parser(prog="work_left", description=_ABOUT, epilog=_CODES)
    add_queue(parser)
    try:
        options = parser.parse_args(arguments)
        waiting = work_of(options.url, options.queue).waiting
    except ClusterError as error:
        print(f"error: {one_line(error, longest=1000)}", file=sys.stderr)
        # Exit code 1 says that nothing waits.
        return error.exit_code if isinstance(error, WrongUsage) else ServiceAway.exit_code
    except KeyboardInterrupt:
        return 130
    print(waiting)
    return 0 if waiting else 1


if __name__ == "__main__":
    streams.run(main)
