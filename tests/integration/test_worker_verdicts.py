"""What an exit code, a signal or the time limit makes of a message."""

from __future__ import annotations

import struct

import pytest

from scripts.amqp.fields import Field, keep_fields
from tests.integration.worker_rig import Rig
from tests.waiting import until

pytestmark = pytest.mark.broker


def test_exit_0_acknowledges(rig: Rig) -> None:
    rig.worker("cat")
    rig.publish(b"one", b"two")
    until(lambda: rig.ready() == 0, "the queue is empty")
    worker = rig.worker("cat")
    assert worker.stop() == 0
    assert rig.ready() == rig.ready(rig.failed) == 0


def test_exit_65_goes_straight_to_the_failed_queue(rig: Rig) -> None:
    rig.worker("-j", "2", rig.action("cat >&2; exit 65"))
    rig.publish(b"bad input")
    (message,) = rig.take_failed()
    assert message.body == b"bad input"
    assert message.properties.message_id == "m0"
    assert message.headers["x-cluster-attempt"] == 1
    assert message.headers["x-cluster-exit"] == 65
    assert message.headers["x-cluster-reason"] == "exit 65"
    assert message.headers["x-cluster-stderr"] == "bad input"
    assert message.headers["x-cluster-host"]
    assert message.headers["x-cluster-worker"]
    assert message.headers["x-cluster-started"].endswith("Z")
    assert float(message.headers["x-cluster-seconds"]) < 5


def test_other_exit_codes_are_tried_three_times_with_doubled_pauses(rig: Rig) -> None:
    runs = rig.tmp / "runs"
    rig.worker(rig.action(f'echo "$AMQP_ATTEMPT $(date +%s.%N)" >> {runs}; exit 3'))
    rig.publish(b"x")
    (message,) = rig.take_failed()
    attempts, times = zip(*(line.split() for line in runs.read_text().splitlines()), strict=True)
    assert attempts == ("1", "2", "3")
    assert float(times[1]) - float(times[0]) >= 1
    assert float(times[2]) - float(times[1]) >= 2
    assert message.headers["x-cluster-attempt"] == 3
    assert message.headers["x-cluster-exit"] == 3
    assert rig.ready() == 0


def test_a_signal_is_tried_again(rig: Rig) -> None:
    worker = rig.worker("--attempts", "2", rig.action("kill -SEGV $$"))
    rig.publish(b"x")
    (message,) = rig.take_failed()
    assert message.headers["x-cluster-reason"] == "killed by SIGSEGV"
    assert message.headers["x-cluster-exit"] == 128 + 11
    worker.says("attempt 1 of 2; again in 1 s")


def test_a_success_at_a_later_attempt_is_a_success(rig: Rig) -> None:
    done = rig.tmp / "done"
    rig.worker(rig.action(f'[ "$AMQP_ATTEMPT" = 2 ] || exit 1; touch {done}'))
    rig.publish(b"x")
    until(done.exists, "the second attempt")
    until(lambda: rig.ready() == 0, "the queue is empty")
    assert rig.ready(rig.failed) == 0


def test_the_time_limit_is_tried_again_and_named(rig: Rig) -> None:
    rig.worker("--timeout", "0.3", "--attempts", "2", "--backoff", "0", rig.action("sleep 60"))
    rig.publish(b"x")
    (message,) = rig.take_failed()
    assert message.headers["x-cluster-reason"] == "over the time limit of 0.3 s"
    assert message.headers["x-cluster-attempt"] == 2


def test_waiting_messages_do_not_block_the_ones_behind_them(rig: Rig) -> None:
    rig.declare()
    rig.publish(b"bad\n", b"good\n")
    worker = rig.worker(rig.action('read line; echo "$line $AMQP_ATTEMPT"; [ $line != bad ]'))
    until(lambda: b"bad 2" in worker.out, "the bad one's second attempt")
    assert worker.out.splitlines() == [b"bad 1", b"good 1", b"bad 2"]


def test_waiting_messages_wait_in_the_broker_not_in_a_worker(rig: Rig) -> None:
    worker = rig.worker("--backoff", "4", rig.action("exit 1"))
    rig.publish(b"x")
    worker.says("again in 4 s")
    until(lambda: rig.ready(f"{rig.queue}.retry.4s") == 1, "the message waits in the broker")
    worker.kill()
    second = rig.worker(rig.action('echo "attempt $AMQP_ATTEMPT"'))
    until(lambda: second.out == b"attempt 2\n", "another worker gets it")


def test_copies_keep_all_properties_and_headers(rig: Rig) -> None:
    kept = {
        "content_type": "text/x-thing",
        "content_encoding": "rot13",
        "priority": 3,
        "correlation_id": "c",
        "reply_to": "r",
        "timestamp": 1700000000,
        "type": "t",
        "app_id": "a",
        "cluster_id": "k",
        "message_id": "mine",
        "delivery_mode": 2,
    }
    nested = {"a": 1, "list": [1, "two", True, None], "table": {"deep": "yes"}, "big": 2**40, "text": "änder"}
    rig.worker("--attempts", "2", "--backoff", "0", rig.action("exit 1"))
    rig.publish(b"body \0\xff", headers=nested, **kept)
    (message,) = rig.take_failed()
    assert {name: getattr(message.properties, name) for name in kept} == kept
    assert {name: value for name, value in message.headers.items() if not name.startswith("x-cluster")} == nested
    assert message.headers["x-cluster-first-published"] == "2023-11-14T22:13:20.000Z"
    assert message.body == b"body \0\xff"


def test_a_message_without_an_id_gets_one_at_its_first_failure_and_keeps_it(rig: Rig) -> None:
    worker = rig.worker("--attempts", "2", "--backoff", "0", rig.action('echo "$AMQP_MESSAGE_ID"; exit 1'))
    rig.publish(b"x", message_id=None)
    (message,) = rig.take_failed()
    ids = worker.out.decode().split()
    assert ids == [message.properties.message_id] * 2
    assert len(ids[0]) == 36
    # The shortest pause that there is: what it says is how long it takes.
    assert "attempt 1 of 2; again in 1 s" in worker.log


def test_the_sender_s_user_does_not_stop_a_copy(rig: Rig) -> None:
    rig.worker(rig.action("exit 65"))
    rig.publish(b"x", user_id="guest")
    (message,) = rig.take_failed()
    assert message.headers["x-cluster-user-id"] == "guest"


def test_a_copy_is_not_sent_to_the_other_receivers_again(rig: Rig) -> None:
    other = f"{rig.queue}.retry.64s"
    rig.declare(other)
    rig.worker("--attempts", "1", rig.action("exit 1"))
    rig.publish(b"x", headers={"CC": [other]})
    rig.take_failed()
    assert rig.ready(other) == 1


def test_headers_stay_under_a_frame(rig: Rig) -> None:
    rig.worker(rig.action("head -c 100000 /dev/zero | tr '\\0' e >&2; exit 65"))
    rig.publish(b"x", headers={"mine": "m" * 120_000, "small": "s"})
    rig.publish(b"y", headers={"first": "f" * 100_000, "second": "t" * 30_950})
    first, second = sorted(rig.take_failed(2), key=lambda message: message.body)
    assert first.headers["mine"] == "m" * 120_000
    assert first.headers["x-cluster-stderr"] == "e" * 4096
    assert "first" not in second.headers
    assert second.headers["second"] == "t" * 30_950


def test_retry_queues_come_into_being_when_they_are_needed_and_again_when_deleted(rig: Rig) -> None:
    worker = rig.worker("--attempts", "3", "--backoff", "1", "--backoff-max", "1", rig.action("exit 1"))
    waiting = f"{rig.queue}.retry.1s"
    rig.publish(b"x", message_id="first")
    rig.take_failed()
    with rig.channel() as channel:
        channel.queue_delete(waiting)
    rig.publish(b"x", message_id="second")
    assert rig.take_failed()[0].properties.message_id == "second"
    assert worker.log.count("again in 1 s") == 4


def test_headers_that_pika_cannot_read_or_write_are_kept(rig: Rig) -> None:
    """A double, a timestamp beyond the year 9999 and a string that is not UTF-8: no worker falls over them."""
    wire = {
        "double": b"d" + struct.pack(">d", 1.5),
        "far": b"T" + struct.pack(">Q", 2**60),
        "latin": b"S" + struct.pack(">I", 3) + b"\xe4\xf6\xfc",
        "signed": b"l" + struct.pack(">q", -5),
    }
    worker = rig.worker("--attempts", "2", "--backoff", "0", rig.action('echo "$AMQP_HEADER_DOUBLE"; exit 1'))
    keep_fields()
    rig.publish(b"x", headers={name: Field(raw, None) for name, raw in wire.items()})
    (message,) = rig.take_failed()
    found = {name: value.raw for name, value in message.headers.items() if name in wire}
    assert found == wire
    assert worker.out == b"1.5\n1.5\n"
    assert worker.log.count("consuming from") == 1


def test_names_and_words_that_are_not_utf_8_are_kept(rig: Rig) -> None:
    odd = b"\xe4\xf6"
    worker = rig.worker("--attempts", "2", "--backoff", "0", "--tag", rig.action('echo "$AMQP_MESSAGE_ID"; exit 1'))
    rig.publish(b"x", message_id=odd, content_type=odd, correlation_id=odd, headers={odd: odd})
    (message,) = rig.take_failed()
    properties = message.properties
    assert (properties.message_id, properties.content_type, properties.correlation_id) == (odd, odd, odd)
    assert odd in message.headers
    assert worker.out == b"\\xe4\\xf6\t\\xe4\\xf6\n" * 2
    assert worker.process.poll() is None
