"""Results of messages: sent to who asked for them, before the message is acknowledged."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pika
import pytest

from scripts.amqp.queues import results_arguments, results_queue, version
from tests.integration.network import Network
from tests.integration.worker_rig import Message, Rig, WorkerProcess
from tests.waiting import until

pytestmark = pytest.mark.broker

RUN = "0123abcd"
OF_RUN = {"x-cluster-run": RUN, "x-cluster-item": 7}


class Answers:
    """A queue for results, and messages that are to be answered there."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.name = rig, results_queue(rig.queue, RUN)

    def make(self, most_bytes: int | None = None) -> None:
        with self.rig.channel() as channel:
            channel.queue_declare(self.name, durable=True, arguments=results_arguments(self.rig.server, most_bytes))

    def delete(self) -> None:
        with self.rig.channel() as channel:
            channel.queue_delete(self.name)

    def ask(self, *bodies: bytes, **properties: Any) -> None:
        """Publish messages that want to be answered; of a run where no other `headers` are given."""
        given = {"reply_to": self.name, "correlation_id": "7.6.5.4", "headers": OF_RUN, **properties}
        self.rig.publish(*bodies, **given)

    def take(self, count: int = 1) -> list[Message]:
        return self.rig.take(self.name, count)


@pytest.fixture
def answers(rig: Rig) -> Iterator[Answers]:
    """The queue is there."""
    one = Answers(rig)
    one.make()
    yield one
    one.delete()


def nothing_is_left(rig: Rig, worker: WorkerProcess) -> None:
    """Stop the worker, which gives back what it still holds: there is none."""
    assert worker.stop() == 0
    assert rig.ready() == rig.ready(rig.failed) == 0


def test_what_was_printed_is_the_result_to_the_byte(rig: Rig, answers: Answers) -> None:
    worker = rig.worker(rig.action("cat; echo note >&2"))
    answers.ask(b"one\n\0\xff two", b"")
    first, second = answers.take(2)
    assert (first.body, second.body) == (b"one\n\0\xff two", b"")
    properties, headers = first.properties, first.headers
    assert (properties.correlation_id, properties.delivery_mode) == ("7.6.5.4", 2)
    assert float(headers.pop("x-cluster-seconds")) >= 0
    assert headers.pop("x-cluster-host")
    assert headers == OF_RUN | {"x-cluster-exit": 0, "x-cluster-attempt": 1, "x-cluster-stderr": "note\n"}
    assert worker.out == b""
    nothing_is_left(rig, worker)


def test_a_failure_is_answered_in_place_of_the_failed_queue(rig: Rig, answers: Answers) -> None:
    worker = rig.worker("--attempts", "2", "--backoff", "0", rig.action("echo half; echo sorry >&2; exit 3"))
    answers.ask(b"x")
    (result,) = answers.take()
    found = {name: result.headers[f"x-cluster-{name}"] for name in ("run", "exit", "reason", "attempt", "stderr")}
    assert found == {"run": RUN, "exit": 3, "reason": "exit 3", "attempt": 2, "stderr": "sorry\n"}
    assert result.properties.correlation_id == "7.6.5.4"
    nothing_is_left(rig, worker)


def test_a_success_at_a_later_attempt_is_the_one_result(rig: Rig, answers: Answers) -> None:
    worker = rig.worker("--backoff", "0", rig.action('echo $AMQP_ATTEMPT; [ "$AMQP_ATTEMPT" = 2 ]'))
    answers.ask(b"x")
    (result,) = answers.take()
    assert result.body == b"2\n"
    assert result.headers["x-cluster-attempt"] == 2
    assert "x-cluster-reason" not in result.headers
    nothing_is_left(rig, worker)
    assert rig.ready(answers.name) == 0


def test_what_was_lost_with_its_workers_is_answered_too(rig: Rig, answers: Answers) -> None:
    rig.declare()
    answers.ask(b"x", headers={**OF_RUN, "x-cluster-alone": True, "x-cluster-attempt": 3})
    worker = rig.worker("cat")
    (result,) = answers.take()
    assert result.headers["x-cluster-attempt"] == 3
    assert "was lost" in result.headers["x-cluster-reason"]
    nothing_is_left(rig, worker)


def test_a_result_over_the_limit_is_a_failure_that_names_it(rig: Rig, answers: Answers) -> None:
    worker = rig.worker("--result-limit", "1K", "--attempts", "1", "cat")
    answers.ask(b"x" * 1024, b"x" * 1025)
    at, over = answers.take(2)
    assert at.body == b"x" * 1024
    assert "x-cluster-reason" not in at.headers
    assert over.body == b""
    assert "1 KiB" in over.headers["x-cluster-reason"]
    nothing_is_left(rig, worker)


def test_a_result_that_the_broker_never_takes_is_a_failure(rig: Rig, answers: Answers) -> None:
    if version(rig.server) < (4, 0):
        pytest.skip("RabbitMQ 3 takes 128 MiB")
    size = 16 * 1024 * 1024 + 1
    worker = rig.worker("--result-limit", "64M", "-j", "2", rig.action("read size; head -c $size /dev/zero"))
    answers.ask(b"%d\n" % size, b"5\n", message_id=None)
    results = sorted(answers.take(2), key=lambda result: len(result.body))
    assert [len(result.body) for result in results] == [0, 5]
    assert str(size) in results[0].headers["x-cluster-reason"]
    nothing_is_left(rig, worker)
    assert worker.log.count("PRECONDITION_FAILED") == 1


@pytest.mark.parametrize("code", [0, 65])
def test_of_a_run_that_is_over_what_ran_is_dropped(rig: Rig, answers: Answers, code: int) -> None:
    worker = rig.worker("-j", "2", rig.action(f"{rig.gate.wait}; exit {code}"))
    answers.ask(b"x", b"y")
    rig.gate.started()
    until(lambda: rig.ready() == 0, "both run")
    answers.delete()
    rig.gate.open()
    worker.says("is over")
    nothing_is_left(rig, worker)
    assert worker.log.count("is over") == 1


def test_of_a_run_that_is_over_nothing_is_run(rig: Rig, answers: Answers) -> None:
    mark = rig.tmp / "mark"
    rig.declare()
    answers.ask(*[b"x"] * 50)
    rig.publish(b"mine")
    answers.delete()
    worker = rig.worker("--prefetch", "10", rig.action(f"cat >> {mark}"))
    until(mark.exists, "the one that is of no run")
    nothing_is_left(rig, worker)
    assert mark.read_bytes() == b"mine"
    assert worker.log.count("is over") == 1
    assert worker.log.rstrip().endswith(" 50")


def test_where_nobody_takes_the_result_a_failure_is_kept_and_what_is_done_is_done(rig: Rig, answers: Answers) -> None:
    answers.delete()
    worker = rig.worker(rig.action("read code; exit $code"))
    answers.ask(b"0\n", message_id="done", headers=None)
    answers.ask(b"65\n", message_id="bad", headers=None)
    (message,) = rig.take_failed()
    assert message.properties.message_id == "bad"
    assert message.headers["x-cluster-reason"] == "exit 65"
    worker.says(f"done: no queue {answers.name!r}")
    nothing_is_left(rig, worker)


def test_a_name_that_no_queue_has_stops_no_worker(rig: Rig) -> None:
    worker = rig.worker("cat")
    for odd in (b"\xe4\xf6", "amq.rabbitmq.reply-to.nonsense", "x" * 255, "a\nb"):
        rig.publish(b"x", reply_to=odd, headers=OF_RUN)
        rig.publish(b"x", reply_to=odd, headers={"x-cluster-run": {"deep": ["x" * 1000]}, "x-cluster-item": "x" * 1000})
    rig.publish(b"last\n", headers=OF_RUN)
    until(lambda: b"last\n" in worker.out, "the last one")
    nothing_is_left(rig, worker)
    assert worker.log.count("consuming from") == 1


def test_results_wait_while_their_queue_is_full(rig: Rig, answers: Answers) -> None:
    answers.delete()
    answers.make(most_bytes=1000)
    worker = rig.worker("-j", "2", "--prefetch", "4", "cat")
    bodies = [b"%03d" % number * 200 for number in range(20)]
    answers.ask(*bodies)
    worker.says("takes no more")
    until(lambda: rig.ready() > 10, "no more is taken than the worker may hold")
    found = [answers.take()[0].body for _ in bodies]
    assert sorted(found) == bodies
    nothing_is_left(rig, worker)
    assert worker.log.count("takes no more") == 1


def test_each_is_answered_though_workers_are_killed(rig: Rig, answers: Answers) -> None:
    bodies = [b"%d" % number for number in range(400)]
    rig.declare()
    answers.ask(*bodies)
    for left in (300, 200, 100):
        worker = rig.worker("-j", "2", "--prefetch", "20", "cat")
        until(lambda most=left: rig.ready() < most, "some are done")
        worker.kill()
    rig.worker("-j", "2", "--prefetch", "20", "cat")
    missing = set(bodies)
    with rig.channel() as channel:
        for _, _, body in channel.consume(answers.name, auto_ack=True, inactivity_timeout=60):
            missing.discard(body)
            if not missing or body is None:
                break
    assert missing == set()


@pytest.mark.parametrize("queue", ["", "amq.rabbitmq.reply-to"])
def test_a_client_as_in_pika_s_tutorial_is_served(rig: Rig, queue: str) -> None:
    """With a queue of its own, which no other connection may touch, and with RabbitMQ's direct reply-to."""
    rig.worker("tr", "a-z", "A-Z")
    answer: list[bytes] = []
    wanted = str(uuid.uuid4())

    def on_response(_channel: Any, _method: Any, properties: Any, body: bytes) -> None:
        if properties.correlation_id == wanted:
            answer.append(body)

    with rig.channel() as channel:
        callback_queue = queue or channel.queue_declare("", exclusive=True).method.queue
        channel.basic_consume(callback_queue, on_response, auto_ack=True)
        properties = pika.BasicProperties(reply_to=callback_queue, correlation_id=wanted, headers=OF_RUN)
        channel.basic_publish("", rig.queue, b"hello", properties)
        until(lambda: channel.connection.process_data_events(0.1) or answer, "the answer")
    assert answer == [b"HELLO"]


def test_results_of_a_worker_s_own_queue(rig: Rig, answers: Answers) -> None:
    """It is made, also again; who asked for a result elsewhere gets it there."""
    own = f"{rig.queue}.own"
    action = rig.action('cat; [ "$AMQP_MESSAGE_ID" = m0 ]')
    worker = rig.worker("--results", own, "--attempts", "1", action)
    try:
        rig.publish(b"done")
        rig.publish(b"failed", message_id="f")
        done, failed = rig.take(own, 2)
        assert (done.body, done.properties.correlation_id) == (b"done", "m0")
        assert (failed.body, failed.headers["x-cluster-reason"]) == (b"failed", "exit 1")
        with rig.channel() as channel:
            channel.queue_delete(own)
        rig.publish(b"again")
        until(lambda: rig.ready(own) == 1, "it is made again")
        assert rig.take(own)[0].body == b"again"
        answers.ask(b"elsewhere")
        assert answers.take()[0].body == b"elsewhere"
        nothing_is_left(rig, worker)
        assert rig.ready(own) == 0
    finally:
        with rig.channel() as channel:
            channel.queue_delete(own)


def test_what_ran_while_the_connection_was_lost_is_answered_and_not_run_again(rig: Rig, answers: Answers) -> None:
    runs, network = rig.tmp / "runs", Network(rig.url)
    network.up()
    try:
        worker = rig.worker(rig.action(f"echo x >> {runs}; {rig.gate.wait}; cat"), url=network.url)
        answers.ask(b"x")
        rig.gate.started()
        network.cut()
        worker.says("consuming from", times=2)
        rig.gate.open()
        assert [one.body for one in answers.take()] == [b"x"]
        nothing_is_left(rig, worker)
    finally:
        network.down()
    assert runs.read_text() == "x\n"
    assert rig.ready(answers.name) == 0
