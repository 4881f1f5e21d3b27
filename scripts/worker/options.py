"""The command line of cluster_worker."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.action.cgroup import cores
from scripts.action.jobs import RunLimits
from scripts.amqp.management import url_of_api
from scripts.amqp.queues import PAUSES_S, checked_name, failed_queue, side_queues
from scripts.errors import ClusterError
from scripts.flags import Parser, number_of
from scripts.worker.verdicts import Policy

_EXAMPLES = """\
examples:
  cluster_worker -q myqueue /usr/local/bin/myaction.r
  cluster_worker -u amqp://10.0.0.10:5672 -q myqueue -j 4 --timeout 600 -- python3 resize.py --width 800
  cluster_worker -m 10.0.0.10:8080 -a amqp -q myqueue --keep-alive /usr/local/bin/model.py
  cluster_worker -q myqueue -j 0 --until-empty --joblog runs.tsv ./convert

The body of a message is the command's STDIN. Exit 0: done. Exit 65: failed for good. Any other exit code, a signal or
the time limit: tried again later, and at last sent to the queue QUEUE.failed with the reason in its headers.

A message with a reply_to is answered: what the command prints to STDOUT goes there before the message is acknowledged,
with the exit code and more in headers. So does a failure for good, with its reason, in place of QUEUE.failed.

Where the broker moves, -u @FILE says where it is: the one line of FILE, read anew whenever the worker connects, is its
URL. Whoever moves the broker replaces the file. --management takes an @FILE, too.

User and password: AMQP_USER, and AMQP_PASSWORD_FILE or AMQP_PASSWORD; the command does not see them. A password in the
URL is seen by everybody who runs ps on this machine.

SIGTERM, SIGINT or a closed terminal stop it when the commands that run are done; a second signal ends these at once.
SIGURG does so, too, but it stays, called "drained", until SIGTERM ends it, or no other SIGURG came for 5 minutes.

Where CLUSTER_WORKER_EVICTION_S is set, as by the engine of a cluster that sends SIGTERM to a worker and its commands at
once and kills them a while later, SIGTERM has another meaning: what ends by it, or fails within 2 s of it, goes back
to the queue and is not counted, as does what still runs after so many seconds.

When the first 10 messages all fail or are rejected (--breaker), something is wrong with COMMAND or this host: nothing
more is taken, and cluster_worker exits with 1; where CLUSTER_WORKER_ALIVE_FILE is set, as engines do, who would start
it again at once, it stays, and tries one message now and then until one succeeds. That it also does when later on 20
messages in a row fail at their first attempt.

cluster_worker exits with 0 after a stop, when the queue is empty (--until-empty) or there was nothing to do (--idle), 1
when this host cannot run the command or all fails here, 2 when messages failed (--until-empty), 3 when the broker stays
away (--until-empty), 64 for wrong usage, 126 when the command is not executable, 127 when it is not there.
"""

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


@dataclass(frozen=True)
class Options:
    """The command line of a cluster_worker. Times are in seconds, None is "no limit".

    `prefetch` is None where the worker is to see itself how many messages it holds (`scripts/worker/window.py`).
    """

    url: str | None
    marathon: str | None
    app: str | None
    queue: str
    jobs: int
    prefetch: int | None
    policy: Policy
    limits: RunLimits
    results: str | None
    result_limit: int
    drain_s: float | None
    breaker: int
    tag: bool
    check: bool
    until_empty: bool
    idle_s: float | None
    management: str | None
    joblog: str | None
    keep_alive: bool
    framing: str
    recycle_after: int | None
    ready_timeout_s: float
    command: tuple[str, ...]


def parse(argv: Sequence[str]) -> Options:
    """Read the command line."""
    parser = _parser()
    given = parser.parse_args(list(argv))
    if given.command[:1] == ["--"]:
        del given.command[0]
    jobs = given.jobs or cores()
    if problem := _contradiction(given, jobs):
        parser.error(problem)
    words = vars(given)
    policy = Policy(*(words.pop(name) for name in ("attempts", "backoff_s", "backoff_max_s")))
    limits = RunLimits(*(words.pop(name) for name in ("timeout_s", "kill_after_s")))
    words["url"] = given.url or (None if given.marathon else "amqp://127.0.0.1:5672")
    words |= {"jobs": jobs, "command": tuple(given.command)}
    return Options(**words, policy=policy, limits=limits)


def add_queue(parser: Parser) -> None:
    """Add the flags of a program that only looks at a queue."""
    add = parser.add_argument
    add("-u", dest="url", type=_located, default="amqp://127.0.0.1:5672", metavar="URL",
        help="the broker, amqp://HOST:PORT (default: on this machine), or @FILE, which has its URL")  # fmt: skip
    add("-q", dest="queue", type=_queue, required=True, metavar="QUEUE", help="the queue")


def _contradiction(given: argparse.Namespace, jobs: int) -> str:
    wrong = {
        "which COMMAND is to be run?": not given.command or not given.command[0],
        "-m and -u exclude each other": bool(given.marathon and given.url),
        "-m HOST:PORT needs -a APP, the queue's app in Marathon": bool(given.marathon and not given.app),
        "-a APP needs -m HOST:PORT, Marathon's address": bool(given.app and not given.marathon),
        f"--prefetch {given.prefetch} is less than -j {jobs}": given.prefetch is not None and given.prefetch < jobs,
        f"--results {given.results} is a queue from which messages are taken, or wait for that": given.results
        in (given.queue, failed_queue(given.queue), *side_queues(given.queue)),
        "--framing and --recycle-after need --keep-alive": not given.keep_alive
        and (given.framing != "lines" or given.recycle_after is not None),
    }
    return next((text for text, is_so in wrong.items() if is_so), "")


def _parser() -> Parser:
    parser = Parser(
        prog="cluster_worker",
        usage="cluster_worker [-m HOST:PORT -a APP | -u URL|@FILE] -q QUEUE [options] COMMAND [ARGUMENTS...]",
        description="Run COMMAND for each message of an AMQP queue, the message's body on its STDIN.",
        epilog=_EXAMPLES,
    )
    add = parser.add_argument_group("the queue").add_argument
    add("-u", dest="url", type=_located, metavar="URL",
        help="the broker, amqp://HOST:PORT (default: on this machine), or @FILE, which has its URL")  # fmt: skip
    add("-m", dest="marathon", metavar="HOST:PORT", help="Marathon, to be asked where the broker is")
    add("-a", dest="app", metavar="APP", help="the broker's app in Marathon")
    add("-q", dest="queue", type=_queue, required=True, metavar="QUEUE", help="made if it is not there")

    add = parser.add_argument_group("running").add_argument
    add("-j", dest="jobs", type=_count, default=1, metavar="N", help="so many at once; 0: one a core (default 1)")
    add("--prefetch", type=_prefetch, metavar="N",
        help="messages held (default: as -j; more, for 0.1 s, while commands take under 50 ms)")  # fmt: skip
    add("--timeout", dest="timeout_s", type=_seconds, metavar="S", help="time limit of one run (default: none)")
    add("--kill-after", dest="kill_after_s", type=_seconds_or_0, default=10.0, metavar="S",
        help="from TERM to KILL (default 10)")  # fmt: skip
    add("--drain", dest="drain_s", type=_seconds_or_0, metavar="S",
        help="how long a stop waits for what runs (default: as long as it takes)")  # fmt: skip
    add("--tag", action="store_true", help="the message's id and a tab before each line of output")
    add("--check", action="store_true", help="only see whether COMMAND can be started")
    add("--joblog", metavar="FILE", help="one line a run, with GNU parallel's columns and ours (TSV)")

    add = parser.add_argument_group("failures").add_argument
    add("--attempts", type=_positive, default=3, metavar="N", help="runs in all (default 3)")
    add("--backoff", dest="backoff_s", type=_pause, default=1.0, metavar="S",
        help="pause after the first failure, doubled after each more (default 1)")  # fmt: skip
    add("--backoff-max", dest="backoff_max_s", type=_pause, default=float(PAUSES_S[-1]), metavar="S",
        help="longest pause (default 64)")  # fmt: skip
    add("--breaker", type=_count, default=10, metavar="N",
        help="take no more if the first N fail, later 2 N in a row; 0: never (default 10)")  # fmt: skip

    add = parser.add_argument_group("results").add_argument
    add("--results", type=_queue, metavar="QUEUE",
        help="for messages without a reply_to, too: they go there; made if it is not there")  # fmt: skip
    add("--result-limit", type=_size, default=8 * 1024 * 1024, metavar="SIZE",
        help="more is a failure: 65536, 64K, 8M, 1G (default 8M)")  # fmt: skip

    add = parser.add_argument_group("commands that take many messages").add_argument
    add("--keep-alive", action="store_true", help="start it once, give it message after message")
    add("--framing", choices=("lines", "netstring"), default="lines", help="default: lines")
    add("--recycle-after", type=_positive, metavar="N", help="start it anew after N messages")
    add("--ready-timeout", dest="ready_timeout_s", type=_seconds, default=600.0, metavar="S",
        help="how long it may take to load (default 600)")  # fmt: skip

    add = parser.add_argument_group("batches").add_argument
    add("--until-empty", action="store_true", help="exit when nothing is left to be done by anyone")
    add("--idle", dest="idle_s", type=_seconds, metavar="S",
        help="exit when there was nothing to do for so long; not while QUEUE is paused or the broker away")  # fmt: skip
    where = "on its host, http at port 15672, with amqps https at 15671"
    add("--management", type=_management, metavar="URL", help=f"the broker's management API (default: {where})")

    parser.add_argument("command", nargs="...", metavar="COMMAND", help="what to run, and its arguments")
    return parser


_count = number_of(int, "a number from 0 to 10000", most=10_000)
_positive = number_of(int, "a number from 1", 1, 1_000_000)
# AMQP has two bytes for it.
_prefetch = number_of(int, "a number from 1 to 65535", 1, 65535)
_seconds = number_of(float, "a time in seconds", 0.001)
_seconds_or_0 = number_of(float, "a time in seconds")
_pause = number_of(float, f"a pause of 0 to {PAUSES_S[-1]} seconds", most=PAUSES_S[-1])


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d{1,12})([KMG]?)", text, re.ASCII | re.IGNORECASE)
    size = int(match[1]) * _UNITS[match[2].upper()] if match else 0
    if size < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 65536, 64K, 8M or 1G")
    return size


def _queue(text: str) -> str:
    try:
        return checked_name(text)
    except ClusterError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _located(text: str) -> str:
    if text == "@":
        raise argparse.ArgumentTypeError("'@' names no file: write it as @FILE")
    return text


def _management(text: str) -> str:
    try:
        return _located(text) if text.startswith("@") else url_of_api(text) if text else text
    except ClusterError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
