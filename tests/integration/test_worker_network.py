"""Connections that are not there, break, fall silent or are refused, and what becomes of what was being done."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from scripts.worker.verdicts import FIRST_SUCCESS
from tests.integration.network import Network
from tests.integration.worker_rig import Rig, WorkerProcess
from tests.waiting import until

pytestmark = pytest.mark.broker


@pytest.fixture
def network(rig: Rig) -> Iterator[Network]:
    """The worker reaches the broker through this; the test itself goes straight there."""
    one = Network(rig.url)
    yield one
    one.down()


def at_work(rig: Rig, network: Network, *flags: str, then: str = "", body: bytes = b"x", **more: Any) -> WorkerProcess:
    """A worker whose action has said what it has, in which attempt, and waits at the gate."""
    network.up()
    action = rig.action(f'cat; echo " $AMQP_ATTEMPT"; {rig.gate.wait}{then}')
    worker = rig.worker(*flags, action, url=network.url)
    rig.publish(body, **more)
    rig.gate.started()
    return worker


def test_a_broker_that_is_away_at_the_start(rig: Rig, network: Network) -> None:
    worker = rig.worker("cat", consuming=False, url=network.url)
    worker.says("no broker at amqp://127.0.0.1")
    network.up()
    worker.says("consuming from")
    assert worker.log.count("no broker at") == 1
    rig.publish(b"x\n")
    until(lambda: worker.out == b"x\n", "the message")


def test_a_cut_between_two_messages(rig: Rig, network: Network) -> None:
    network.up()
    worker = rig.worker("cat", url=network.url)
    network.cut()
    worker.says("lost the broker at")
    worker.says("consuming from", times=2)
    rig.publish(b"x\n")
    until(lambda: worker.out == b"x\n", "the message")
    assert worker.stop() == 0


@pytest.mark.parametrize("message_id", ["its id", None])
def test_the_outcome_of_a_run_is_used_when_its_message_comes_back(
    rig: Rig, network: Network, message_id: str | None
) -> None:
    worker = at_work(rig, network, message_id=message_id)
    network.cut()
    worker.says("consuming from", times=2)
    rig.lost_consumer_is_gone()
    rig.gate.open()
    worker.says(FIRST_SUCCESS)  # only said when the message is there again
    assert worker.stop() == 0
    assert worker.out == b"x 1\n"
    assert rig.ready() == rig.ready(rig.failed) == 0


def test_the_outcome_waits_for_its_message(rig: Rig, network: Network) -> None:
    """The action ends, and fails, while there is no connection: the failure counts once."""
    worker = at_work(rig, network, "--backoff", "0", then='; [ "$AMQP_ATTEMPT" = 2 ]')
    network.down()
    worker.says("lost the broker")
    rig.gate.open()
    worker.says("no broker at")
    network.up()
    until(lambda: worker.out == b"x 1\nx 2\n", "the second attempt")
    worker.says("m0: exit 1 after")
    assert worker.log.count("exit 1 after") == 1
    assert worker.stop() == 0
    assert rig.ready() == rig.ready(rig.failed) == 0


def test_another_body_with_the_same_id_is_another_message(rig: Rig, network: Network) -> None:
    worker = at_work(rig, network, body=b"first", message_id="same")
    rig.publish(b"other", message_id="same")
    network.down()
    worker.says("lost the broker")
    rig.gate.open()
    until(lambda: rig.ready() == 2, "the first one came back")
    (first,) = rig.take()
    assert first.body == b"first"
    network.up()
    until(lambda: worker.out == b"first 1\nother 1\n", "the other message")


def test_a_message_that_another_worker_took_meanwhile_is_done_there(rig: Rig, network: Network) -> None:
    worker = at_work(rig, network)
    network.down()
    other = rig.worker("cat")
    until(lambda: other.out == b"x\n", "the other worker has done it")
    rig.gate.open()
    network.up()
    worker.says("consuming from", times=2)
    rig.publish(b"y", message_id="next")
    until(lambda: b"y" in worker.out + other.out, "work goes on")
    assert worker.stop() == 0
    assert rig.ready() == rig.ready(rig.failed) == 0


def test_a_suspect_whose_failure_is_lost_with_the_connection_holds_nobody_up(rig: Rig, network: Network) -> None:
    """It has run alone and failed, and the broker goes away before it has the copy that waits."""
    headers = {"x-cluster-alone": True, "x-cluster-attempt": 1}
    worker = at_work(rig, network, then="; exit 1", body=b"suspect", headers=headers)
    network.fall_silent()
    rig.gate.open()
    worker.says("exit 1 after")
    network.down()
    network.up()
    worker.says("consuming from", times=2)
    rig.publish(b"other")
    until(lambda: b"other 1\n" in worker.out, "work goes on")


def test_heartbeats_do_not_wait_for_an_action(rig: Rig, network: Network) -> None:
    network.up()
    started = rig.tmp / "started"
    worker = rig.worker(rig.action(f"touch {started}; sleep 7"), url=f"{network.url}?heartbeat=2")
    rig.publish(b"x")
    until(started.exists, "the action runs")
    assert worker.stop() == 0
    assert worker.log.count("consuming from") == 1
    assert "lost the broker" not in worker.log
    assert rig.ready() == 0


def test_a_connection_that_fell_silent_is_noticed(rig: Rig, network: Network) -> None:
    network.up()
    worker = rig.worker("cat", url=f"{network.url}?heartbeat=2")
    network.fall_silent()
    worker.says("lost the broker at")
    network.down()
    network.up()
    worker.says("consuming from", times=2)


def test_a_channel_that_the_broker_closes(rig: Rig, network: Network) -> None:
    worker = at_work(rig, network)
    network.close_channels(406, "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out")
    worker.says("the broker closed the channel")
    worker.says("delivery acknowledgement on channel 1 timed out (406)")
    worker.says("consuming from", times=2)
    rig.lost_consumer_is_gone()
    rig.gate.open()
    worker.says(FIRST_SUCCESS)  # only said when the message is there again
    assert worker.stop() == 0
    assert worker.out == b"x 1\n"


def test_a_deleted_queue_is_made_again(rig: Rig) -> None:
    worker = rig.worker("cat")
    with rig.channel() as channel:
        channel.queue_delete(rig.queue)
    worker.says("the broker ended the subscription")
    worker.says("consuming from", times=2)
    rig.publish(b"x\n")
    until(lambda: worker.out == b"x\n", "the message")


def test_wrong_credentials_are_said_and_read_again(rig: Rig) -> None:
    password = rig.tmp / "password"
    password.write_text("wrong\n")
    worker = rig.worker("cat", consuming=False, AMQP_USER="guest", AMQP_PASSWORD_FILE=str(password))
    worker.says("it refuses this user and password; trying again")
    password.write_text("guest\n")
    worker.says("consuming from")


def test_the_alive_file_is_there_exactly_while_it_consumes(rig: Rig, network: Network) -> None:
    alive = rig.tmp / "alive"
    alive.touch()
    worker = rig.worker("cat", consuming=False, url=network.url, CLUSTER_WORKER_ALIVE_FILE=str(alive))
    worker.says("no broker at")
    assert not alive.exists()
    network.up()
    until(alive.exists, "it consumes")
    network.down()
    until(lambda: not alive.exists(), "it does not consume")
    network.up()
    until(alive.exists, "it consumes again")
    worker.stop()
    assert not alive.exists()


def test_what_was_running_at_a_loss_finishes_before_a_stop(rig: Rig, network: Network) -> None:
    worker = at_work(rig, network, then="; echo finished")
    network.down()
    worker.says("lost the broker")
    worker.signal(signal.SIGTERM)
    worker.says("stopping")
    rig.gate.open()
    assert worker.exit_code() == 0
    assert worker.out == b"x 1\nfinished\n"
    until(lambda: rig.ready() == 1, "the broker has it again")


def test_a_queue_with_other_arguments_is_used_as_it_is(rig: Rig) -> None:
    rig.declare(**{"x-max-length": 1000})
    worker = rig.worker("cat")
    assert worker.log.count("is used as it is") == 1
    rig.publish(b"x\n")
    until(lambda: worker.out == b"x\n", "the message")


def test_a_classic_queue_is_used_as_it_is(rig: Rig) -> None:
    with rig.channel() as channel:
        channel.queue_declare(rig.queue, durable=True)
    worker = rig.worker("--backoff", "0", rig.action('echo "$AMQP_ATTEMPT"; [ "$AMQP_ATTEMPT" = 2 ]'))
    rig.publish(b"x")
    until(lambda: worker.out == b"1\n2\n", "a failure and a success")
