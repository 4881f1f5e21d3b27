"""Runs at a real broker: which there are, and what becomes of one that is cancelled."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.operations import runs
from cluster.operations import status as listing
from cluster.queue.runs.ending import _IN_HAND, take_off
from scripts.amqp.broker import open_blocking
from scripts.amqp.queues import alone_queue, results_queue, retry_queue
from scripts.errors import ClusterError
from scripts.worker.headers import RUN
from tests.conftest import Broker
from tests.integration.worker_rig import Rig
from tests.refusing import refusal

pytestmark = pytest.mark.broker


@pytest.fixture
def run(rig: Rig) -> Iterator[str]:
    """A run on the rig's queue, with a queue of results."""
    one = secrets.token_hex(4)
    rig.declare()
    rig.declare(results_queue(rig.queue, one))
    yield one
    with rig.channel() as channel:
        channel.queue_delete(results_queue(rig.queue, one))


@pytest.fixture
def said() -> list[str]:
    return []


def cancel(broker: Broker, run: str, said: list[str], queue: str = "", yes: bool = False) -> None:
    runs.cancel(broker.settings, run, queue=queue, at="", marathon="", url="", yes=yes, say=said.append)


def listed(broker: Broker, run: str) -> list[dict[str, Any]]:
    found = runs.listed(broker.settings, at="", marathon="", url="", as_json=True, say=print)
    return [one for one in json.loads(found) if one["run"] == run]


def items(rig: Rig, run: str, *bodies: bytes, queue: str = "") -> None:
    rig.publish(*bodies, queue=queue, headers={RUN: run})


def taken_off(rig: Rig, run: str) -> int:
    with open_blocking(rig.url) as connection:
        return take_off(connection, rig.queue, run)


def test_a_run_is_listed_with_its_results_and_whether_they_are_collected(rig: Rig, broker: Broker, run: str) -> None:
    results = results_queue(rig.queue, run)
    rig.publish(b"a", b"b", queue=results)
    (found,) = listed(broker, run)
    assert found == {"run": run, "queue": rig.queue, "results": 2, "collectors": 0}
    with rig.channel() as channel:
        channel.basic_consume(results, lambda *_: None)
        (found,) = listed(broker, run)
        assert (found["results"], found["collectors"]) == (0, 1)
    assert run in runs.listed(broker.settings, at="", marathon="", url="", as_json=False, say=print)


def test_results_of_a_run_are_no_row_of_the_status(rig: Rig, broker: Broker, run: str) -> None:
    table = listing.View(broker.settings, say=print).once()
    assert rig.queue in table
    assert run not in table


def test_a_cancelled_run_is_gone_and_what_belongs_to_others_stays_as_it_was(
    rig: Rig, broker: Broker, run: str, said: list[str]
) -> None:
    results, retry, alone = results_queue(rig.queue, run), retry_queue(rig.queue, 64), alone_queue(rig.queue)
    for name in (retry, alone):
        rig.declare(name)
    rig.publish(b"result", queue=results)
    items(rig, run, *[b"before"] * 120)
    rig.publish(b"mine")
    items(rig, "0badcafe", b"other")
    items(rig, run, b"between")
    for name in (retry, alone):
        items(rig, run, b"again", queue=name)
        rig.publish(b"mine", queue=name)
    cancel(broker, run, said)
    assert listed(broker, run) == []
    assert (rig.ready(results), "1 result " in said[0], "122 items " in said[0]) == (0, True, True)
    assert [one.body for one in rig.take(count=2)] == [b"mine", b"other"]
    assert [one.body for one in rig.take(retry)] == [b"mine"]
    assert [(one.body, one.lost) for one in rig.take(alone, 2)] == [(b"again", 0), (b"mine", 0)]
    assert rig.ready() == 0


def test_a_run_that_is_being_collected_is_cancelled_on_demand_alone(
    rig: Rig, broker: Broker, run: str, said: list[str]
) -> None:
    items(rig, run, b"x")
    with rig.channel() as channel:
        channel.basic_consume(results_queue(rig.queue, run), lambda *_: None)
        assert "--yes" in refusal(cancel, broker, run, said)
        assert (rig.ready(), len(listed(broker, run))) == (1, 1)
        cancel(broker, run, said, yes=True)
    assert (rig.ready(), listed(broker, run)) == (0, [])


def test_a_cancel_that_was_interrupted_goes_on(rig: Rig, broker: Broker, run: str, said: list[str]) -> None:
    items(rig, run, b"x", b"y")
    with rig.channel() as channel:
        channel.queue_delete(results_queue(rig.queue, run))
    cancel(broker, run, said, queue=rig.queue)
    assert rig.ready() == 0
    with pytest.raises(ClusterError, match=run):
        cancel(broker, run, said, queue=rig.queue)


@pytest.mark.parametrize("name", ["", "x", "0BADCAFE", "0badcafe0"])
def test_what_is_no_run_is_refused(broker: Broker, said: list[str], name: str) -> None:
    assert repr(name) in refusal(cancel, broker, name, said)


def test_among_many_of_others_a_run_is_left_to_the_workers(rig: Rig, run: str) -> None:
    items(rig, run, b"first")
    rig.publish(*[b"other"] * 2 * _IN_HAND)
    items(rig, run, b"last")
    assert taken_off(rig, run) == 1
    found = rig.take(count=2 * _IN_HAND + 1)
    assert sum(one.body == b"other" for one in found) == 2 * _IN_HAND
    assert sum(one.lost for one in found) <= _IN_HAND


def test_what_workers_take_meanwhile_is_not_waited_for(rig: Rig, run: str) -> None:
    items(rig, run, *[b"x"] * 500)
    with rig.channel() as channel:
        channel.basic_qos(prefetch_count=200)
        channel.basic_consume(rig.queue, lambda *_: None)
        assert 0 < taken_off(rig, run) <= 300
        assert rig.ready() == 0
