"""Publishing to a real broker: what arrives, where, and what is refused."""

import json
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from scripts.amqp.queues import failed_queue, queue_arguments
from tests.integration.publishing import Publish, Queue, bodies, publish, written
from tests.processes import memory_mib
from tests.waiting import until

pytestmark = pytest.mark.broker

MANY = 100_000
LIMIT_BYTES = 16 * 1024 * 1024


# What arrives


def test_a_body_arrives_persistent_with_an_id_and_a_time(queue: Queue, to: list[str]) -> None:
    code, err = publish(*to, "--body", "This is a test message", "--header", "colour=blue", "--header", "size=2")
    assert (code, err.startswith(f"published 1 message to {queue.name!r} in ")) == (0, True), err
    [message] = queue.take()
    assert message.body == b"This is a test message"
    assert message.headers == {"colour": "blue", "size": "2"}
    assert message.properties.delivery_mode == 2
    assert abs(message.properties.timestamp - time.time()) < 60
    assert message.id


def test_a_file_is_a_message_a_line_with_its_bytes(queue: Queue, to: list[str], tmp_path: Path) -> None:
    content = [b"plain", b" spaces ", b"dos\r", "grün ☃".encode(), b"\x00\xff\xfe", b"x" * 300_000, b"no newline"]
    path = written(tmp_path / "in", b"\n".join(content))
    code, err = publish(*to, "--file", path, "--json")
    assert code == 0, err
    found = queue.take()
    assert bodies(found) == content
    assert len({message.id for message in found}) == len(content)


def test_the_result_is_json_on_stdout_and_the_rest_is_not(queue: Queue, to: list[str], tmp_path: Path) -> None:
    running = Publish(*to, "--file", written(tmp_path / "in", b"a\nbc\n"), "--json")
    code, err = running.end()
    result = json.loads(running.out)
    assert (code, result.pop("seconds") >= 0) == (0, True)
    assert result == {"queue": queue.name, "messages": 2, "bytes": 3}
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--null"], [b"a\nb", b"c\nd\n"]),
        (["--lines-per-message", "2"], [b"a\nb\0c", b"d\n\0"[:1]]),
        (["--null", "--lines-per-message", "5"], [b"a\nb\0c\nd\n"]),
    ],
    ids=["null", "two lines", "five records"],
)
def test_a_file_is_cut_as_the_flags_say(
    queue: Queue, to: list[str], tmp_path: Path, flags: list[str], expected: list[bytes]
) -> None:
    content = b"a\nb\0c\nd" if flags[0] == "--lines-per-message" else b"a\nb\0c\nd\n\0"
    code, err = publish(*to, *flags, "--file", written(tmp_path / "in", content))
    assert code == 0, err
    assert bodies(queue.take()) == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--skip-empty"], [1, 3, 4, 5]),
        (["--skip-empty", "--lines-per-message", "3"], [1, 5]),
        (["--null"], [1]),
    ],
    ids=["lines", "three lines", "records"],
)
@pytest.mark.parametrize("is_stream", [False, True], ids=["file", "pipe"])
def test_an_item_has_the_number_of_its_first_line(
    queue: Queue, to: list[str], tmp_path: Path, flags: list[str], expected: list[int], is_stream: bool
) -> None:
    content = b"a\n\nb\nc\nd\n"
    if is_stream:
        running = Publish(*to, *flags, "--file", "-", stdin=subprocess.PIPE)
        running.write(content)
    else:
        running = Publish(*to, *flags, "--file", written(tmp_path / "in", content))
    code, err = running.end()
    assert code == 0, err
    assert [message.headers["x-cluster-item"] for message in queue.take()] == expected


def test_files_are_a_message_each_and_say_their_names(queue: Queue, to: list[str], tmp_path: Path) -> None:
    written(tmp_path / "b.csv", b"2\n\n")
    written(tmp_path / "a.csv", b"1\n")
    code, err = publish(*to, "--files", f"{tmp_path}/*.csv", "--header", "set=one")
    assert code == 0, err
    found = queue.take()
    assert bodies(found) == [b"1\n", b"2\n\n"]
    assert [message.headers for message in found] == [
        {"set": "one", "x-cluster-file": f"{tmp_path}/{name}", "x-cluster-item": number}
        for number, name in enumerate(("a.csv", "b.csv"), start=1)
    ]


def test_stdin_is_published_as_it_comes_and_a_silent_pipe_keeps_the_connection(queue: Queue, to: list[str]) -> None:
    to[1] += "?heartbeat=1"
    running = Publish(*to, "--file", "-", stdin=subprocess.PIPE)
    running.write(b"first\nsec")
    until(lambda: queue.ready() == 1)
    silent_until = time.monotonic() + 4  # the broker gives up after two missed heartbeats
    until(lambda: time.monotonic() > silent_until)
    running.write(b"ond\nthird")
    code, err = running.end()
    assert (code, err.count("\n")) == (0, 1), err
    assert bodies(queue.take()) == [b"first", b"second", b"third"]


def test_a_message_may_be_as_large_as_the_broker_takes(queue: Queue, to: list[str], tmp_path: Path) -> None:
    largest = b"x" * LIMIT_BYTES
    code, err = publish(*to, "--file", written(tmp_path / "in", b"small\n" + largest + b"\n" + largest + b"\nend\n"))
    assert code == 0, err
    assert [len(body) for body in bodies(queue.take())] == [5, LIMIT_BYTES, LIMIT_BYTES, 3]


# Where it goes


def test_the_default_queue_is_made_durable_with_its_failed_queue(queue: Queue) -> None:
    code, err = publish("-u", queue.url, "--body", "x", env={"INVOKE_QUEUE_NAME": queue.name})
    assert code == 0, err
    assert bodies(queue.take()) == [b"x"]
    queue.make(**queue_arguments(queue.name, {"version": "4.0.5"})[queue.name])
    Queue(queue.url, failed_queue(queue.name)).delete()


def test_another_queue_must_be_there_or_be_asked_for(queue: Queue) -> None:
    flags = ["-u", queue.url, "-q", queue.name, "--body", "x"]
    assert publish(*flags) == (1, f"error: no queue {queue.name!r} at {queue.url}: --create makes it\n")
    with pytest.raises(Exception, match="NOT_FOUND"):
        queue.ready()
    code, err = publish(*flags, "--create")
    assert code == 0, err
    assert queue.ready() == 1
    Queue(queue.url, failed_queue(queue.name)).delete()


def test_a_queue_with_other_arguments_is_used_as_it_is(queue: Queue) -> None:
    queue.make(x_queue_type="classic")
    code, err = publish("-u", queue.url, "-q", queue.name, "--create", "--body", "x")
    assert (code, queue.ready()) == (0, 1), err


def test_a_wrong_password_is_one_line_and_exit_3(queue: Queue, to: list[str]) -> None:
    url = queue.url.replace("//", "//guest:wrong@")
    code, err = publish("-u", url, "--body", "x")
    assert (code, err.count("\n")) == (3, 1)
    assert f"no broker at {queue.url}: it refuses this user and password" in err
    assert "wrong" not in err


# What is refused


def test_a_file_with_an_empty_line_sends_nothing(queue: Queue, to: list[str], tmp_path: Path) -> None:
    path = written(tmp_path / "in", b"a\nb\n\nc\n")
    code, err = publish(*to, "--file", path)
    assert (code, err) == (1, f"error: {path}: line 3 is empty; --skip-empty leaves empty lines out\n")
    assert queue.ready() == 0
    assert publish(*to, "--file", path, "--skip-empty")[0] == 0
    assert bodies(queue.take()) == [b"a", b"b", b"c"]


def test_an_empty_line_of_stdin_ends_it_and_what_came_before_is_counted(queue: Queue, to: list[str]) -> None:
    running = Publish(*to, "--file", "-", stdin=subprocess.PIPE)
    _, err = running.process.communicate(b"a\nb\n\nc\n", timeout=60)
    assert running.process.returncode == 1
    assert err.decode() == (
        "error: STDIN: line 3 is empty; --skip-empty leaves empty lines out; "
        "confirmed: 2, first not confirmed: line 3\n"
    )
    assert bodies(queue.take()) == [b"a", b"b"]


def test_an_input_without_a_message_is_an_error_unless_that_may_be(queue: Queue, to: list[str], tmp_path: Path) -> None:
    nothing = "is empty: there is nothing to publish; --skip-empty allows that"
    assert publish(*to, "--file", "-", stdin=subprocess.DEVNULL) == (1, f"error: STDIN {nothing}\n")
    assert publish(*to, "--file", "/dev/null") == (1, f"error: /dev/null {nothing}\n")
    path = written(tmp_path / "in", b"\n")
    for flags, name in ((["--file", "-"], "STDIN"), (["--file", path], path)):
        running = Publish(*to, *flags, "--skip-empty", "--json", stdin=subprocess.DEVNULL)
        assert running.end() == (0, f"nothing to publish: {name} is empty\n")
        assert json.loads(running.out) == {"queue": queue.name, "messages": 0, "bytes": 0, "seconds": 0}
    assert queue.ready() == 0


def test_a_message_over_the_limit_is_found_before_anything_is_sent(queue: Queue, to: list[str], tmp_path: Path) -> None:
    path = written(tmp_path / "in", b"a\n" + b"x" * (LIMIT_BYTES + 1) + b"\nb\n")
    code, err = publish(*to, "--file", path)
    assert code == 1
    assert err.startswith(f"error: {path}: line 2 has {LIMIT_BYTES + 1:,} bytes, and the broker at {queue.url} takes")
    assert f"at most {LIMIT_BYTES:,} in a message" in err
    assert queue.ready() == 0


def test_a_message_of_stdin_over_the_limit_ends_it_there(queue: Queue, to: list[str], tmp_path: Path) -> None:
    path = Path(written(tmp_path / "in", b"a\nb\n" + b"x" * (LIMIT_BYTES + 1) + b"\nc\n"))
    with path.open("rb") as stdin:
        code, err = publish(*to, "--file", "-", stdin=stdin)
    assert code == 1
    assert err.startswith(f"error: STDIN: line 3 has {LIMIT_BYTES + 1:,} bytes, and the broker")
    assert err.endswith("confirmed: 2, first not confirmed: line 3\n")
    assert bodies(queue.take()) == [b"a", b"b"]


# What it costs


def test_its_memory_does_not_grow_with_the_file(queue: Queue, to: list[str], tmp_path: Path) -> None:
    peaks_mib = []
    for count in (100, 30_000):
        path = written(tmp_path / f"{count}", b"".join(b"%d %s\n" % (number, b"x" * 2000) for number in range(count)))
        running = Publish(*to, "--file", path)
        peaks_mib.append(max(iter(partial(memory_mib, running.process.pid, "VmHWM"), 0)))
        assert running.end()[0] == 0
    assert peaks_mib[1] < peaks_mib[0] + 20 < 65
