"""Publishing when it is interrupted, killed, or left alone by its broker: nothing lost, and all of it said."""

import json
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.settings import ROOT
from tests.integration.network import Network
from tests.integration.publishing import Message, Publish, Queue, bodies, clean_up, publish, written
from tests.waiting import until

pytestmark = pytest.mark.broker

MANY = 100_000
LIMIT_BYTES = 16 * 1024 * 1024


@pytest.fixture
def network(to: list[str]) -> Iterator[Network]:
    """A slow one: there is time to do something in the middle, however busy the machine is."""
    with slow(to[1]) as network:
        yield network


@pytest.fixture
def slowly(to: list[str], network: Network) -> list[str]:
    """The same by a slow network."""
    return ["-u", network.url, *to[2:]]


@contextmanager
def slow(url: str) -> Iterator[Network]:
    """A way to the broker for some 7,000 of the many lines a second."""
    network = Network(url, bytes_per_s=1_000_000)
    network.up()
    try:
        yield network
    finally:
        network.down()


@pytest.fixture
def lines(tmp_path: Path, queue_name: str) -> Iterator[Path]:
    """A file of many lines, no two the same."""
    path = tmp_path / queue_name
    path.write_bytes(b"".join(b"line %d of many\n" % number for number in range(MANY)))
    yield path
    clean_up(tmp_path)


def every_line_arrived(lines: Path, found: list[Message]) -> int:
    """How many were sent twice; with the same id, and each with its line's number, or it fails."""
    wanted = lines.read_bytes().splitlines()
    times = Counter(bodies(found))
    assert set(times) == set(wanted)
    assert len({message.id for message in found}) == len(wanted)
    numbers = {line: number for number, line in enumerate(wanted, start=1)}
    assert all(message.headers["x-cluster-item"] == numbers[message.body] for message in found)
    return len(found) - len(wanted)


def test_killed_and_resumed_every_line_arrives_and_doubles_have_the_same_id(
    queue: Queue, slowly: list[str], lines: Path
) -> None:
    doubles = []
    for threshold in (20_000, 50_000):
        running = Publish(*slowly, "--file", str(lines), *(["--resume"] if doubles or threshold > 20_000 else []))
        until(lambda threshold=threshold: queue.ready() > threshold)  # type: ignore[misc]
        running.process.kill()
        assert running.end()[0] == -signal.SIGKILL
    code, err = publish(*slowly, "--file", str(lines))
    assert (code, "--resume goes on from there" in err, err.count("\n")) == (1, True, 1), err
    code, err = publish(*slowly, "--file", str(lines), "--resume")
    assert code == 0, err
    assert re.match(rf"going on from line [\d,]+ of {lines}\npublished ", err)
    assert every_line_arrived(lines, queue.take()) < MANY / 2
    code, err = publish(*slowly, "--file", str(lines), "--resume")
    assert (code, queue.ready()) == (0, 0)
    assert err.startswith(f"{lines} is published to {queue.name!r} already, all of it\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"])
def test_interrupted_it_says_how_far_it_came_and_goes_on_from_there(
    queue: Queue, slowly: list[str], network: Network, lines: Path, number: signal.Signals, code: int
) -> None:
    running = Publish(*slowly, "--file", str(lines))
    until(lambda: queue.ready() > 10_000)
    running.process.send_signal(number)
    ended, err = running.end()
    said = re.fullmatch(
        r"error: interrupted; confirmed: ([\d,]+) of 100,000, first not confirmed: line ([\d,]+); "
        r"--resume goes on from there\n",
        err,
    )
    assert (ended, bool(said)) == (code, True), err
    assert said
    confirmed, first = (int(text.replace(",", "")) for text in said.groups())
    assert first == confirmed + 1
    assert queue.ready() == confirmed
    network.bytes_per_s = 0
    resumed = Publish(*slowly, "--file", str(lines), "--resume", "--json")
    assert resumed.end()[0] == 0
    assert json.loads(resumed.out)["messages"] == MANY - confirmed
    assert every_line_arrived(lines, queue.take()) == 0


def test_interrupted_while_it_reads_a_pipe_it_counts_what_came(queue: Queue, to: list[str]) -> None:
    running = Publish(*to, "--file", "-", stdin=subprocess.PIPE)
    running.write(b"one\ntwo\nthr")
    until(lambda: queue.ready() == 2)
    running.process.send_signal(signal.SIGINT)
    code = running.process.wait(60)
    assert running.process.stderr
    err = running.process.stderr.read().decode()
    assert (code, err) == (130, "error: interrupted; confirmed: 2, first not confirmed: line 3\n")


def test_interrupted_while_the_broker_does_not_answer_it_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        running = Publish("-u", f"amqp://127.0.0.1:{silent.getsockname()[1]}", "--body", "x")
        with silent.accept()[0]:
            running.process.send_signal(signal.SIGINT)
            assert running.end() == (130, "error: interrupted\n")


def test_a_changed_file_is_not_resumed(queue: Queue, slowly: list[str], lines: Path) -> None:
    running = Publish(*slowly, "--file", str(lines))
    until(lambda: queue.ready() > 10_000)
    running.process.send_signal(signal.SIGINT)
    assert running.end()[0] == 130
    with lines.open("ab") as file:
        file.write(b"one more\n")
    before = queue.ready()
    code, err = publish(*slowly, "--file", str(lines), "--resume")
    assert (code, "the input has changed since" in err, err.count("\n")) == (1, True, 1), err
    assert queue.ready() == before


@pytest.mark.parametrize("done", [True, False], ids=["complete", "interrupted"])
def test_another_broker_is_another_publication(
    queue: Queue, to: list[str], network: Network, lines: Path, done: bool
) -> None:
    """By another way it is the same broker here, which nobody can know."""
    if done:
        lines.write_text("one\ntwo\n")
    running = Publish("-u", network.url, *to[2:], "--file", str(lines))
    if not done:
        until(lambda: queue.ready() > 1000)
        running.process.send_signal(signal.SIGINT)
    assert running.end()[0] == (0 if done else 130)
    before = queue.ready()
    for elsewhere in (queue.url, f"{network.url}/other"):
        code, err = publish("-u", elsewhere, *to[2:], "--file", str(lines), "--resume")
        assert (code, err.count("\n"), network.url in err, elsewhere in err) == (1, 1, True, True), err
    assert queue.ready() == before
    network.bytes_per_s = 0
    assert publish("-u", f"{network.url}/", *to[2:], "--file", str(lines), "--resume")[0] == 0


def test_a_queue_deleted_in_the_middle_is_said_and_its_messages_are_not_counted(
    queue: Queue, slowly: list[str], lines: Path
) -> None:
    running = Publish(*slowly, "--file", str(lines))
    until(lambda: queue.ready() > 10_000)
    queue.delete()
    code, err = running.end()
    # (Deleting a quorum queue that is published to may cost the connection too: INTERNAL_ERROR.)
    said = re.search(
        rf"^error: queue {queue.name!r} at {slowly[1]} is gone; confirmed: ([\d,]+) of 100,000, "
        r"first not confirmed: line ([\d,]+); --resume goes on from there\n\Z",
        err,
        re.MULTILINE,
    )
    assert (code, bool(said)) == (1, True), err
    assert said
    assert int(said[2].replace(",", "")) <= int(said[1].replace(",", "")) + 1 < MANY


def test_what_the_broker_takes_and_returns_is_not_confirmed(queue: Queue, to: list[str]) -> None:
    running = Publish(*to, "--file", "-", stdin=subprocess.PIPE)
    running.write(b"one\n")
    until(lambda: queue.ready() == 1)
    queue.delete()
    running.write(b"two\n")
    running.process.wait(60)
    assert running.end() == (
        1, f"error: queue {queue.name!r} at {queue.url} is gone; confirmed: 1, first not confirmed: line 2\n"
    )  # fmt: skip


def test_a_bug_ends_it_with_its_traceback_and_is_no_lost_connection(queue: Queue, to: list[str]) -> None:
    program = f"""if True:
        from cluster.queue.publishing.link import Target
        from cluster.queue.publishing.publisher import Watch, publish
        from cluster.queue.publishing.sources import one_body
        target = Target({queue.url!r}, {queue.name!r}, retry_for_s=1)
        publish(one_body(b"x"), target, Watch(print, begins=lambda _failed: 1 / 0))
        """
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, "ZeroDivisionError" in done.stderr.splitlines()[-1]) == (1, "", True)


def test_a_full_queue_is_waited_for_a_while(queue: Queue, to: list[str], lines: Path) -> None:
    queue.delete()
    queue.make(x_max_length=1000, x_overflow="reject-publish")
    code, err = publish(*to, "--file", str(lines), "--retry-for", "1")
    full = f"queue {queue.name!r} at {queue.url} is full"
    assert (code, err.startswith(f"{full}; trying for 1 s\nerror: {full}; confirmed: 1,")) == (1, True), err
    assert err.endswith("--resume goes on from there\n")
    assert 1000 <= queue.ready() < 5000


def test_a_full_queue_that_is_emptied_takes_the_rest(queue: Queue, to: list[str], tmp_path: Path) -> None:
    queue.delete()
    queue.make(x_max_length=1000, x_overflow="reject-publish")
    path = Path(written(tmp_path / "in", b"".join(b"%d\n" % number for number in range(8000))))
    running = Publish(*to, "--file", str(path))
    assert running.said("is full; trying for 60 s")
    found: list[Message] = []
    while running.process.poll() is None:
        found += queue.take()
    code, err = running.end()
    assert code == 0, err
    assert every_line_arrived(path, found + queue.take()) == 0


def test_a_broker_that_is_killed_and_comes_back_gets_every_line(own_broker: Any, queue_name: str, lines: Path) -> None:
    queue = Queue(own_broker.url, queue_name).make()
    with slow(queue.url) as network:
        running = Publish("-u", network.url, "-q", queue.name, "--file", str(lines), "--retry-for", "120")
        until(lambda: queue.ready() > 10_000)
        own_broker.kill()
        assert running.said(" is lost: ")
        own_broker.start()
        network.bytes_per_s = 0
        code, err = running.end()
    assert (code, "connected again" in err) == (0, True), err
    every_line_arrived(lines, queue.take())


def test_a_broker_that_stays_away_is_exit_3_and_resumed_later(own_broker: Any, queue_name: str, lines: Path) -> None:
    queue = Queue(own_broker.url, queue_name).make()
    with slow(queue.url) as network:
        running = Publish("-u", network.url, "-q", queue.name, "--file", str(lines), "--retry-for", "1")
        until(lambda: queue.ready() > 10_000)
        own_broker.kill()
        network.down()
        code, err = running.end()
    flags = ["-u", network.url, "-q", queue.name, "--file", str(lines)]
    last = err.splitlines()[-1]
    assert (code, last.startswith(f"error: the connection to {network.url} is lost: ")) == (3, True), err
    assert re.search(r"confirmed: [\d,]+ of 100,000, first not confirmed: line [\d,]+; --resume goes on", last)
    code, err = publish(*flags, "--resume")
    last = err.splitlines()[-1]
    assert (code, last.startswith(f"error: no broker at {network.url}")) == (3, True), err
    assert "--resume goes on" in last
    own_broker.start()
    network.bytes_per_s = 0
    network.up()
    code, err = publish(*flags, "--resume")
    network.down()
    assert code == 0, err
    every_line_arrived(lines, queue.take())


@pytest.mark.engine
def test_a_second_interrupt_does_not_wait_and_what_it_noted_is_resumed(
    own_broker: Any, queue_name: str, lines: Path
) -> None:
    queue = Queue(own_broker.url, queue_name).make()
    twice = (
        r"error: interrupted twice; all before line [\d,]+ is confirmed, perhaps more; --resume goes on from there\n"
    )
    with slow(queue.url) as network:
        flags = ["-u", network.url, "-q", queue.name, "--file", str(lines)]
        running = Publish(*flags)
        until(lambda: queue.ready() > 10_000)
        own_broker.alarm(True)
        assert running.said("is short of memory or disk")
        running.process.send_signal(signal.SIGINT)
        running.process.send_signal(signal.SIGTERM)
        code, err = running.end()
        assert (code, bool(re.fullmatch(twice, err))) == (130, True), err
        own_broker.alarm(False)
        network.bytes_per_s = 0
        assert publish(*flags, "--resume")[0] == 0
    every_line_arrived(lines, queue.take())


@pytest.mark.engine
def test_a_memory_alarm_is_said_and_waited_out(own_broker: Any, queue_name: str, lines: Path) -> None:
    queue = Queue(own_broker.url, queue_name).make()
    with slow(queue.url) as network:
        running = Publish("-u", network.url, "-q", queue.name, "--file", str(lines))
        until(lambda: queue.ready() > 10_000)
        own_broker.alarm(True)
        assert running.said("is short of memory or disk and takes nothing; waiting up to 300 s")
        own_broker.alarm(False)
        network.bytes_per_s = 0
        code, err = running.end()
    assert (code, "takes messages again" in err) == (0, True), err
    assert every_line_arrived(lines, queue.take()) == 0
