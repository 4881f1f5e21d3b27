"""What the action sees, and what becomes of what it prints."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.worker_rig import Rig
from tests.processes import memory_mib
from tests.waiting import until

pytestmark = pytest.mark.broker


def _environment(rig: Rig, **properties: Any) -> dict[str, str]:
    """The AMQP_* variables that an action sees for a message with these properties."""
    seen = rig.tmp / "seen"
    rig.worker(rig.python_action(f"import json, os; json.dump(dict(os.environ), open({str(seen)!r}, 'w'))"))
    rig.publish(b"x", **properties)
    until(lambda: seen.exists() and seen.read_text().endswith("}"), "the action has run")
    return {name: value for name, value in json.loads(seen.read_text()).items() if name.startswith("AMQP_")}


def test_the_environment(rig: Rig) -> None:
    headers = {"plain": "text", "a number": 7, "Mixed-Case": True, "nested": {"a": [1, "b"]}}
    assert _environment(rig, message_id="my id", content_type="text/csv", timestamp=1700000000, headers=headers) == {
        "AMQP_QUEUE": rig.queue,
        "AMQP_MESSAGE_ID": "my id",
        "AMQP_ATTEMPT": "1",
        "AMQP_REDELIVERED": "0",
        "AMQP_ROUTING_KEY": rig.queue,
        "AMQP_CONTENT_TYPE": "text/csv",
        "AMQP_TIMESTAMP": "1700000000",
        "AMQP_DELIVERY_MODE": "2",
        "AMQP_HEADER_PLAIN": "text",
        "AMQP_HEADER_A_NUMBER": "7",
        "AMQP_HEADER_MIXED_CASE": "true",
        "AMQP_HEADER_NESTED": '{"a": [1, "b"]}',
    }


def test_all_properties_are_told_at_each_attempt(rig: Rig) -> None:
    """Also those that a copy for the next attempt cannot have: its sender, and when the broker would drop it."""
    sent = {
        "content_encoding": "gzip",
        "correlation_id": "c-1",
        "reply_to": "answers",
        "expiration": "3600000",
        "priority": 3,
        "type": "order",
        "user_id": "guest",
        "app_id": "shop",
    }
    seen = rig.tmp / "seen"
    rig.worker(
        "--backoff", "0",
        rig.python_action(
            "import json, os, sys\nattempt = os.environ['AMQP_ATTEMPT']\n"
            f"json.dump(dict(os.environ), open({str(seen)!r} + attempt, 'w'))\nsys.exit(attempt == '1')"
        ),
    )  # fmt: skip
    rig.publish(b"x", **sent)
    until(lambda: rig.ready() == 0 and Path(f"{seen}2").exists(), "two attempts")
    for attempt in "12":
        found = until(lambda n=attempt: _complete(Path(f"{seen}{n}")), "the action has run")
        assert {name: found[f"AMQP_{name.upper()}"] for name in sent} == {
            key: str(value) for key, value in sent.items()
        }


def _complete(path: Path) -> dict[str, str]:
    text = path.read_text()
    return dict(json.loads(text)) if text.endswith("}") else {}


def test_headers_that_share_a_variable_are_said(rig: Rig) -> None:
    worker = rig.worker(rig.action('echo "$AMQP_HEADER_A_B"'))
    for number in range(2):
        rig.publish(b"x", headers={"a_b": "second", "a-b": "first", "A B": "zeroth"}, message_id=f"m{number}")
    until(lambda: worker.out == b"zeroth\n" * 2, "both have run")
    assert worker.log.count("are both the variable AMQP_HEADER_A_B") == 1


def test_the_routing_key_is_the_first_one_at_every_attempt(rig: Rig) -> None:
    worker = rig.worker("--backoff", "0", rig.action('echo "$AMQP_ROUTING_KEY"; [ "$AMQP_ATTEMPT" = 2 ]'))
    with rig.channel() as channel:
        exchange = f"{rig.queue}.exchange"
        channel.exchange_declare(exchange, "topic", auto_delete=True)
        channel.queue_bind(rig.queue, exchange, "orders.#")
        channel.basic_publish(exchange, "orders.new", b"x")
        until(lambda: worker.out == b"orders.new\n" * 2, "two attempts")
        channel.queue_unbind(rig.queue, exchange, "orders.#")


def test_secrets_are_taken_out_of_the_environment(rig: Rig) -> None:
    password = rig.tmp / "password"
    password.write_text("guest\n")
    worker = rig.worker(
        rig.action("env"), AMQP_USER="guest", AMQP_PASSWORD_FILE=str(password), MARATHON_PASSWORD="m", KEPT="k"
    )  # fmt: skip
    rig.publish(b"x")
    until(lambda: b"AMQP_QUEUE" in worker.out, "the action has run")
    assert b"KEPT=k" in worker.out
    assert b"PASSWORD" not in worker.out
    assert b"AMQP_USER" not in worker.out


def test_its_stdin_is_the_body_and_nothing_else_of_the_worker_is_open(rig: Rig) -> None:
    worker = rig.worker("-j", "3", rig.action("ls /proc/self/fd | tr '\\n' ' '; cat"))
    rig.publish(b"the body\n")
    until(lambda: worker.out.endswith(b"the body\n"), "the action has run")
    # 3 is the folder that ls reads.
    assert worker.out.split() == [b"0", b"1", b"2", b"3", b"the", b"body"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=2000))
def test_bodies_of_any_bytes(echo: Any, body: bytes) -> None:
    assert echo(body) == body


def test_a_body_larger_than_a_pipe(echo: Any) -> None:
    body = secrets.token_bytes(5_000_000)
    assert echo(body) == body


@pytest.fixture
def echo(rig: Rig) -> Any:
    """Sends a body through an action and gives back what the action read."""
    seen, renamed = rig.tmp / "seen", rig.tmp / "renamed"
    rig.worker(rig.action(f"cat > {seen}; mv {seen} {renamed}"))

    def send(body: bytes) -> bytes:
        rig.publish(body)
        until(renamed.exists, "the action has run")
        found = renamed.read_bytes()
        renamed.unlink()
        return found

    return send


def test_an_action_that_does_not_read_its_stdin_is_fine(rig: Rig) -> None:
    worker = rig.worker(rig.action("echo ran"))
    rig.publish(b"x" * 1_000_000, b"y")
    until(lambda: worker.out == b"ran\n" * 2, "both actions have run")
    assert worker.stop() == 0
    assert rig.ready() == rig.ready(rig.failed) == 0


def test_an_action_that_stops_reading_half_way_is_fine(rig: Rig) -> None:
    worker = rig.worker(rig.action("head -c 1; sleep 0.2"))
    rig.publish(b"x" * 1_000_000)
    until(lambda: worker.out == b"x\n", "the action has run")
    assert worker.stop() == 0
    assert rig.ready() == rig.ready(rig.failed) == 0


def test_output_is_passed_on_in_whole_lines_while_the_action_runs(rig: Rig) -> None:
    release = rig.tmp / "release"
    slow = rig.action(f"""printf 'first line\\nsecond '; printf 'to stderr\\n' >&2
        until [ -e {release} ]; do sleep 0.02; done; printf 'line\\nno newline at the end'""")
    worker = rig.worker("--tag", slow)
    rig.publish(b"x", message_id="id 1")
    until(lambda: worker.out == b"id 1\tfirst line\n", "the first line, before the action ends")
    worker.says("id 1\tto stderr\n")
    release.touch()
    until(lambda: worker.out == b"id 1\tfirst line\nid 1\tsecond line\nid 1\tno newline at the end\n", "the rest")


def test_lines_of_actions_that_run_at_once_are_not_mixed(rig: Rig) -> None:
    worker = rig.worker(
        "-j",
        "4",
        "--tag",
        rig.python_action("""
import os, sys
word = os.environ["AMQP_MESSAGE_ID"].encode() * 20
for _ in range(300):
    for byte in range(0, len(word), 7):
        os.write(1, word[byte : byte + 7])
    os.write(1, b"\\n")
"""),
    )
    rig.publish(*[b"x"] * 4)
    until(lambda: worker.out.count(b"\n") == 1200, "all lines")
    assert set(worker.out.splitlines()) == {f"m{n}\t".encode() + f"m{n}".encode() * 20 for n in range(4)}


def test_a_line_without_end_does_not_fill_the_memory(rig: Rig) -> None:
    worker = rig.worker(rig.action("head -c 200000000 /dev/zero"), consuming=True)
    rig.publish(b"x")
    until(lambda: len(worker.out) >= 200_000_000, "all of it")
    assert memory_mib(worker.process.pid, "VmHWM") < 45
    os.truncate(worker._out, 0)


def test_a_process_that_the_action_leaves_behind_is_not_waited_for(rig: Rig) -> None:
    pid = rig.tmp / "pid"
    worker = rig.worker(rig.action(f"sleep 300 & echo $! > {pid}; echo done"))
    rig.publish(b"x", b"y")
    until(lambda: worker.out == b"done\ndone\n", "both messages")
    os.kill(int(pid.read_text()), 9)
