"""The program marathon_app_hostport: prints the host:port at which an app runs under Marathon."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as a file, which has the wrong folder on its path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import streams
from scripts.errors import ClusterError
from scripts.flags import Parser, number_of
from scripts.marathon.discovery import discover
from scripts.one_line import one_line

_ABOUT = """Print the host:port of a running instance of an app, and nothing else. An instance is taken that runs, is
healthy where the app has health checks, is of the current version if there is one, and is not being killed."""

_ENVIRONMENT = """environment:
  MARATHON_USER, MARATHON_PASSWORD or MARATHON_PASSWORD_FILE   basic authentication
  DCOS_ACS_TOKEN or DCOS_ACS_TOKEN_FILE                        a DC/OS token
  MARATHON_CA_FILE                                             what --ca says

exit codes: 0 printed, 1 no such app or no instance, 3 Marathon cannot be reached, 64 wrong usage

example: amqp-publish -u amqp://$( marathon_app_hostport --host 10.0.0.10:8080 --app amqp ) -r myqueue -b hello
"""


def main(arguments: Sequence[str]) -> int:
    """Run the program; its exit code."""

    def say_waiting(reason: str) -> None:
        if sys.stderr.isatty():
            print(f"waiting up to {options.wait:g} s: {reason}", file=sys.stderr)

    try:
        options = _parser().parse_args(arguments)
        found = discover(
            options.host,
            options.app,
            port_name=options.port_name,
            port_index=options.port_index or 0,
            ca=options.ca,
            timeout_s=options.timeout,
            wait_s=options.wait,
            waiting=say_waiting,
        )
    except ClusterError as error:
        print(f"error: {one_line(error, longest=1000)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    print(found)
    return 0


def _parser() -> Parser:
    seconds, index = number_of(float, "a number of seconds"), number_of(int, "a number from 0")
    parser = Parser(prog="marathon_app_hostport", description=_ABOUT, epilog=_ENVIRONMENT)
    add = parser.add_argument
    add("--host", required=True, metavar="HOST:PORT", help="Marathon: host:port or a URL; several with commas between")
    add("--app", required=True, metavar="ID", help="the app's id, such as amqp or /group/amqp")
    port = parser.add_mutually_exclusive_group()
    port.add_argument("--port-name", default="", metavar="NAME", help="the app's port of this name")
    # The default is not 0: argparse would not see `--port-index 0` beside --port-name.
    port.add_argument("--port-index", type=index, metavar="N", help="the app's port at this place, from 0")
    add("--wait", type=seconds, default=0, metavar="S", help="seconds to go on asking until there is an instance")
    add("--timeout", type=seconds, default=10, metavar="S", help="seconds for an answer of one address (10)")
    add("--ca", default="", metavar="FILE", help="the certificates of the CA that https is checked with")
    return parser


if __name__ == "__main__":
    streams.run(main)
