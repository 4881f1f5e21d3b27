"""Queues by their names at a real broker: listed, emptied and deleted, and what is not to be lost stays."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cluster.operations import queues
from cluster.operations.queues import Place
from cluster.queue import workers
from scripts.amqp.broker import open_blocking
from scripts.amqp.queues import alone_queue, failed_queue, lock_of, results_queue, retry_queue, side_queues
from scripts.errors import ClusterError, ServiceAway
from tests.conftest import Broker
from tests.integration.worker_rig import Rig
from tests.refusing import refusal
from tests.waiting import until

pytestmark = pytest.mark.broker

RUN = "0badcafe"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def place(broker: Broker, said: list[str]) -> Place:
    return Place(broker.settings, said.append)


@pytest.fixture
def full(rig: Rig) -> Iterator[Rig]:
    """A queue with 3 ready messages, 2 to be tried again, 4 failed ones."""
    rig.declare()
    for name in (failed_queue(rig.queue), *side_queues(rig.queue)):
        rig.declare(name)
    rig.publish(*[b"ready"] * 3)
    rig.publish(*[b"again"] * 2, queue=retry_queue(rig.queue, 64))
    rig.publish(*[b"failed"] * 4, queue=failed_queue(rig.queue))
    yield rig
    with rig.channel() as channel:
        for name in (failed_queue(rig.queue), *side_queues(rig.queue)):
            channel.queue_delete(name)


def purge(place: Place, name: str, ask: queues.Ask = None, dry_run: bool = False) -> None:
    queues.purge(place, name, dry_run=dry_run, ask=ask)


def delete(place: Place, name: str, ask: queues.Ask = None, dry_run: bool = False) -> None:
    queues.delete(place, name, dry_run=dry_run, ask=ask)


def rows(place: Place, *, each: bool = False) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(queues.listed(place, each=each, as_json=True))}


def names(place: Place, prefix: str) -> set[str]:
    """The queues at the broker that begin with this."""
    return {name for name in rows(place, each=True) if name.startswith(prefix)}


def asked(costs: list[str]) -> queues.Ask:
    return costs.append


def refuses(_cost: str) -> None:
    raise ClusterError("no")


def test_a_queue_is_one_row_with_all_that_belongs_to_it(full: Rig, place: Place) -> None:
    with_figures = {"in_work": 0, "to_retry": 2, "failed": 4}.items()
    until(lambda: with_figures <= rows(place)[full.queue].items(), "the figures are there")
    assert rows(place)[full.queue] == {
        "name": full.queue, "waiting": 3, "in_work": 0, "to_retry": 2, "failed": 4, "workers": 0, "kind": "work",
    }  # fmt: skip
    assert names(place, full.queue) == {full.queue, failed_queue(full.queue), *side_queues(full.queue)}
    assert not {name for name in rows(place) if name.startswith(f"{full.queue}.")}


def test_results_of_runs_and_what_belongs_to_no_queue_have_their_rows(rig: Rig, place: Place, said: list[str]) -> None:
    results, stray, stream = results_queue(rig.queue, RUN), failed_queue(f"{rig.queue}-gone"), f"{rig.queue}-stream"
    with open_blocking(rig.url) as connection:
        channel = connection.channel()
        channel.queue_declare(rig.queue)
        for name, kind in ((results, "quorum"), (stray, "quorum"), (stream, "stream")):
            channel.queue_declare(name, durable=True, arguments={"x-queue-type": kind})
        own = channel.queue_declare("", exclusive=True).method.queue
        rig.publish(b"a", queue=results)
        found = rows(place)
        kinds = {name: found[name]["kind"] for name in (rig.queue, results, stray, stream, own)}
        assert kinds == {
            rig.queue: "work", results: "results", stray: "left over", stream: "stream", own: "exclusive",
        }  # fmt: skip
        assert found[results]["waiting"] == 1
        lines = queues.listed(place, each=False, as_json=False).splitlines()
        assert next(line for line in lines if line.startswith(stray)).endswith("left over")
        assert any("map.list" in line for line in said)
        assert any("queue.delete" in line for line in said)
        for name in (results, stray, stream):
            channel.queue_delete(name)


def test_a_purge_deletes_what_waits_and_says_how_many_before_and_after(
    full: Rig, place: Place, said: list[str]
) -> None:
    costs: list[str] = []
    purge(place, full.queue, asked(costs))
    assert "5 messages" in costs[0]
    assert "3 ready" in costs[0]
    assert "2 to retry" in costs[0]
    assert "5 messages" in said[0]
    assert (full.ready(), full.ready(retry_queue(full.queue, 64))) == (0, 0)
    assert full.ready(failed_queue(full.queue)) == 4
    assert "4 failed" in said[1]
    assert failed_queue(full.queue) in said[1]


def test_a_failed_queue_is_purged_by_its_own_name(full: Rig, place: Place) -> None:
    purge(place, failed_queue(full.queue))
    assert full.ready(failed_queue(full.queue)) == 0
    assert (full.ready(), full.ready(retry_queue(full.queue, 64))) == (3, 2)


def test_what_is_in_work_goes_on_when_its_queue_is_purged(rig: Rig, place: Place) -> None:
    rig.declare()
    rig.publish(b"1", b"2", b"3")
    worker = rig.worker("sh", "-c", rig.gate.wait)
    rig.gate.started()
    purge(place, rig.queue)
    assert rig.ready() == 0
    rig.gate.open()
    worker.says("the first message succeeded")
    worker.stop()
    assert rig.ready(failed_queue(rig.queue)) == 0


def test_an_empty_queue_is_purged_without_a_question(rig: Rig, place: Place, said: list[str]) -> None:
    rig.declare()
    until(lambda: rows(place)[rig.queue]["in_work"] == 0, "the figures are there")
    purge(place, rig.queue, refuses)
    assert rig.queue in said[0]


def test_a_deletion_takes_all_that_belongs_to_the_queue_and_nothing_else(
    full: Rig, place: Place, said: list[str]
) -> None:
    other = f"{full.queue}2"
    full.declare(other)
    costs: list[str] = []
    delete(place, full.queue, asked(costs))
    assert "9 messages" in costs[0]
    assert "4 failed" in costs[0]
    assert "9 messages" in said[0]
    assert names(place, full.queue) == {other}
    with full.channel() as channel:
        channel.queue_delete(other)


@pytest.mark.parametrize("command", [purge, delete])
def test_without_consent_or_with_a_dry_run_nothing_changes(
    full: Rig, place: Place, said: list[str], command: Any
) -> None:
    before = names(place, full.queue)
    with pytest.raises(ClusterError):
        command(place, full.queue, refuses)
    command(place, full.queue, refuses, dry_run=True)
    assert ("9" if command is delete else "5") in said[0]
    assert (full.ready(), full.ready(retry_queue(full.queue, 64)), full.ready(failed_queue(full.queue))) == (3, 2, 4)
    assert names(place, full.queue) == before


@pytest.mark.parametrize("command", [purge, delete])
def test_more_than_was_agreed_to_is_not_deleted(full: Rig, place: Place, command: Any) -> None:
    with pytest.raises(ClusterError, match="2 more messages"):
        command(place, full.queue, lambda _cost: full.publish(b"late", b"late"))
    assert full.ready() == 5


def test_what_came_in_the_last_moment_is_counted_in_the_end(
    full: Rig, place: Place, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    act = queues._sum_of

    def late(*how: Any) -> int:
        full.publish(b"late")
        return act(*how)

    monkeypatch.setattr(queues, "_sum_of", late)
    delete(place, full.queue, asked([]))
    assert "10 messages" in said[0]
    assert "1 of which" in said[0]


def test_a_queue_with_workers_is_not_deleted_but_when_they_have_ended(full: Rig, place: Place, said: list[str]) -> None:
    worker = full.worker("sh", "-c", full.gate.wait)
    full.gate.started()
    text = refusal(delete, place, full.queue, refuses)
    assert "1 worker" in text
    assert f"worker.stop -q {full.queue}" in text
    full.gate.open()
    worker.stop()
    until(lambda: rows(place)[full.queue]["workers"] == 0, "it has ended")
    delete(place, full.queue)
    assert names(place, full.queue) == set()


def test_a_worker_of_a_paused_queue_is_a_worker_and_the_mark_goes_with_the_queue(rig: Rig, place: Place) -> None:
    rig.declare()
    worker = rig.worker("cat")
    workers.pause(rig.url, rig.queue)
    worker.says("is paused")
    until(lambda: rows(place)[rig.queue]["workers"] == 0, "it is not subscribed")
    assert rows(place)[rig.queue]["kind"] == "paused"
    text = refusal(delete, place, rig.queue, refuses)
    assert "1 worker " in text
    assert socket.gethostname() in text
    assert not {name for name in rows(place) if name.startswith(f"{rig.queue}.")}
    worker.stop()
    until(lambda: not any(".worker." in name for name in names(place, rig.queue)), "it has ended")
    delete(place, rig.queue)
    assert names(place, rig.queue) == set()


def test_what_an_interrupted_deletion_left_is_found_by_the_same_name(full: Rig, place: Place, said: list[str]) -> None:
    with full.channel() as channel:
        channel.queue_delete(full.queue)
    delete(place, full.queue)
    assert "6 messages" in said[0]
    assert names(place, full.queue) == set()


@pytest.mark.parametrize("command", [purge, delete])
def test_a_queue_that_is_not_there_is_an_error_that_names_the_nearest(rig: Rig, place: Place, command: Any) -> None:
    rig.declare()
    text = refusal(command, place, f"{rig.queue}x", refuses)
    assert repr(f"{rig.queue}x") in text
    assert repr(rig.queue) in text


@pytest.mark.parametrize("command", [purge, delete])
@pytest.mark.parametrize("name", ["", "amq.direct", "a\nb"])
def test_what_is_no_name_is_refused(place: Place, command: Any, name: str) -> None:
    assert repr(name) in refusal(command, place, name, refuses) or "--queue" in refusal(command, place, name, refuses)


@pytest.mark.parametrize("command", [purge, delete])
def test_the_results_of_a_run_and_a_queue_that_one_uses_go_with_the_run(
    full: Rig, place: Place, said: list[str], command: Any
) -> None:
    results = results_queue(full.queue, RUN)
    full.declare(results)
    for name in (results, full.queue):
        assert f"map.cancel --run {RUN}" in refusal(command, place, name, refuses)
    command(place, failed_queue(full.queue))
    assert "4 messages" in said[0]
    with full.channel() as channel:
        channel.queue_delete(results)


def test_a_stream_is_deleted_as_a_whole_and_never_emptied(rig: Rig, place: Place) -> None:
    costs: list[str] = []
    with rig.channel() as channel:
        channel.queue_declare(rig.queue, durable=True, arguments={"x-queue-type": "stream"})
    assert "stream" in refusal(purge, place, rig.queue, refuses)
    delete(place, rig.queue, asked(costs))
    assert len(costs) == 1
    assert names(place, rig.queue) == set()


def test_what_belongs_to_one_connection_is_its_own(rig: Rig, place: Place) -> None:
    with rig.channel() as channel:
        channel.queue_declare(rig.queue, exclusive=True)
        for command in (purge, delete):
            assert "one connection" in refusal(command, place, rig.queue, refuses)


def test_what_somebody_looks_at_is_not_deleted_meanwhile(full: Rig, place: Place) -> None:
    with full.channel() as channel:
        channel.queue_declare(lock_of(full.failed), exclusive=True)
        assert "looks at" in refusal(delete, place, full.queue, refuses)
        assert "looks at" in refusal(purge, place, full.failed, refuses)
        purge(place, full.queue)
    assert (full.ready(), full.ready(full.failed)) == (0, 4)


def test_a_message_beside_which_nothing_is_to_run_counts_as_to_retry(full: Rig, place: Place) -> None:
    costs: list[str] = []
    full.publish(b"alone", queue=alone_queue(full.queue))
    purge(place, full.queue, asked(costs))
    assert "3 to retry" in costs[0]
    assert full.ready(alone_queue(full.queue)) == 0


def test_a_broker_that_does_not_answer_is_away(broker: Broker) -> None:
    nowhere = replace(broker.settings.queue, port=1, management_port=1)
    away = Place(replace(broker.settings, queue=nowhere), print)
    for call in (lambda: delete(away, "q"), lambda: purge(away, "q"), lambda: rows(away)):
        assert "127.0.0.1:1" in refusal(call, by=ServiceAway)
