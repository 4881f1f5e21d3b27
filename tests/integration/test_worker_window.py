"""How many messages a worker holds: more while actions are short, and not one more than runs once they are long."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.integration.worker_rig import Rig, WorkerProcess
from tests.waiting import until

pytestmark = pytest.mark.broker

MESSAGES = 2000

ACTION = """\
import json, os, sys, time

def netstring():
    length = b""
    while (one := sys.stdin.buffer.read(1)) != b":":
        length += one or sys.exit()
    return sys.stdin.buffer.read(int(length) + 1)[:-1]

with open(3, "w", buffering=1) as verdicts, open("{work.log}", "a", buffering=1) as log:
    print("ready 1", file=verdicts)
    while True:
        about, body = json.loads(netstring()), netstring().decode()
        time.sleep(0.005)
        if os.path.exists("{work.stop}") and "QUICK" not in os.environ:
            me = os.path.join("{work.folder}", body)
            open(me, "w").close()
            while os.path.exists(me):
                time.sleep(0.05)
        print(body, about["attempt"], file=log)
        print("ok", file=verdicts)
"""


class Work:
    """Many short actions, which `stand` makes long at once: each waits then until it is let go, but for `quick` ones.

    They sleep, so that they are short on a busy machine, too.
    """

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.log, self.stop, self.folder = rig.tmp / "done", rig.tmp / "stop", rig.tmp / "standing"
        self.folder.mkdir()
        self.log.touch()
        rig.declare()
        rig.publish(*[b"%d" % number for number in range(MESSAGES)])

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("--keep-alive", "--framing", "netstring", self.rig.python_action(ACTION.format(work=self)))

    @property
    def done(self) -> list[str]:
        return self.log.read_text().splitlines()

    @property
    def in_hand(self) -> int:
        """The messages that are neither in the queue nor done, or fewer: some are done between the two looks."""
        ready = self.rig.ready()
        return MESSAGES - ready - len(self.done)

    def grown(self, jobs: int) -> None:
        until(lambda: self.in_hand > jobs + 3, "more is held than runs")

    def stand(self, jobs: int) -> None:
        """Make what begins from now on long, and wait until all slots have such an action."""
        self.stop.touch()
        until(lambda: len(self.standing) == jobs, "all wait")

    @property
    def standing(self) -> list[Path]:
        return list(self.folder.iterdir())

    def go_on(self) -> None:
        self.stop.unlink()
        for one in self.standing:
            one.unlink()

    def each_was_done_once(self) -> None:
        until(lambda: len(self.done) >= MESSAGES, "all are done")
        assert sorted(self.done) == sorted(f"{number} 1" for number in range(MESSAGES))


def _stops(worker: WorkerProcess) -> None:
    assert worker.stop() == 0
    assert worker.log.count("consuming from") == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_waits_goes_to_others_once_actions_are_long(rig: Rig, jobs: int) -> None:
    work = Work(rig)
    worker = rig.worker("-j", str(jobs), *work.arguments)
    work.grown(jobs)
    work.stand(jobs)
    until(lambda: work.in_hand == jobs, "what waited went back")
    # One that ends makes room for one.
    work.standing[0].unlink()
    until(lambda: len(work.standing) == jobs, "the next one waits")
    assert work.in_hand == jobs
    other = rig.worker("-j", "4", *work.arguments, QUICK="1")
    until(lambda: len(work.done) == MESSAGES - jobs, "the other one did all the rest")
    work.go_on()
    work.each_was_done_once()
    _stops(other)
    _stops(worker)
    assert rig.ready() == rig.ready(rig.failed) == 0


def test_it_holds_more_again_once_actions_are_short_again(rig: Rig) -> None:
    work = Work(rig)
    worker = rig.worker("-j", "2", *work.arguments)
    work.grown(2)
    work.stand(2)
    until(lambda: work.in_hand == 2, "what waited went back")
    work.go_on()
    work.grown(2)
    work.each_was_done_once()
    with rig.channel() as channel:
        until(
            lambda: channel.queue_declare(rig.queue, passive=True).method.consumer_count == 1,
            "one subscription is left",
        )
    _stops(worker)


def test_a_stop_hands_back_at_once_what_has_not_begun(rig: Rig) -> None:
    work = Work(rig)
    worker = rig.worker("-j", "2", *work.arguments)
    work.grown(2)
    work.stand(2)
    worker.signal(signal.SIGTERM)
    until(lambda: work.in_hand == 2, "what waited went back")
    work.go_on()
    assert worker.exit_code() == 0
    rig.worker("-j", "4", *work.arguments, QUICK="1")
    work.each_was_done_once()


def test_a_prefetch_that_is_given_is_kept(rig: Rig) -> None:
    work = Work(rig)
    worker = rig.worker("--prefetch", "2", *work.arguments)
    until(lambda: work.done, "it works")
    seen = []
    while len(work.done) < MESSAGES // 2:
        seen.append(work.in_hand)
    assert max(seen) <= 2
    _stops(worker)
