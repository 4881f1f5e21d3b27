"""The parts of publishing that need no broker."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pika import BasicProperties
from pika.spec import BasicProperties as Decoded

from cluster.interrupts import HungUp, Interrupted, Signals, Terminated
from cluster.operations import publish as publishing
from cluster.operations.publish import headers_of
from cluster.queue.publishing.items import Split
from cluster.queue.publishing.link import Target
from cluster.queue.publishing.publisher import Published, RetryDeadline, Watch
from cluster.queue.publishing.resume import publish_noting
from cluster.queue.publishing.sender import Properties
from cluster.queue.publishing.sources import text_file
from scripts.errors import ServiceAway
from tests.conftest import SETTINGS
from tests.refusing import refusal


@pytest.mark.parametrize("is_item", [False, True], ids=["no item", "item"])
@pytest.mark.parametrize("headers", [{}, {"a": "b", "ä": "\n", "empty": ""}], ids=["none", "some"])
def test_prepared_properties_are_what_pika_encodes(headers: dict[str, str], is_item: bool) -> None:
    properties = Properties(headers, is_item)
    for message_id, number in (("x", 1), ("0123456789abcdef-12345", 2**32), ("y" * 255, 7)):
        properties.set(message_id, number)
        ours = {"x-cluster-item": number} if is_item else {}
        encoded = b"".join(properties.encode())
        decoded = Decoded()
        decoded.decode(encoded)
        assert (decoded.message_id, decoded.delivery_mode, decoded.headers or {}) == (message_id, 2, headers | ours)
        plain = BasicProperties(
            headers=headers or None, delivery_mode=2, message_id=message_id, timestamp=properties.timestamp
        )
        assert is_item or encoded == b"".join(plain.encode())
    assert abs(properties.timestamp - time.time()) < 5


def test_headers_are_names_and_values() -> None:
    assert headers_of(["a=b", "c=d=e", "empty="]) == {"a": "b", "c": "d=e", "empty": ""}


@pytest.mark.parametrize(
    ("pairs", "named"),
    [
        (["nothing"], "'nothing'"),
        (["=value"], "'=value'"),
        ([f"{'n' * 256}=v"], "name=value"),
        (["x-cluster-attempt=2"], "x-cluster-attempt: "),
        ([f"big={'x' * 70_000}"], "64 KiB"),
        (["bytes=\udcff"], "UTF-8"),
        (["a=1", "b=1", "a=1"], "--header a: "),
    ],
    ids=["no value", "no name", "long name", "own", "large", "no text", "twice"],
)
def test_headers_that_cannot_be_are_refused(pairs: list[str], named: str) -> None:
    assert named in refusal(headers_of, pairs)


def test_a_retry_deadline_doubles_its_pauses_says_each_trouble_once_and_ends() -> None:
    now = 100.0
    said: list[str] = []
    deadline = RetryDeadline(10, said.append, lambda: now)
    assert not deadline.is_over()
    assert [deadline.failure(ServiceAway("away")) for _ in range(7)] == [0.2, 0.4, 0.8, 1.6, 3.2, 4.0, 4.0]
    assert said == ["away; trying for 10 s"]
    now = 111
    assert deadline.is_over()
    deadline.success()
    assert not deadline.is_over()
    assert deadline.failure(ServiceAway("away")) == 0.2
    assert not deadline.is_over()
    assert said == ["away; trying for 10 s"]


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [(signal.SIGINT, Interrupted, 130), (signal.SIGTERM, Terminated, 143), (signal.SIGHUP, HungUp, 129)],
)
def test_a_first_signal_is_noted_and_a_second_one_does_not_wait(
    number: signal.Signals, kind: type[Interrupted], code: int
) -> None:
    before = signal.getsignal(number)
    with Signals() as signals:
        os.kill(os.getpid(), number)
        assert signals.came is kind
        assert kind.exit_code == code
        os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert signals.came is kind
    assert signal.getsignal(number) == before


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.came is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({}, "--body TEXT"),
        ({"body": ""}, "body"),
        ({"file": "x", "split": Split(per_message=0)}, "--lines-per-message 0"),
        ({"body": "x", "split": Split(b"\0")}, "--null"),
        ({"body": "x", "queue": "amq.mine"}, "'amq.mine'"),
        ({"body": "x", "url": "127.0.0.1"}, "'127.0.0.1'"),
        ({"body": "x", "url": "amqp://127.0.0.1:1"}, "amqp://127.0.0.1:1"),
        ({"body": "x", "resume": True}, "--resume"),
    ],
    ids=["nothing", "empty", "zero lines", "null", "queue", "url", "no broker", "resume"],
)
def test_bad_flags_get_one_line(flags: dict[str, Any], named: str) -> None:
    assert named in refusal(publishing.run, SETTINGS, print, **flags)


def test_a_dry_run_says_what_would_be_published_and_needs_no_broker(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"a\nbcd\n")
    settings = replace(SETTINGS, queue=replace(SETTINGS.queue, port=1))
    said: list[str] = []
    publishing.run(settings, said.append, file=str(tmp_path / "in"), dry_run=True)
    assert said == [
        f"would publish 2 messages from {tmp_path}/in, the largest has 3 bytes (line 2), "
        "to 'myqueue' at amqp://127.0.0.1:1"
    ]


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("amqp://host", "amqp://host:5672"),
        ("amqp://HOST:5672/", "amqp://host:5672"),
        ("amqp://user:secret@host:5672/%2F?heartbeat=5", "amqp://host:5672"),
        ("amqp://host/Work", "amqp://host:5672/Work"),
        ("amqp://host/a%2Fb", "amqp://host:5672/a%2Fb"),
        ("amqps://host", "amqps://host:5671"),
        ("amqp://[::1]:5673", "amqp://[::1]:5673"),
    ],
)
def test_a_broker_has_one_name_however_its_url_is_written(url: str, broker: str) -> None:
    assert Target(url, "q").broker == broker
    assert Target(url, "q", service="/amqp of Marathon at http://m:8080").broker == "/amqp of Marathon at http://m:8080"


def test_no_sidecar_is_left_when_nothing_was_sent(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"a\n")
    source = text_file(str(tmp_path / "in"), Split())
    with pytest.raises(ServiceAway):
        publish_noting(source, Target("amqp://127.0.0.1:1", "q"), Watch(), {}, False, tmp_path / "state")
    assert list((tmp_path / "state").iterdir()) == []


def test_the_result_is_json() -> None:
    assert Published("q", 2, 10, 0.5).as_json() == '{"queue": "q", "messages": 2, "bytes": 10, "seconds": 0.5}'
