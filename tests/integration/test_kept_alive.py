"""Kept-alive actions in the real worker at a real broker."""

import json
import signal

import pytest

from tests.integration.worker_rig import ROOT, Rig
from tests.processes import runs
from tests.waiting import until

pytestmark = pytest.mark.broker

EXAMPLES = ROOT / "components/worker/scripts"

HEAD = """
import os, signal, sys, time
verdicts = os.fdopen(3, "w", buffering=1)
"""
READY = """
verdicts.write("ready 1\\n")
"""


def action(rig: Rig, each: str, before: str = "", after: str = "") -> str:
    """A kept-alive program that does this with each `body`, a line."""
    loop = "for body in sys.stdin:\n" + "\n".join(f"    {line}" for line in each.splitlines()) + "\n"
    return rig.python_action(HEAD + before + READY + loop + after)


def test_each_verdict_does_what_the_exit_code_of_a_process_would(rig: Rig) -> None:
    seen = rig.tmp / "seen"
    program = action(rig, f"print(body, end='', file=open({str(seen)!r}, 'a'), flush=True)\nverdicts.write(body)")
    worker = rig.worker("--keep-alive", "--attempts", "2", "--backoff", "0", program)
    rig.publish(b"ok", b"reject not a date", b"retry 0 try later\n")
    rejected, retried = sorted(rig.take_failed(2), key=lambda message: message.body)
    assert rejected.body == b"reject not a date"
    assert rejected.headers["x-cluster-reason"] == "not a date"
    assert rejected.headers["x-cluster-attempt"] == 1
    assert "x-cluster-exit" not in rejected.headers
    assert retried.body == b"retry 0 try later\n"
    assert retried.headers["x-cluster-reason"] == "try later"
    assert retried.headers["x-cluster-attempt"] == 2
    assert worker.stop() == 0
    assert rig.ready() == 0
    assert sorted(seen.read_text().splitlines()) == ["ok", "reject not a date", *["retry 0 try later"] * 2]


def test_a_program_says_how_long_to_wait(rig: Rig) -> None:
    times = rig.tmp / "times"
    each = f"print(time.time(), file=open({str(times)!r}, 'a'), flush=True)\nverdicts.write('retry 4\\n')"
    worker = rig.worker("--keep-alive", "--attempts", "2", action(rig, each))
    rig.publish(b"x")
    worker.says("attempt 1 of 2; again in 4 s")
    rig.take_failed()
    first, second = map(float, times.read_text().split())
    assert second - first >= 4


def test_nothing_is_taken_before_a_program_is_ready(rig: Rig) -> None:
    rig.declare()
    rig.publish(b"ok")
    go = rig.tmp / "go"
    waiting = f"while not os.path.exists({str(go)!r}): time.sleep(0.01)"
    health = rig.tmp / "alive"
    each = "print('at work', flush=True)\nverdicts.write('ok\\n')"
    worker = rig.worker(
        "--keep-alive", action(rig, each, f"print('loading', flush=True)\n{waiting}"),
        consuming=False, CLUSTER_WORKER_ALIVE_FILE=str(health),
    )  # fmt: skip
    until(lambda: worker.out == b"loading\n", "the program loads")
    assert "consuming" not in worker.log
    assert not health.exists()
    assert rig.ready() == 1
    go.touch()
    worker.says("consuming from")
    until(lambda: worker.out == b"loading\nat work\n", "the message is worked on")
    assert worker.stop() == 0
    assert rig.ready() == 0


def test_every_message_is_worked_on_once(rig: Rig) -> None:
    seen = rig.tmp / "seen"
    each = "os.write(out, body.encode())\nverdicts.write('ok\\n')"
    program = action(rig, each, f"out = os.open({str(seen)!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)")
    rig.worker("--keep-alive", "-j", "2", "--prefetch", "20", "--recycle-after", "40", program)
    rig.publish(*[b"%d" % number for number in range(300)])
    until(lambda: seen.exists() and seen.read_text().count("\n") == 300, "all is done")
    assert sorted(map(int, seen.read_text().split())) == list(range(300))
    assert rig.ready(rig.failed) == 0


@pytest.mark.parametrize(
    ("each", "reason"),
    [
        ("os._exit(4)", "the action ended without a verdict: exit 4"),
        ("print('x', file=sys.stderr); verdicts.write('what?\\n')", "not a verdict on file descriptor 3: 'what?'"),
        ("time.sleep(1000)", "over the time limit of 0.5 s"),
    ],
)
def test_a_fault_is_an_attempt(rig: Rig, each: str, reason: str) -> None:
    limit = ("--timeout", "0.5") if "time limit" in reason else ()
    worker = rig.worker("--keep-alive", "--attempts", "2", "--backoff", "0", *limit, action(rig, each))
    rig.publish(b"x")
    (message,) = rig.take_failed()
    assert message.headers["x-cluster-reason"] == reason
    assert message.headers["x-cluster-attempt"] == 2
    assert worker.process.poll() is None
    assert worker.stop() == 0


def test_a_netstring_carries_any_bytes_and_what_is_known_of_the_message(rig: Rig) -> None:
    got = rig.tmp / "got"
    program = rig.python_action(
        f"import os, runpy, sys\nnetstring = runpy.run_path({str(EXAMPLES / 'keepalive.py')!r})['netstring']"
        + READY.replace("verdicts.write(", "os.write(3, b")
        + "while (metadata := netstring(sys.stdin.buffer)) is not None:\n"
        + f"    open({str(got)!r}, 'wb').write(metadata + b'|' + netstring(sys.stdin.buffer))\n"
        + "    os.write(3, b'ok\\n')\n"
    )
    worker = rig.worker("--keep-alive", "--framing", "netstring", program)
    body = bytes(range(256)) * 1000
    rig.publish(body, content_type="image/png", headers={"color": "grün", "n": 5})
    until(got.exists, "the message is worked on")
    assert worker.stop() == 0
    metadata, _, arrived = got.read_bytes().partition(b"|")
    assert arrived == body
    documented = (ROOT / "docs/keep-alive.md").read_text()
    assert [name for name in json.loads(metadata) if f"`{name}`" not in documented] == []
    assert json.loads(metadata) == {
        "queue": rig.queue, "message_id": "m0", "item": None, "attempt": 1, "redelivered": False,
        "routing_key": rig.queue,
        "content_type": "image/png", "content_encoding": None, "delivery_mode": 2, "priority": None,
        "correlation_id": None, "reply_to": None, "expiration": None, "timestamp": None, "type": None, "user_id": None,
        "app_id": None, "headers": {"color": "grün", "n": 5},
    }  # fmt: skip


def test_a_program_that_does_not_get_ready_eats_nothing(rig: Rig) -> None:
    rig.declare()
    rig.publish(b"x")
    worker = rig.worker("--keep-alive", rig.action("echo 'no licence' >&2; exit 1"), consuming=False)
    assert worker.exit_code() == 1
    assert "the action came to nothing 3 times in a row: exit 1" in worker.log
    assert "no licence" in worker.log
    assert rig.ready() == 1


def test_a_program_that_vanishes_stops_the_worker_and_its_message_goes_back(rig: Rig) -> None:
    program = action(rig, "verdicts.write('ok\\n')\nos.rename(sys.argv[0], sys.argv[0] + '.gone'); break")
    worker = rig.worker("--keep-alive", "--prefetch", "5", program)
    rig.publish(b"1", b"2")
    assert worker.exit_code() == 1
    assert "cannot be started: No such file or directory" in worker.log
    until(lambda: rig.ready() == 1, "the message that was not worked on is back")
    (message,) = rig.take()
    assert message.body == b"2"
    assert "x-cluster-attempt" not in message.headers


def test_a_stop_lets_the_message_in_hand_and_the_program_finish(rig: Rig) -> None:
    go = rig.tmp / "go"
    wait = f"while not os.path.exists({str(go)!r}): time.sleep(0.01)"
    each = f"print('at work', flush=True)\n{wait}\nverdicts.write('ok\\n')"
    worker = rig.worker("--keep-alive", action(rig, each, after="print('tidied up')\n"))
    rig.publish(b"x", b"y")
    until(lambda: worker.out == b"at work\n", "the program works")
    worker.signal(signal.SIGTERM)
    worker.says("stopping when the 1 running actions are done")
    go.touch()
    assert worker.exit_code() == 0
    assert worker.out == b"at work\ntidied up\n"
    (message,) = rig.take()
    assert message.body == b"y"
    assert rig.ready() == 0


def test_a_second_stop_gives_the_message_back_uncounted(rig: Rig) -> None:
    each = "print(os.getpid(), flush=True)\ntime.sleep(1000)"
    worker = rig.worker("--keep-alive", "--kill-after", "0.5", action(rig, each))
    rig.publish(b"x")
    until(lambda: worker.out, "the program works")
    worker.signal(signal.SIGTERM)
    worker.says("SIGTERM: stopping")
    assert worker.insist() == 0
    assert not runs(int(worker.out))
    (message,) = rig.take()
    assert "x-cluster-attempt" not in message.headers


def test_no_program_outlives_a_worker_that_was_killed(rig: Rig) -> None:
    worker = rig.worker("--keep-alive", "-j", "2", action(rig, "pass", before="print(os.getpid(), flush=True)"))
    until(lambda: worker.out.count(b"\n") == 2, "both programs run")
    worker.kill()
    for pid in map(int, worker.out.split()):
        until(lambda pid=pid: not runs(pid), "the program has seen the end of its STDIN")


def test_output_carries_the_id_of_its_message(rig: Rig) -> None:
    each = "print('got', body, end='', flush=True)\nverdicts.write('ok\\n')"
    worker = rig.worker("--keep-alive", "--tag", action(rig, each, before="print('loaded', flush=True)"))
    rig.publish(b"one", b"two")
    until(lambda: worker.out == b"loaded\nm0\tgot one\nm1\tgot two\n", "the tagged lines")


def test_descriptors_stay_their_own(rig: Rig) -> None:
    program = rig.action("echo 'ready 1' >&3; ls /proc/self/fd; read -r _; echo ok >&3; cat")
    worker = rig.worker("--keep-alive", "-j", "2", program)
    # 4 is the folder that `ls` reads.
    until(lambda: sorted(worker.out.split()) == sorted([b"0", b"1", b"2", b"3", b"4"] * 2), "five descriptors each")
