"""A broker that is killed and started again, and one that is short of memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.worker_rig import Rig
from tests.waiting import until

pytestmark = pytest.mark.broker


@pytest.fixture
def own(own_broker: Any, queue_name: str, tmp_path: Path) -> Iterator[Rig]:
    """A queue on a broker that this test may kill."""
    one = Rig(own_broker.url, own_broker.management, queue_name, tmp_path)
    yield one
    one.close()


def test_a_broker_that_is_killed_and_started_again(own: Rig, own_broker: Any) -> None:
    """What waits, what runs and what waits to be tried again: all of it goes on, and nothing runs twice."""
    starts = own.tmp / "starts"
    action = own.action(f"""read kind; echo $kind $AMQP_ATTEMPT >> {starts}
        case $kind in
        fails) [ $AMQP_ATTEMPT = 2 ];;
        slow) {own.gate.wait};;
        esac""")
    worker = own.worker("--backoff", "8", action)
    own.publish(b"fails\n", b"slow\n", b"waits\n", message_id=None)
    own.gate.started()
    own_broker.kill()
    worker.says("lost the broker at")
    own_broker.start()
    worker.says("consuming from", times=2, timeout_s=60)
    own.gate.open()
    until(lambda: starts.read_text().count("\n") == 4, "all four runs", timeout_s=60)
    until(lambda: own.ready() == 0, "the queue is empty")
    assert worker.stop() == 0
    assert sorted(starts.read_text().splitlines()) == ["fails 1", "fails 2", "slow 1", "waits 1"]
    assert own.ready() == own.ready(own.failed) == 0


def test_a_memory_alarm_stops_copies_but_not_acknowledgements(own: Rig, own_broker: Any) -> None:
    worker = own.worker("--prefetch", "3", "--backoff", "0", own.action("read kind; echo $kind; [ $kind = good ]"))
    own.publish(b"bad\n", message_id="first")
    until(lambda: worker.out.count(b"bad") == 2, "a copy was made before")
    own.publish(*[b"good\n"] * 20, b"bad\n", *[b"good\n"] * 20)
    own_broker.alarm(True)
    worker.says("takes no messages for the moment")
    until(lambda: worker.out.count(b"good") == 40, "the good ones are done meanwhile")
    own_broker.alarm(False)
    worker.says("takes messages again")
    assert len(own.take_failed(2)) == 2
    assert worker.stop() == 0
