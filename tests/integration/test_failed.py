"""Failed messages: looked at, put back, dropped and written to files, with a real broker."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
import pytest
from pika import data

from cluster.queue import held as held_queue
from cluster.queue.held import Held
from cluster.queue.holding import held
from cluster.queue.waiting.note import NOTES
from cluster.settings import ROOT
from scripts.amqp.fields import Field, keep_fields
from scripts.amqp.queues import has_limit, queue_arguments
from tests.conftest import Broker
from tests.integration.publishing import Queue
from tests.integration.worker_rig import Message, Rig
from tests.waiting import until

pytestmark = pytest.mark.broker

NOT_NUMBER = {"x-cluster-reason": "exit 3", "x-cluster-exit": 3, "x-cluster-stderr": "Loading\nError: no number\n\n"}
TOO_LONG = {"x-cluster-reason": "over its time limit of 5 s", "x-cluster-exit": 143}
FAILED = {"x-cluster-attempt": 3, "x-cluster-host": "h1", "x-cluster-started": "2026-01-01T00:00:00.000Z"}


class Inv:
    """The command line on the rig's queue, each command a process."""

    def __init__(self, rig: Rig, broker: Broker) -> None:
        port, api = broker.settings.queue.port, broker.settings.queue.management_port
        self._environ = os.environ | {"INVOKE_QUEUE_PORT": str(port), "INVOKE_QUEUE_MANAGEMENT_PORT": str(api)}
        self._queue = rig.queue

    def start(self, command: str, *flags: str, queue: str = "") -> subprocess.Popen[str]:
        line = [sys.executable, str(ROOT / "tasks.py"), command, *flags, "-q", queue or self._queue]
        return subprocess.Popen(
            line, env=self._environ, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def __call__(self, command: str, *flags: str, queue: str = "", code: int = 0) -> tuple[str, str]:
        """Run it; return what it prints to STDOUT and STDERR."""
        out, err = (process := self.start(command, *flags, queue=queue)).communicate(timeout=120)
        assert process.returncode == code, err
        return out, err

    def records(self) -> list[dict[str, Any]]:
        return list(json.loads(self("failed.list", "--json")[0]))


@pytest.fixture
def inv(rig: Rig, broker: Broker) -> Inv:
    for queue, arguments in queue_arguments(rig.queue, rig.server).items():
        if queue in (rig.queue, rig.failed):
            with rig.channel() as channel:
                channel.queue_declare(queue, durable=True, arguments=arguments)
    return Inv(rig, broker)


def fail(rig: Rig, *numbers: int, body: bytes = b"", **more: Any) -> None:
    """Put items into the failed queue, as a worker does."""
    why = {"headers": NOT_NUMBER} | more
    with rig.channel() as channel:
        channel.confirm_delivery()
        for number in numbers:
            headers = FAILED | why["headers"] | {"x-cluster-item": number}
            properties = pika.BasicProperties(**why | {"headers": headers, "message_id": f"abc-{number}"})
            properties.delivery_mode = 2
            channel.basic_publish("", rig.failed, body or b"line %d" % number, properties, mandatory=True)
    until(lambda: rig.ready(rig.failed) >= len(numbers), "they have failed")


def taken(url: str, queue: str) -> list[str]:
    """The ids of many messages, which are gone then."""
    return [message.id for message in Queue(url, queue).take()]


def _noted(rig: Rig) -> int:
    """How many messages of the failed queue `wait` takes for told."""
    (note,) = NOTES.glob(f"{rig.queue}-*.json")
    return int(json.loads(note.read_text())["failed"])


def ids(messages: list[Message]) -> list[str]:
    return [message.properties.message_id for message in messages]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pika be after the test as it was, which reads headers in another way then. Few messages come at a time."""
    monkeypatch.setattr(held_queue, "_MOST_MESSAGES", 20)
    for name in ("decode_value", "encode_value"):
        monkeypatch.setattr(data, name, getattr(data, name))


@contextmanager
def holding(rig: Rig) -> Iterator[Held]:
    with held(rig.url, rig.queue, "a test", lambda question: None, print) as one:
        yield one


# Looking


def test_thirty_looks_change_nothing_and_cost_no_attempt(rig: Rig, inv: Inv, in_process: None) -> None:
    """More messages than come at a time, so that some are in hand when others are asked for."""
    numbers = range(1, 71)
    fail(rig, *numbers)
    for look in range(30):
        with holding(rig) as one:
            seen = [int(found.body.split()[1]) for found in one.messages() if found]
            assert seen == list(numbers), f"look {look}"
        assert rig.ready(rig.failed) == len(numbers)
    assert f"{len(numbers):,} messages of {rig.queue!r} failed" in inv("failed.list")[0]
    inv("failed.retry", "--item", "1")
    worker = rig.worker("--backoff", "0", rig.action('echo "$AMQP_ATTEMPT"; exit 4'))
    until(lambda: rig.ready(rig.failed) == len(numbers), "it has failed again")
    assert worker.out.split() == [b"1", b"2", b"3"]
    found = rig.take(rig.failed, len(numbers))
    assert ids(found) == [f"abc-{number}" for number in (*numbers[1:], 1)]
    assert all(message.headers == FAILED | NOT_NUMBER | {"x-cluster-item": number}
               for number, message in zip(numbers[1:], found, strict=False))  # fmt: skip


def test_one_that_ends_early_gives_all_back_in_their_order(rig: Rig, inv: Inv, in_process: None) -> None:
    fail(rig, *range(1, 71))
    with holding(rig) as one:
        for _ in zip(range(33), filter(None, one.messages()), strict=False):
            pass
    assert ids(rig.take(rig.failed, 70)) == [f"abc-{number}" for number in range(1, 71)]


def test_the_second_one_waits_and_sees_all(rig: Rig, inv: Inv, in_process: None) -> None:
    fail(rig, 1, 2, 3)
    with holding(rig) as one:
        assert len(list(filter(None, one.messages()))) == 3
        second = inv.start("failed.list")
        assert second.stderr
        until(lambda: "in hand" in second.stderr.readline(), "it waits")  # type: ignore[union-attr]
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert "3 messages of" in out


def test_who_is_in_the_way_is_named(rig: Rig, inv: Inv, in_process: None) -> None:
    fail(rig, 1)
    with holding(rig) as one:
        assert list(filter(None, one.messages()))
        until(lambda: rig.api("GET", "consumers/%2f"), "the API knows of it")
        assert f"a test of {rig.queue!r}" in inv("failed.list", code=1)[1]
    worker = rig.worker(rig.action(rig.gate.wait), queue=rig.failed)
    rig.gate.started()
    assert f"pid {worker.process.pid}" in inv("failed.list", code=1)[1]


def test_a_queue_that_drops_what_returns_is_not_touched(rig: Rig, broker: Broker) -> None:
    rig.declare()
    rig.declare(rig.failed, **{"x-delivery-limit": 20})
    fail(rig, 1)
    if not has_limit(rig.server):
        pytest.skip("this broker has no delivery limit of its own")
    assert "delivery limit of 20" in Inv(rig, broker)("failed.list", code=1)[1]
    assert rig.take(rig.failed)[0].lost == 0


def test_the_list_has_groups_with_their_items(rig: Rig, inv: Inv) -> None:
    assert inv("failed.list")[0] == f"nothing of {rig.queue!r} has failed\n"
    assert inv.records() == []
    fail(rig, 17, 203, 204, 205, 9)
    fail(rig, 4, headers=TOO_LONG)
    out = inv("failed.list")[0]
    assert out.index("exit 3") < out.index("over its time limit of 5 s (exit code 143)")
    assert "9, 17, 203-205\n" in out
    assert "Error: no number\n" in out
    first, *_, last = inv.records()
    assert (first["id"], first["item"], first["exit"], first["attempts"], first["host"]) == ("abc-17", 17, 3, 3, "h1")
    assert (last["reason"], last["size"], last["stderr"]) == (TOO_LONG["x-cluster-reason"], 6, "")
    assert "no queue" in inv("failed.list", queue=f"{rig.queue}x", code=1)[1]
    assert f"-q {rig.queue}\n" in inv("failed.list", queue=rig.failed, code=1)[1]


def test_show_has_all_of_the_message_that_is_meant(rig: Rig, inv: Inv) -> None:
    history = ["exit 4, in attempt 3, at 2025, on h0"]
    fail(rig, 1, 12, 13, headers=NOT_NUMBER | {"x-cluster-history": history})
    fail(rig, 5, body=b"\x1b[31m\0")
    fail(rig, 6, body=b"x" * 5000)
    out = inv("failed.show", "--id", "abc-12")[0]
    for text in ("abc-12", "exit 3", "h1", *history, "Error: no number", "line 12"):
        assert text in out
    assert inv("failed.show", "--item", "12")[0] == out
    assert json.loads(inv("failed.show", "--id", "abc-1", "--json")[0])[0]["body"] == "line 1"
    said = inv("failed.show", "--id", "ab", code=1)[1]
    assert "abc-1 " in said
    assert "abc-12" in said
    assert "--id x" in inv("failed.show", "--id", "x", code=1)[1]
    for item, size in ((5, "6 bytes"), (6, "5,000 bytes")):
        shown = inv("failed.show", "--item", str(item))[0]
        assert size in shown
        assert "failed.export" in shown


# Putting back


@pytest.mark.parametrize(
    ("flags", "moved"),
    [
        (["--all"], [1, 2, 3, 4, 5]),
        (["--id", "abc-2", "--id", "abc-5"], [2, 5]),
        (["--item", "2-3,9"], [2, 3]),
        (["--exit-code", "3"], [1, 2, 3]),
        (["--reason", "TIME limit"], [4, 5]),
        (["--reason", "exit", "--item", "1,4"], [1]),
    ],
    ids=["all", "ids", "items", "exit code", "reason", "two"],
)
def test_retry_moves_those_that_are_meant(rig: Rig, inv: Inv, flags: list[str], moved: list[int]) -> None:
    fail(rig, 1, 2, 3)
    fail(rig, 4, 5, headers=TOO_LONG)
    said = inv("failed.retry", *flags, "--dry-run")[1]
    assert (f"{len(moved)} of 5" in said, rig.ready(rig.failed), rig.ready()) == (True, 5, 0)
    assert f"{len(moved)} of 5" in inv("failed.retry", *flags)[1]
    copies = rig.take(rig.queue, len(moved))
    assert ids(copies) == [f"abc-{number}" for number in moved]
    for number, copy in zip(moved, copies, strict=True):
        assert copy.body == b"line %d" % number
        assert set(copy.headers) == {"x-cluster-item", "x-cluster-first-published", "x-cluster-history"}
        assert len(copy.headers["x-cluster-history"]) == 1
    rest = [number for number in range(1, 6) if number not in moved]
    assert ids(rig.take(rig.failed, len(rest))) == [f"abc-{number}" for number in rest]


@pytest.mark.parametrize("flags", [[], ["--all", "--item", "1"], ["--item", "x"], ["--id", "nobody"]])
def test_retry_of_nothing_or_of_what_is_not_there_is_refused(rig: Rig, inv: Inv, flags: list[str]) -> None:
    fail(rig, 1)
    said = inv("failed.retry", *flags, code=1)[1]
    assert said.startswith("error: ")
    assert all(flag in said for flag in flags[-1:])
    assert rig.ready(rig.failed) == 1


def test_a_copy_has_the_properties_and_headers_as_they_came(rig: Rig, inv: Inv, in_process: None) -> None:
    keep_fields()
    odd = {"double": Field(b"d" + struct.pack(">d", 1.5), 1.5), "long": Field(b"l" + struct.pack(">q", -3), -3)}
    fail(rig, 1, headers=NOT_NUMBER | odd, content_type="text/csv", expiration="600000", reply_to="somebody")
    inv("failed.retry", "--all")
    (copy,) = rig.take()
    assert {name: copy.headers[name] for name in odd} == odd
    assert (copy.properties.content_type, copy.properties.reply_to) == ("text/csv", "somebody")
    assert copy.headers["x-cluster-expiration"] == "600000"


def test_what_the_broker_put_there_begins_anew(rig: Rig, inv: Inv) -> None:
    if not has_limit(rig.server):
        pytest.skip("this broker dead-letters nothing of ours")
    rig.publish(b"x", expiration="1")
    until(lambda: rig.ready(rig.failed) == 1, "it expired")
    assert "expired in queue" in inv("failed.list")[0]
    inv("failed.retry", "--reason", "expired")
    (copy,) = rig.take()
    assert "x-death" not in copy.headers
    assert copy.headers["x-cluster-history"][0].startswith("expired in queue")


def test_it_works_while_workers_run_and_more_fails(rig: Rig, inv: Inv) -> None:
    fail(rig, *range(1, 301))
    done = rig.tmp / "done"
    action = rig.action(f'read _ n <&0; [ $((n % 10)) != 0 ] || exit 65; echo "$n" >> {done}')
    rig.worker("--backoff", "0", "--breaker", "0", "-j", "4", action)
    assert "300 of 300" in inv("failed.retry", "--all")[1]
    until(lambda: rig.ready(rig.failed) == 30 and len(done.read_text().split()) == 270, "all have an end")
    assert sorted(map(int, done.read_text().split())) == [number for number in range(1, 301) if number % 10]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["KILL", "INT"])
def test_interrupted_nothing_is_lost(rig: Rig, inv: Inv, number: signal.Signals) -> None:
    many = 6000
    fail(rig, *range(many))
    moving = inv.start("failed.retry", "--all")
    until(lambda: rig.ready() > 500, "some are moved")
    moving.send_signal(number)
    _, err = moving.communicate(timeout=60)
    moved = rig.ready()
    assert moved < many, "it was interrupted too late"
    until(lambda: rig.ready(rig.failed) + moved >= many, "what was in hand is back")
    times = Counter(taken(rig.url, rig.queue) + taken(rig.url, rig.failed))
    assert len(times) == many
    if number == signal.SIGINT:
        assert (moving.returncode, f"{moved:,} of {many:,}" in err) == (130, True), err
        assert times.total() == many


def test_a_signal_in_the_last_moment_doubles_nothing(rig: Rig, inv: Inv) -> None:
    """All copies are safe then, and the broker is about to be told that the originals are settled."""
    many = 2000
    fail(rig, *range(many))
    inv("publish", "--body", "so that there is a note")
    rig.take()
    moving = inv.start("failed.retry", "--all")
    until(lambda: rig.ready() >= many, "all are copied")
    moving.send_signal(signal.SIGINT)
    _, err = moving.communicate(timeout=60)
    assert "Traceback" not in err
    assert len(taken(rig.url, rig.queue) + taken(rig.url, rig.failed)) == many
    assert _noted(rig) == 0


def test_what_a_full_queue_refuses_stays_failed(rig: Rig, broker: Broker) -> None:
    # Of a quorum queue the length is no exact one.
    full = {"x-queue-type": "classic", "x-max-length": 5, "x-overflow": "reject-publish"}
    with rig.channel() as channel:
        channel.queue_declare(rig.queue, durable=True, arguments=full)
        channel.queue_declare(rig.failed, durable=True, arguments=queue_arguments(rig.queue, rig.server)[rig.failed])
    fail(rig, *range(60))
    retrying = Inv(rig, broker).start("failed.retry", "--all")
    until(lambda: rig.ready() >= 5, "the queue is full")
    retrying.send_signal(signal.SIGINT)
    retrying.communicate(timeout=120)
    moved, left = taken(rig.url, rig.queue), taken(rig.url, rig.failed)
    assert len(moved) == 5
    assert sorted(moved + left) == sorted(f"abc-{number}" for number in range(60))


def test_a_broker_that_is_killed_loses_nothing(own_broker: Broker, queue_name: str, tmp_path: Path) -> None:
    many = 5000
    rig = Rig(own_broker.url, own_broker.management, queue_name, tmp_path)
    rig.declare()
    rig.declare(rig.failed)
    fail(rig, *range(many))
    moving = Inv(rig, own_broker).start("failed.retry", "--all")
    until(lambda: rig.ready() > 500, "some are moved")
    own_broker.kill()
    own_broker.start()
    _, err = moving.communicate(timeout=120)
    assert moving.returncode == 3, err
    until(lambda: rig.ready() + rig.ready(rig.failed) >= many, "the queues are up")
    assert "of" in Inv(rig, own_broker)("failed.retry", "--all")[1]
    assert set(taken(rig.url, rig.queue)) == {f"abc-{number}" for number in range(many)}


# Dropping and exporting


def test_drop_asks_and_deletes_those_that_are_meant(rig: Rig, inv: Inv) -> None:
    fail(rig, 1, 2)
    fail(rig, 3, headers=TOO_LONG)
    assert "2 failed messages" in inv("failed.drop", "--exit-code", "3", code=1)[1]
    inv("failed.drop", "--all", "--dry-run")
    assert rig.ready(rig.failed) == 3
    assert "2 of 3" in inv("failed.drop", "--exit-code", "3", "--yes")[1]
    assert [record["item"] for record in inv.records()] == [3]
    inv("failed.drop", "--all", "--yes")
    assert rig.ready(rig.failed) == rig.ready() == 0


def test_export_takes_out_what_it_wrote_and_nothing_else(rig: Rig, inv: Inv, tmp_path: Path) -> None:
    fail(rig, 1, 2)
    fail(rig, 3, headers=TOO_LONG)
    fail(rig, 4, body=b"no\nline")
    inv("failed.export", "--all", "--output", str(tmp_path / "lines"), "--drop", code=1)
    assert (rig.ready(rig.failed), (tmp_path / "lines").exists()) == (4, False)
    inv("failed.export", "--item", "1-2", "--output", str(tmp_path / "lines"), "--drop")
    fail(rig, 1)
    assert (tmp_path / "lines").read_text() == "line 1\nline 2\n"
    assert [record["item"] for record in inv.records()] == [3, 4, 1]


@pytest.mark.parametrize("flags", [["--item", "151"], ["--exit-code", "9"], ["--reason", "nobody"]])
@pytest.mark.parametrize("command", ["failed.retry", "failed.drop"])
def test_a_choice_that_nothing_meets_is_an_error(rig: Rig, inv: Inv, command: str, flags: list[str]) -> None:
    fail(rig, 1)
    for more in ([], ["--dry-run"]):
        assert inv(command, *flags, *more, code=1)[1].startswith("error: ")
    assert rig.ready(rig.failed) == 1


def test_what_is_exported_is_published_as_it_was(rig: Rig, inv: Inv, tmp_path: Path) -> None:
    bodies = [b"plain", b"dos\r", b"\xff\xfe latin", "grün".encode()]
    for number, body in enumerate(bodies, start=1):
        fail(rig, number, body=body)
    output = tmp_path / "lines.txt"
    inv("failed.export", "--all", "--output", str(output))
    assert output.read_bytes() == b"".join(body + b"\n" for body in bodies)
    inv("publish", "--file", str(output))
    assert [message.body for message in rig.take(count=4)] == bodies
    assert rig.ready(rig.failed) == 4
    inv("failed.export", "--all", "--output", str(output), code=1)
    assert output.read_bytes().endswith("grün\n".encode())


@pytest.mark.parametrize("body", [b"two\nlines", b"end\n", b"nul\0"], ids=["two lines", "newline at the end", "binary"])
def test_what_is_no_line_goes_to_a_folder(rig: Rig, inv: Inv, tmp_path: Path, body: bytes) -> None:
    fail(rig, 1, body=b"fine")
    fail(rig, 7, body=body)
    fail(rig, 8, body=b"was a file", headers=NOT_NUMBER | {"x-cluster-file": "data/a.csv"})
    said = inv("failed.export", "--all", "--output", str(tmp_path / "o"), code=1)[1]
    assert "abc-7" in said
    assert "o/" in said
    assert not (tmp_path / "o").exists()
    inv("failed.export", "--all", "--output", f"{tmp_path}/o/")
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["a.csv", "item-000001", "item-000007"]
    inv("publish", "--files", f"{tmp_path}/o/*")
    assert sorted(message.body for message in rig.take(count=3)) == sorted([b"fine", body, b"was a file"])


def test_records_have_all_facts_with_the_body(rig: Rig, inv: Inv, tmp_path: Path) -> None:
    fail(rig, 1)
    fail(rig, 2, body=b"\xff")
    inv("failed.export", "--item", "1-2", "--output", str(tmp_path / "o.jsonl"))
    first, second = map(json.loads, (tmp_path / "o.jsonl").read_text().splitlines())
    assert (first["body"], first["stderr"], second["body_base64"]) == ("line 1", NOT_NUMBER["x-cluster-stderr"], "/w==")
