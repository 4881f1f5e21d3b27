"""cluster_worker: take messages from a queue and run a command for each (the launcher is the file without `.py`)."""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

if not __package__:  # started as a file, which has the wrong folder on its path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import streams
from scripts.action.command import executable
from scripts.action.jobs import Runner
from scripts.action.kept_alive import KeptAlive
from scripts.action.kept_life import KeepAlive
from scripts.action.processes import Processes
from scripts.amqp import broker
from scripts.amqp.fields import keep_fields
from scripts.errors import ClusterError
from scripts.event_loop import EventLoop, in_thread
from scripts.marathon import access
from scripts.one_line import visible
from scripts.worker.alive import HOLD, AliveFile
from scripts.worker.alive import VARIABLE as ALIVE_FILE
from scripts.worker.eviction import VARIABLE as EVICTION
from scripts.worker.eviction import Eviction
from scripts.worker.idle import Idle
from scripts.worker.options import Options, parse
from scripts.worker.reconnect import Locate
from scripts.worker.until_empty import UntilEmpty
from scripts.worker.worker import Worker

# A run needs six descriptors while it starts; the rest is for connections, logs and what Python opens.
_DESCRIPTORS_A_JOB = 6
_DESCRIPTORS_BESIDE = 100

# timeout(1) sends its signal to the command and once more to the command's process group.
_ONE_SIGNAL_S = 0.1


def main(argv: Sequence[str]) -> int:
    """Run the worker until it is stopped; return the exit code."""
    try:
        options = parse(argv)
        command = executable(options.command)
        return 0 if options.check else work(options, command)
    except ClusterError as error:
        print(f"cluster_worker: error: {visible(error)}", file=sys.stderr)
        return error.exit_code


def work(options: Options, command: Sequence[str]) -> int:
    """Consume, run `command` for each message, and settle, until told to stop; return the exit code."""
    _prepare_process(options.jobs)
    loop = EventLoop()
    locate = _locate(loop, options)
    alive = AliveFile(loop, os.environ.get(ALIVE_FILE))
    eviction = Eviction.of(loop, os.environ)
    worker = Worker(loop, options, _runner(loop, options, command), locate, alive, eviction)
    StopSignals(loop, worker)
    if options.until_empty:
        UntilEmpty(loop, options, worker).start()
    if options.idle_s is not None:
        Idle(loop, worker, options.idle_s).start()
    worker.start()
    # Modules stay: the collector need not look at them again and again.
    gc.freeze()
    loop.run()
    return worker.exit_code


class StopSignals:
    """SIGTERM and SIGINT; SIGHUP (its terminal was closed), unless that is ignored as by nohup; and HOLD.

    The first lets running actions finish, a second one does not wait. Where a worker is evicted by SIGTERM, that counts
    at any time, and nothing after it.
    """

    def __init__(self, loop: EventLoop, worker: Worker) -> None:
        """Watch from now on; to be called from the main thread."""
        self._worker = worker
        self._first_at: float | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.watch_signal(number, partial(self._received, number))
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
            # A shell passes on what the kernel sent already: a second one never means that somebody is in a hurry.
            loop.watch_signal(signal.SIGHUP, partial(worker.wind_down, signal.SIGHUP.name))
        loop.watch_signal(HOLD, partial(worker.hold, HOLD.name))

    def _received(self, number: signal.Signals) -> None:
        now, eviction = time.monotonic(), self._worker.eviction
        if number == signal.SIGTERM and eviction.is_expected:
            self._worker.evict(number.name)
        elif eviction.has_begun:
            return
        elif self._first_at is None:
            self._first_at = now
            self._worker.wind_down(number.name)
        elif now - self._first_at > _ONE_SIGNAL_S:
            self._worker.stop(number.name)


def _prepare_process(jobs: int) -> None:
    """Silence pika, whose logs we say ourselves; have enough descriptors, and 0, 1, 2 not be pipes of an action."""
    logging.getLogger("pika").setLevel(logging.CRITICAL + 1)
    keep_fields()
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = jobs * _DESCRIPTORS_A_JOB + _DESCRIPTORS_BESIDE
    if soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


def _locate(loop: EventLoop, options: Options) -> Locate:
    url = options.url
    if url is None:
        # Marathon may move it: asked anew for each connection.
        return partial(in_thread, loop, partial(_marathon_url, str(options.marathon), str(options.app)))
    if url.startswith("@"):
        # Whoever moves the broker replaces the file, which may lie on a network that is away.
        return partial(in_thread, loop, partial(broker.located, url))
    # A mistake in it is shown now, not tried again for ever.
    broker.parameters(url)
    return lambda found, _failed: loop.add_callback_threadsafe(lambda: found(url))


def _marathon_url(marathon: str, app: str) -> str:
    # Only here, so that a worker with a URL does without requests and its 8 MB.
    from scripts.marathon.discovery import discover

    address = discover(marathon, app)
    return broker.url_of(address.host, address.port)


def _runner(loop: EventLoop, options: Options, command: Sequence[str]) -> Runner:
    environment = _action_environment()
    if not options.keep_alive:
        return Processes(loop, command, environment, options.jobs, options.limits, options.tag)
    keep = KeepAlive(options.framing, options.jobs, options.recycle_after, options.ready_timeout_s, options.tag)
    return KeptAlive(loop, command, environment, options.limits, keep)


def _action_environment() -> dict[str, str]:
    """Return what an action inherits: everything but the worker's secrets, its health file and its end."""
    hidden = {*broker.SECRET_VARIABLES, *access.SECRET_VARIABLES, ALIVE_FILE, EVICTION}
    return {name: value for name, value in os.environ.items() if name not in hidden}


if __name__ == "__main__":
    streams.run(main)
