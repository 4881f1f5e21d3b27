"""Waiting for the end of a queue's work: never said too early, soon after the end, and what failed is told."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.operations import publish, wait
from cluster.queue import workers
from cluster.queue.publishing.items import Split
from cluster.queue.waiting.note import NoteFile
from cluster.settings import Settings
from scripts.amqp.broker import identity
from scripts.amqp.queues import alone_queue, paused_queue, side_queues
from scripts.errors import ClusterError, MessagesFailed, ServiceAway
from tests.conftest import Broker
from tests.integration.network import Network
from tests.integration.test_worker_rights import ALL, User
from tests.integration.worker_rig import Rig
from tests.waiting import until

pytestmark = pytest.mark.broker


class Waiting(threading.Thread):
    """`inv wait` in this process; what it says is in `lines`, and how it ended in `ended` or `error`."""

    def __init__(self, settings: Settings, rig: Rig, **flags: Any) -> None:
        super().__init__(daemon=True)
        self.lines: list[str] = []
        self.ended: wait.Ended | None = None
        self.error: ClusterError | None = None
        self.at_s = 0.0
        self._settings = settings
        self._flags = wait.Flags(**{"queue": rig.queue} | flags)
        self.start()

    def run(self) -> None:
        try:
            self.ended = wait.run(self._settings, self._flags, self.lines.append)
            self.at_s = time.time()
            wait.check(self.ended)
        except ClusterError as error:
            self.error = error

    def goes_on(self, for_s: float = 2.5) -> None:
        """See that it does not end."""
        self.join(for_s)
        assert self.is_alive(), (self.ended, self.error, self.lines)

    def over(self, timeout_s: float = 60) -> wait.Ended:
        """Wait until it has ended."""
        self.join(timeout_s)
        assert not self.is_alive(), self.lines
        if self.error and not isinstance(self.error, MessagesFailed):
            raise self.error
        assert self.ended
        return self.ended

    def says(self, text: str) -> None:
        until(lambda: any(text in line for line in self.lines), f"it says {text!r}: {self.lines}")


@pytest.fixture
def settings(broker: Broker) -> Settings:
    return broker.settings


@pytest.fixture
def note(rig: Rig, settings: Settings) -> Iterator[NoteFile]:
    one = NoteFile(identity(settings.queue.url), rig.queue)
    yield one
    one.path.unlink(missing_ok=True)


def send(settings: Settings, rig: Rig, tmp_path: Path, *lines: str) -> None:
    """Publish as `inv publish --file` does."""
    path = tmp_path / f"lines-{len(list(tmp_path.iterdir()))}"
    path.write_text("".join(f"{line}\n" for line in lines))
    publish.run(settings, print, file=str(path), queue=rig.queue, create=True, split=Split())


def all_settled(rig: Rig) -> bool:
    """Tell whether the queue is empty for all that others than its worker can know."""
    return rig.ready() == 0 and all(rig.ready(name) == 0 for name in side_queues(rig.queue))


def test_the_last_action_is_waited_for_and_the_end_is_soon_told(rig: Rig, settings: Settings, note: NoteFile) -> None:
    rig.declare()
    rig.publish(b"a", b"b")
    rig.worker(rig.action(rig.gate.wait))
    rig.gate.started()
    waiting = Waiting(settings, rig)
    waiting.goes_on()
    rig.gate.open()
    opened_s = time.time()
    assert waiting.over().failed == 0
    [report] = workers.ask(rig.url, [rig.queue], lambda found: len(found) == 1)
    assert (report.done, report.in_hand) == (2, 0)
    # Some 1.4 s on a machine that is idle.
    assert waiting.at_s - opened_s < 5


def test_what_is_to_be_tried_again_is_waited_for(rig: Rig, settings: Settings, note: NoteFile) -> None:
    worker = rig.worker(rig.action("[ $AMQP_ATTEMPT -ge 3 ]"))
    rig.publish(b"a")
    waiting = Waiting(settings, rig)
    assert waiting.over().failed == 0
    assert worker.log.count("attempt 2") == 1
    assert all_settled(rig)


def test_failures_between_publishing_and_waiting_are_told_once(
    rig: Rig, settings: Settings, note: NoteFile, tmp_path: Path
) -> None:
    rig.declare()
    rig.publish(b"of somebody else", queue=rig.queue)
    rig.worker(rig.action("exit 65"), "--breaker", "0")
    until(lambda: rig.ready(rig.failed) == 1)
    send(settings, rig, tmp_path, "a", "b")
    send(settings, rig, tmp_path, "c")
    until(lambda: rig.ready(rig.failed) == 4)
    waiting = Waiting(settings, rig)
    ended = waiting.over()
    assert (ended.failed, ended.messages) == (3, 3)
    assert isinstance(waiting.error, MessagesFailed)
    again = Waiting(settings, rig)
    assert again.over().failed == 0
    assert again.error is None
    again.says("4 failed earlier")


def test_too_many_failures_end_it(rig: Rig, settings: Settings, note: NoteFile, tmp_path: Path) -> None:
    rig.worker(rig.action('read x; [ "$x" = bad ] && exit 65; sleep 60'))
    send(settings, rig, tmp_path, "bad", "bad", "good", "good")
    waiting = Waiting(settings, rig, halt="50%")
    waiting.join(60)
    assert isinstance(waiting.error, MessagesFailed)
    found = note.read()
    assert found
    assert found.is_open  # a wait for the rest tells of them as well


def test_nobody_takes_and_nobody_may(rig: Rig, settings: Settings, note: NoteFile) -> None:
    rig.declare()
    rig.publish(b"a")
    waiting = Waiting(settings, rig)
    waiting.says("no worker")
    workers.pause(rig.url, rig.queue)
    waiting.says("queue.resume")
    rig.worker("cat", consuming=False).says("is paused")
    waiting.goes_on()
    workers.resume(rig.url, rig.queue)
    assert waiting.over().failed == 0
    assert len([line for line in waiting.lines if "no worker" in line]) == 1
    with rig.channel() as channel:
        channel.queue_delete(paused_queue(rig.queue))


def test_a_queue_without_anything_needs_no_worker(rig: Rig, settings: Settings, note: NoteFile) -> None:
    rig.declare()
    assert Waiting(settings, rig).over().messages == 0


def test_a_stopped_worker_is_not_taken_for_an_idle_one(rig: Rig, settings: Settings, note: NoteFile) -> None:
    rig.declare()
    rig.publish(b"a")
    worker = rig.worker(rig.action(rig.gate.wait))
    rig.gate.started()
    worker.signal(signal.SIGSTOP)
    try:
        waiting = Waiting(settings, rig)
        waiting.goes_on(18)
        rig.gate.open()
        waiting.goes_on()
    finally:
        worker.signal(signal.SIGCONT)
    assert waiting.over().failed == 0


def test_what_a_killed_worker_had_in_hand_is_waited_for(rig: Rig, settings: Settings, note: NoteFile) -> None:
    rig.declare()
    rig.publish(b"a")
    first = rig.worker(rig.action(rig.gate.wait))
    rig.gate.started()
    waiting = Waiting(settings, rig)
    waiting.goes_on()
    first.kill()
    waiting.goes_on()
    rig.worker(rig.action(f"echo >>{rig.tmp}/ran"))
    assert waiting.over().failed == 0
    assert (rig.tmp / "ran").read_text() == "\n"
    assert rig.ready(alone_queue(rig.queue)) == 0


def test_foreign_consumers_are_waited_for(rig: Rig, settings: Settings, note: NoteFile) -> None:
    rig.declare()
    rig.publish(b"a")
    with rig.channel() as channel:
        [tag] = [channel.basic_get(rig.queue)[0].delivery_tag]
        waiting = Waiting(settings, rig)
        waiting.goes_on(18)
        channel.basic_ack(tag)
        assert waiting.over().failed == 0


def test_without_the_api_it_is_not_certain_what_others_hold(rig: Rig, settings: Settings, note: NoteFile) -> None:
    user = User(rig)
    try:
        user.may(**ALL)
        rig.declare()
        with rig.channel() as channel:
            channel.basic_consume(rig.queue, lambda *_: None)
            # The user may not ask the management API of this broker.
            with pytest.raises(ServiceAway, match="not certain"):
                Waiting(settings, rig, url=user.url).over(90)
    finally:
        user.remove()


def test_a_connection_that_is_lost_is_made_again(rig: Rig, settings: Settings, note: NoteFile) -> None:
    network = Network(rig.url)
    network.up()
    rig.worker(rig.action(rig.gate.wait))
    rig.publish(b"a")
    rig.gate.started()
    waiting = Waiting(settings, rig, url=network.url)
    until(lambda: len(network._pairs) == 2, "it has both connections")
    waiting.goes_on()
    network.down()
    waiting.says("trying")
    network.up()
    waiting.says("connected again")
    waiting.goes_on()
    rig.gate.open()
    assert waiting.over().failed == 0
    network.down()


def test_a_queue_that_is_not_there_is_an_error(rig: Rig, settings: Settings, note: NoteFile) -> None:
    with pytest.raises(ClusterError, match=rig.queue):
        Waiting(settings, rig).over()
    rig.declare()
    rig.publish(b"a")
    with pytest.raises(ClusterError, match=f"mean '{rig.queue}'"):
        Waiting(settings, rig, queue=f"{rig.queue}x").over()
    waiting = Waiting(settings, rig)
    waiting.goes_on(1)
    with rig.channel() as channel:
        channel.queue_delete(rig.queue)
    with pytest.raises(ClusterError, match="there is no queue"):
        waiting.over()


def test_it_ends_when_its_time_is_over(rig: Rig, settings: Settings, note: NoteFile) -> None:
    rig.declare()
    rig.publish(b"a")
    with pytest.raises(ClusterError, match="1 ready"):
        Waiting(settings, rig, timeout_s=1.0).over()


BATCHES = int(os.environ.get("CLUSTER_TEST_BATCHES", "3"))


def test_whatever_happens_all_is_settled_when_it_ends(
    rig: Rig, settings: Settings, note: NoteFile, tmp_path: Path
) -> None:
    """Batches with actions that succeed, fail, and are tried again; each is counted by the files that they leave."""
    done = tmp_path / "done"
    done.mkdir()
    script = f"""read name what
case $what in
  bad) exit 65;;
  again) [ $AMQP_ATTEMPT -ge 2 ] || exit 1;;
  slow) sleep 0.3;;
esac
touch {done}/$name"""
    for _ in range(2):
        rig.worker(rig.action(script), "-j", "2", "--breaker", "0")
    failed = 0
    for batch in range(BATCHES):
        kinds = ["fine", "bad", "again", "slow", "fine", "again"][: batch % 6 + 1]
        lines = [f"{batch}-{number} {kind}" for number, kind in enumerate(kinds)]
        send(settings, rig, tmp_path, *lines)
        ended = Waiting(settings, rig).over()
        found = {path.name for path in done.iterdir()}
        assert {line.split()[0] for line in lines if not line.endswith("bad")} <= found
        failed += kinds.count("bad")
        assert rig.ready(rig.failed) == failed
        assert (ended.failed, ended.messages) == (kinds.count("bad"), len(kinds))
