"""Workers that are asked what they do, and queues that are paused and go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from urllib.parse import quote

import pytest

from cluster.operations.status import View
from cluster.queue import workers
from scripts import VERSION
from scripts.amqp.queues import is_inbox, paused_queue
from scripts.amqp.workers import Report
from scripts.errors import ClusterError
from tests.conftest import Broker
from tests.integration.test_worker_rights import ALL, User
from tests.integration.worker_rig import Rig
from tests.waiting import until

pytestmark = pytest.mark.broker

LOADS = "until [ -e OPEN ]; do sleep 0.02; done; echo ready 1 >&3; while read -r body; do echo ok >&3; done"


@pytest.fixture
def paused(rig: Rig) -> Iterator[str]:
    """The URL of a broker on which the rig's queue is made and paused."""
    rig.declare()
    assert workers.pause(rig.url, rig.queue)
    yield rig.url
    workers.resume(rig.url, rig.queue)


def asked(rig: Rig, count: int = 1) -> list[Report]:
    """What so many workers say, once they are there."""
    enough = lambda found: len(found) >= count  # noqa: E731
    return until(lambda: [*filter(enough, [workers.ask(rig.url, [rig.queue], enough)])], f"{count} answer")[0]


def test_a_worker_says_what_it_runs_and_what_it_did(rig: Rig) -> None:
    worker = rig.worker(
        "-j",
        "2",
        "--attempts",
        "2",
        "--backoff",
        "0",
        rig.action(f"read a; [ $a = go ] && {{ {rig.gate.wait}; }}; exit $a"),
    )
    rig.publish(b"0\n", b"65\n", b"1\n")
    rig.take_failed(2)
    rig.publish(b"go\n", headers={"x-cluster-item": 17}, message_id="slow")
    rig.gate.started()
    [one] = asked(rig)
    assert (one.queue, one.pid, one.version, one.jobs) == (rig.queue, worker.process.pid, VERSION, 2)
    assert (one.done, one.failed, one.retried, one.taken, one.in_hand) == (1, 2, 1, 5, 1)
    assert (one.state, one.subscriptions) == ("taking", 1)
    assert one.rate > 0
    [running] = one.running
    assert (running.id, running.item, running.attempt) == ("slow", 17, 1)
    [again] = asked(rig)
    assert again.running[0].seconds > running.seconds
    rig.gate.open()


def test_each_worker_answers_and_those_of_other_queues_do_not(rig: Rig) -> None:
    found = [rig.worker("cat") for _ in range(3)]
    other = rig.worker("cat", queue=rig.failed)
    assert {one.pid for one in asked(rig, 3)} == {worker.process.pid for worker in found}
    [one] = workers.ask(rig.url, [rig.failed], bool, 10)
    assert one.pid == other.process.pid


def test_a_worker_that_loads_or_drains_says_so(rig: Rig) -> None:
    rig.worker("--keep-alive", rig.action(LOADS.replace("OPEN", str(rig.tmp / "loaded"))), consuming=False)
    [one] = asked(rig)
    assert (one.state, one.subscriptions) == ("loading", 0)
    (rig.tmp / "loaded").touch()
    until(lambda: asked(rig)[0].state == "taking", "it takes messages")
    stopping = rig.worker(rig.action(rig.gate.wait))
    rig.publish(*[b"x"] * 2)
    rig.gate.started()
    stopping.signal(15)
    until(lambda: {one.state for one in asked(rig, 2)} == {"taking", "draining"}, "one drains")
    rig.gate.open()
    assert stopping.exit_code() == 0


def inboxes(rig: Rig) -> list[str]:
    names = [one["name"] for one in rig.api("GET", "queues/%2F")]
    return [name for name in names if is_inbox(name) and name.startswith(rig.queue)]


def test_its_own_queue_goes_with_the_worker(rig: Rig) -> None:
    worker = rig.worker("cat")
    assert asked(rig)
    assert len(inboxes(rig)) == 1
    worker.kill()
    until(lambda: not inboxes(rig), "its queue is gone")


def test_the_status_has_what_workers_say_and_is_looked_at_again(rig: Rig, broker: Broker) -> None:
    rig.worker("-j", "2", rig.action(f"read a; [ $a = go ] && {{ {rig.gate.wait}; }}; exit 0"))
    rig.publish(b"0\n", b"0\n", b"go\n")
    rig.gate.started()
    until(lambda: asked(rig)[0].done == 2, "two are done")
    view = View(broker.settings, width=80, as_json=True, say=print)
    for text in islice(view.again_and_again(), 2):
        seen = json.loads(text)
        [work] = [one for one in seen["work"] if one["name"] == rig.queue]
        assert (work["waiting"], work["in_work"], work["done"], work["workers"]) == (0, 1, 2, 1)
        [worker] = [one for one in seen["workers"] if one["queue"] == rig.queue]
        assert [one["id"] for one in worker["running"]] == ["m2"]
        assert not [one for one in seen["queues"] if is_inbox(one["name"])]
    text = View(broker.settings, width=80, say=print).once()
    assert [line for line in text.splitlines() if line.startswith(rig.queue)]
    assert "m2 for" in text
    rig.gate.open()


def test_a_paused_queue_is_left_alone_until_it_goes_on(rig: Rig) -> None:
    """What runs is finished; what was held and had not begun is the broker's again, without a lost attempt."""
    worker = rig.worker("--prefetch", "5", rig.action(rig.gate.wait))
    rig.publish(*[b"x"] * 8)
    rig.gate.started()
    until(lambda: rig.ready() == 3, "it holds five")
    assert workers.pause(rig.url, rig.queue)
    assert not workers.pause(rig.url, rig.queue)
    until(lambda: rig.ready() == 7, "it holds only what runs")
    rig.gate.open()
    until(lambda: asked(rig)[0].done == 1, "that is finished")
    [one] = asked(rig)
    assert (one.state, one.in_hand, one.subscriptions) == ("paused", 0, 0)
    assert rig.ready() == 7
    assert worker.process.poll() is None
    assert workers.resume(rig.url, rig.queue)
    assert not workers.resume(rig.url, rig.queue)
    until(lambda: asked(rig)[0].done == 8, "all are done")
    assert "attempt 2" not in worker.log


def test_a_worker_that_starts_meanwhile_takes_nothing(rig: Rig, paused: str) -> None:
    rig.publish(b"x")
    worker = rig.worker("cat", consuming=False)
    worker.says("is paused")
    [one] = asked(rig)
    assert (one.state, one.taken) == ("paused", 0)
    assert rig.ready() == 1
    workers.resume(paused, rig.queue)
    until(lambda: asked(rig)[0].done == 1, "it is done")


def connections(rig: Rig, pid: int) -> list[str]:
    found = [(one["name"], one["client_properties"]) for one in rig.api("GET", "connections")]
    return [name for name, said in found if said.get("connection_name", "").endswith(f"pid {pid}")]


def test_a_lost_connection_changes_nothing(rig: Rig, paused: str) -> None:
    worker = rig.worker("cat", consuming=False)
    worker.says("is paused")
    rig.publish(b"x")
    for name in until(lambda: connections(rig, worker.process.pid), "its connections are known"):
        rig.api("DELETE", f"connections/{quote(name)}")
    worker.says("lost the broker")
    until(lambda: [one.state for one in asked(rig)] == ["paused"], "it is there again")
    assert rig.ready() == 1
    workers.resume(paused, rig.queue)
    until(lambda: asked(rig)[0].done == 1, "it is done")


def test_only_a_queue_that_is_there_is_paused(rig: Rig) -> None:
    with pytest.raises(ClusterError, match=rig.queue):
        workers.pause(rig.url, rig.queue)
    assert rig.ready(paused_queue(rig.queue)) == 0


def test_a_user_who_may_not_have_that_queue_works_all_the_same(rig: Rig) -> None:
    user = User(rig)
    try:
        rig.worker("cat").stop()
        user.may(**ALL | {"configure": rf"^{rig.queue}(\.failed|\.alone|\.retry.*)?$"})
        worker = rig.worker("cat", url=user.url)
        worker.says("does not see")
        rig.publish(b"x")
        worker.says("the first message succeeded")
        assert worker.stop() == 0
    finally:
        user.remove()
