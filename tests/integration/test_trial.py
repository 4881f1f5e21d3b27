"""`inv worker.try` on a real broker: what comes of one message, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster.apps.component_apps import Work
from cluster.apps.flags import AppOverrides
from cluster.operations import trial
from cluster.operations.trial import Flags, Tried
from cluster.queue.publishing.items import Split
from cluster.queue.publishing.sources import text_file
from cluster.schedulers.process.scheduler import RUN
from cluster.settings import ROOT, Settings
from scripts.errors import MessagesFailed
from tests.conftest import Broker, missing
from tests.integration.worker_rig import Rig
from tests.refusing import refusal
from tests.waiting import until

pytestmark = pytest.mark.broker

Try = Callable[..., Tried]


@pytest.fixture
def settings(broker: Broker) -> Settings:
    """The queue is there; workers are plain processes."""
    return replace(broker.settings, scheduler="process")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def left(settings: Settings, rig: Rig) -> Callable[[], list[str]]:
    """Name the queues and the files of trials that are there."""

    def look() -> list[str]:
        queues = [queue["name"] for queue in rig.api("GET", "queues") if queue["name"].startswith("try-")]
        return queues + [str(path) for path in (RUN / settings.project).glob("*try-*")]

    return look


@pytest.fixture
def attempt(settings: Settings, said: list[str], left: Callable[[], list[str]]) -> Iterator[Try]:
    """Tries a message; in the end nothing of any trial is there."""

    def make(
        action: str, body: str | None = "x", *, file: str = "", line: int = 0, colsep: str = "", **work: Any
    ) -> Tried:  # fmt: skip
        flags = Flags(None if file else body, file, line, colsep)
        return trial.run(settings, flags, Work.of(settings, action=action, jobs=1, **work), AppOverrides(), said.append)

    yield make
    until(lambda: not left(), "nothing is left")


@pytest.mark.parametrize("body", ["one two", "one two\n", "\r\n", "\u00fc"])
def test_the_action_gets_the_bytes_of_the_body_and_its_stdout_comes_back(attempt: Try, body: str) -> None:
    tried = attempt("cat", body)
    tried.check()
    assert tried.result == body.encode()
    assert tried.summary().startswith("exit code 0 ")


def test_a_line_of_a_file_is_the_message_that_publish_would_send(attempt: Try, tmp_path: Path) -> None:
    file = tmp_path / "items"
    file.write_bytes(b"".join(b"line %d\r\n" % number for number in range(1, 21)))
    show = """sh -c 'cat; printf " %s %s" $AMQP_ITEM $AMQP_MESSAGE_ID'"""
    source = text_file(str(file), Split())
    expected = f"line 17\r 17 {source.prefix}-{file.read_bytes().index(b'line 17')}"
    assert attempt(show, file=str(file), line=17).result.decode() == expected
    assert attempt("cat", file=str(file)).result == b"line 1\r"
    assert "20" in refusal(attempt, "cat", file=str(file), line=21)


@pytest.mark.parametrize(
    ("action", "work", "exit_code", "then"),
    [
        ("sh -c 'exit 3'", {}, 3, "again in 1 s, 3 times"),
        ("sh -c 'exit 3'", {"rest": "--backoff 4", "attempts": 7}, 3, "again in 4 s, 7 times"),
        ("sh -c 'exit 3'", {"attempts": 1}, 3, "'myqueue.failed' at once"),
        ("sh -c 'exit 65'", {}, 65, "'myqueue.failed' at once"),
        ("sh -c 'kill -9 $$'", {}, 137, "again in 1 s, 3 times"),
        ("sleep 1000", {"timeout_s": 0.2}, 143, "again in 1 s, 3 times"),
    ],
)
def test_of_an_action_that_fails_is_said_what_would_become_of_the_message(
    attempt: Try, action: str, work: dict[str, Any], exit_code: int, then: str
) -> None:
    tried = attempt(action, **work)
    assert tried.answer.record.exit == exit_code
    with pytest.raises(MessagesFailed, match=then):
        tried.check()


def test_all_of_stderr_is_passed_on(attempt: Try, said: list[str]) -> None:
    attempt("sh -c 'seq 3000 >&2'").check()
    assert said == [str(number) for number in range(1, 3001)]


def test_an_action_that_cannot_be_started_is_an_error(attempt: Try, tmp_path: Path) -> None:
    assert "no-such-program" in refusal(attempt, "no-such-program")
    file = tmp_path / "action"
    file.write_text("#!/no/such/interpreter\n")
    file.chmod(0o755)
    assert "/no/such/interpreter" in refusal(attempt, str(file))
    assert "cannot be kept alive" in refusal(attempt, "cat", keep_alive=True)


TAKES_MEMORY = "x = bytearray(150 << 20); del x"
KEPT = """
import sys
print("loading", file=sys.stderr, flush=True)
verdicts = open(3, "w", buffering=1)
verdicts.write("ready 1\\n")
for line in sys.stdin:
    x = bytearray(150 << 20)
    print("got", line.strip(), flush=True)
    verdicts.write({"done": "ok\\n", "again": "retry 7 later\\n"}.get(line.strip(), "reject never\\n"))
"""


def test_the_memory_of_an_action_is_told(attempt: Try, rig: Rig) -> None:
    small, large = attempt("true"), attempt(rig.python_action(TAKES_MEMORY))
    assert float(small.answer.peak_mib) < 100 < 150 < float(large.answer.peak_mib) < 250


@pytest.mark.parametrize(("body", "then"), [("again", "again in 8 s"), ("never", "at once")])
def test_a_kept_alive_action_is_tried_as_it_is(attempt: Try, rig: Rig, said: list[str], body: str, then: str) -> None:
    action = rig.python_action(KEPT)
    tried = attempt(action, "done", keep_alive=True)
    tried.check()
    assert (tried.result, said) == (b"got done\n", ["loading"])
    assert 150 < float(tried.answer.peak_mib) < 250
    failed = attempt(action, body, keep_alive=True)
    with pytest.raises(MessagesFailed, match=then):
        failed.check()


def test_an_action_with_placeholders_gets_the_item_of_a_run(attempt: Try, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_bytes(b"alpha,n\r\n0.1,10\r\n0.2,20\r\n")
    echo = "echo {alpha} {n} {#} {}"
    assert attempt(echo, file=str(table)).result == b"0.1 10 2 0.1,10\n"
    assert attempt(echo, file=str(table), line=3).result == b"0.2 20 3 0.2,20\n"
    assert "2 to 3" in refusal(attempt, echo, file=str(table), line=1)
    assert "{alpha}" in refusal(attempt, "echo {alpha} {}", "x")
    failed = attempt("sh -c 'exit 3' sh {2}", file=str(table), line=2)
    with pytest.raises(MessagesFailed, match="3 times in all, and then have failed"):
        failed.check()
    assert attempt("awk '{print}'", "no placeholder").result == b"no placeholder\n"


@pytest.mark.parametrize("flags", [Flags(), Flags("x", "file"), Flags("x", line=3)])
def test_one_message_must_be_named(settings: Settings, flags: Flags) -> None:
    assert "--file" in refusal(trial.run, settings, flags, Work.of(settings, action="cat"), AppOverrides(), print)


def test_elsewhere_than_here_is_refused(settings: Settings) -> None:
    work = Work.of(settings, action="cat")
    flags = Flags("x", marathon="10.0.0.1:8080")
    assert "10.0.0.1:8080" in refusal(trial.run, settings, flags, work, AppOverrides(), print)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Trying:
    """`inv worker.try` as a process."""

    def __init__(self, settings: Settings, *words: str) -> None:
        queue, env = settings.queue, {"PROJECT": settings.project, "SCHEDULER": settings.scheduler}
        env |= {"REGISTRY": settings.registry, "WORKER_TMP": settings.worker.tmp}
        env |= {"QUEUE_PORT": str(queue.port), "QUEUE_MANAGEMENT_PORT": str(queue.management_port)}
        self.process = subprocess.Popen(
            [sys.executable, "tasks.py", "worker.try", *words], cwd=ROOT, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=os.environ | {f"INVOKE_{name}": value for name, value in env.items()},
        )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_action_and_worker_and_leaves_nothing(
    settings: Settings, rig: Rig, left: Callable[[], list[str]], number: int
) -> None:
    action = rig.action(f"echo $$ >{rig.tmp}/pid; {rig.gate.wait}")
    trying = Trying(settings, "--body", "x", "--action", action)
    rig.gate.started()
    trying.process.send_signal(number)
    _, err = trying.process.communicate(timeout=60)
    assert trying.process.returncode == 128 + number
    assert err.decode().endswith("error: interrupted\n")
    until(lambda: not left(), "nothing is left")
    assert not _runs(int((rig.tmp / "pid").read_text()))


def test_stdout_is_the_actions_byte_for_byte(settings: Settings) -> None:
    trying = Trying(settings, "--body", "x", "--action", r"printf '\200\000 1'")
    out, err = trying.process.communicate(timeout=60)
    assert (trying.process.returncode, out) == (0, b"\200\0 1"), err


def test_a_trial_that_was_killed_ends_by_itself(
    settings: Settings, rig: Rig, left: Callable[[], list[str]], attempt: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    trying = Trying(settings, "--body", "x", "--action", rig.action(rig.gate.wait))
    rig.gate.started()
    trying.process.kill()
    trying.process.communicate()
    rig.gate.open()
    worker = next((RUN / settings.project).glob("worker-try-*/0"))
    until((worker / "exit").exists, "its worker ends")
    monkeypatch.setattr("cluster.schedulers.one_machine._LEFT_S", 0)
    attempt("true").check()
    assert not worker.parent.exists()
    with rig.channel() as channel:  # which the broker does two minutes later
        for name in left():
            channel.queue_delete(name)


@pytest.fixture
def in_containers(broker: Broker, docker_client: Any) -> Iterator[Settings]:
    """Settings under which workers run in containers, of an image that is built then; no container is left."""
    if broker.scheduler.name != "local":
        missing("the broker does not run in a container")
    Path(broker.settings.worker.tmp).chmod(0o1777)
    settings = broker.settings
    ours = {"label": f"cluster.project={settings.project}"}
    before = {one.id for one in docker_client.containers.list(all=True, filters=ours)}
    yield settings
    assert {one.id for one in docker_client.containers.list(all=True, filters=ours)} == before
    docker_client.images.remove(f"{settings.registry}/{settings.worker.tag}", force=True)


@pytest.mark.engine
def test_it_runs_in_the_image(in_containers: Settings, said: list[str], left: Callable[[], list[str]]) -> None:
    work = Work.of(in_containers, action="sh -c 'cat; command -v cluster_worker >&2; exit 3'", jobs=1)
    tried = trial.run(in_containers, Flags("x\n"), work, AppOverrides(mem_mib=256), said.append)
    assert (tried.result, tried.answer.record.exit) == (b"x\n", 3)
    assert said[-1] == "/usr/local/bin/cluster_worker"
    kept = Work.of(in_containers, action="keepalive.sh", jobs=1, keep_alive=True)
    assert trial.run(in_containers, Flags("one two"), kept, AppOverrides(), said.append).result == b"2\n"
    absent = Work.of(in_containers, action="no-such-program", jobs=1)
    why = refusal(trial.run, in_containers, Flags("x"), absent, AppOverrides(), said.append)
    assert "no-such-program" in why
    assert "./inv worker.build" in why
    trying = Trying(in_containers, "--body", "x", "--action", "sh -c 'touch /tmp/started; sleep 1000'")
    until((Path(in_containers.worker.tmp) / "started").exists, "the action runs")
    trying.process.send_signal(signal.SIGINT)
    _, err = trying.process.communicate(timeout=60)
    assert trying.process.returncode == 128 + signal.SIGINT, err
    until(lambda: not left(), "nothing is left")
