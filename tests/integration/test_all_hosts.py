"""Something done on three hosts at once, and one of them fails, hangs or dies."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from cluster.hosts.all_hosts import Outcome, on_all_hosts, values
from cluster.hosts.host import Host
from cluster.hosts.remote import Remote
from cluster.interrupts import Interrupted
from cluster.operations.agents import command as running
from cluster.settings import Settings
from scripts.errors import ClusterError, ServiceAway
from tests.conftest import own_settings
from tests.hosts.cluster import Hosts

pytestmark = pytest.mark.engine

AGENTS = [Host("agent1"), Host("agent2", "ops"), Host("agent3")]
NAMES = ["agent1", "ops@agent2", "agent3"]


@pytest.fixture(scope="module")
def settings(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    assert hosts.agents
    return hosts.settings(own_settings(tmp_path_factory.mktemp("together")), timeout_s=20)


@dataclass
class Said:
    """What a command told: results, and everything else."""

    results: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def act_on(settings: Settings, act: Any, said: list[str], timeout_s: float = 60, **options: Any) -> list[Outcome[Any]]:
    return on_all_hosts(settings, AGENTS, act, doing="test", timeout_s=timeout_s, say=said.append, **options)


def run(settings: Settings, line: str, *, hosts: Any = AGENTS, sudo: bool = False, timeout_s: float = 60,
        as_json: bool = False, dry_run: bool = False) -> Said:  # fmt: skip
    said = Said()
    try:
        running.run(
            settings, hosts, line, sudo=sudo, timeout_s=timeout_s, as_json=as_json, dry_run=dry_run,
            say=said.lines.append, result=said.results.append,
        )  # fmt: skip
    except ClusterError as error:
        said.lines.append(f"error: {error}")
    return said


def test_all_hosts_are_at_work_at_once(settings: Settings) -> None:
    all_are_there = threading.Barrier(3, timeout=60)

    def act(remote: Remote, show: Callable[[str], None]) -> str:
        all_are_there.wait()
        return remote.run("hostname").out.decode().strip()

    said: list[str] = []
    outcomes = act_on(settings, act, said, describe=str.upper)
    assert [str(outcome.host) for outcome in outcomes] == NAMES
    hostnames = values(outcomes, "test", said.append)
    assert sorted(said) == sorted(f"{host}: {name.upper()}" for host, name in zip(NAMES, hostnames, strict=True))


def test_one_that_fails_hides_no_other_and_stops_none(settings: Settings) -> None:
    def act(remote: Remote, show: Callable[[str], None]) -> bytes:
        if remote.name == "agent1":
            raise ClusterError("it has no luck")
        return remote.step("sleep", "sleep 0.3; echo slept")

    said: list[str] = []
    outcomes = act_on(settings, act, said)
    assert [outcome.value for outcome in outcomes] == [None, b"slept\n", b"slept\n"]
    with pytest.raises(ClusterError, match=r"^test: 1 of 3 hosts failed: agent1: mend that and run it again$"):
        values(outcomes, "test", said.append)
    assert said[0] == "agent1: failed"
    assert said[-1] == "agent1: it has no luck"


def test_one_that_hangs_is_cut_off(hosts: Hosts, settings: Settings) -> None:
    def act(remote: Remote, show: Callable[[str], None]) -> int:
        show("works")
        return remote.run("true" if remote.name != "agent3" else "sleep 90", timeout_s=100).code

    began = time.monotonic()
    outcomes = act_on(settings, act, [], timeout_s=8)
    assert time.monotonic() - began < 40
    assert [outcome.value for outcome in outcomes] == [0, 0, None]
    assert str(outcomes[2].error).startswith("agent3: not done within 8 s, cut off while it said: works; it may still")


def test_one_that_is_not_reached_is_cut_off(hosts: Hosts, settings: Settings) -> None:
    patient = replace(settings, agents=replace(settings.agents, timeout_s=60))
    with hosts.agents[2].paused():
        outcomes = act_on(patient, lambda remote, show: remote.run("true").code, [], timeout_s=8)
    assert [outcome.value for outcome in outcomes] == [0, 0, None]
    assert "cut off while it said: connects" in str(outcomes[2].error)


def test_one_that_dies_in_the_middle_is_named(hosts: Hosts, settings: Settings) -> None:
    def act(remote: Remote, show: Callable[[str], None]) -> int:
        if remote.name == "agent3":
            hosts.all[2].kill()
        return remote.run("sleep 0.2").code

    outcomes = act_on(settings, act, [])
    try:
        assert [outcome.value for outcome in outcomes] == [0, 0, None]
        assert isinstance(outcomes[2].error, ServiceAway)
        assert str(outcomes[2].error).startswith("agent3: the connection broke in the middle: is the host down?")
    finally:
        hosts.all[2].restart()


def test_a_bug_is_raised_when_the_others_are_done(settings: Settings) -> None:
    done: list[str] = []

    def act(remote: Remote, show: Callable[[str], None]) -> None:
        if remote.name == "agent1":
            raise ZeroDivisionError
        remote.run("sleep 0.3")
        done.append(remote.name)

    with pytest.raises(ZeroDivisionError):
        act_on(settings, act, [])
    assert sorted(done) == ["agent3", "ops@agent2"]


def test_an_interrupt_says_what_was_done(settings: Settings) -> None:
    all_have_begun = threading.Barrier(3, timeout=60)

    def act(remote: Remote, show: Callable[[str], None]) -> None:
        all_have_begun.wait()
        if remote.name == "agent1":
            return
        remote.run("sleep 60", timeout_s=100)

    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line == "agent1: done":
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    words = (
        "interrupted; done: agent1; cut off, where what was begun may go on until its time limit: ops@agent2, agent3"
    )
    with pytest.raises(Interrupted, match=f"^{words}$"):
        on_all_hosts(settings, AGENTS, act, doing="test", timeout_s=50, say=say)
    assert said == ["agent1: done"]


def test_a_command_runs_everywhere_with_the_host_before_each_line(settings: Settings) -> None:
    said = run(settings, "echo 'it''s' \"$(id -un)\"; echo oh >&2")
    assert sorted(said.results) == ["agent1: its root", "agent3: its root", "ops@agent2: its ops"]
    assert sorted(said.lines) == ["agent1: oh", "agent3: oh", "ops@agent2: oh"]


def test_a_command_runs_as_root(settings: Settings) -> None:
    assert run(settings, "id -un", sudo=True, hosts=AGENTS[1:2]).results == ["ops@agent2: root"]


def test_a_command_that_fails_somewhere_is_told_at_the_end(settings: Settings) -> None:
    said = run(settings, '[ "$(id -un)" = ops ] || { echo bad >&2; exit 7; }', hosts=[*AGENTS, Host("agent1", port=9)])
    *_, first, second, third, last = said.lines
    assert (first, second) == ("agent1: exit code 7", "agent3: exit code 7")
    assert third.startswith("agent1:9: connection refused at ")
    assert last.startswith("error: run the command: 3 of 4 hosts failed: agent1, agent3, agent1:9: ")


def test_a_command_that_takes_too_long_is_ended_over_there(hosts: Hosts, settings: Settings) -> None:
    said = run(settings, "echo begins; sleep 4321", timeout_s=3, hosts=AGENTS[:1])
    assert said.results == ["agent1: begins"]
    assert said.lines[0] == "agent1: ended by the time limit of 3 s (exit code 124)"
    assert hosts.agent.run("pgrep -fx 'sleep 4321'; true") == ""


def test_a_command_that_a_signal_ends_is_told(settings: Settings) -> None:
    assert run(settings, "kill -9 $PPID", hosts=AGENTS[:1]).lines[0] == "agent1: a signal ended it"


def test_what_a_command_said_as_json(settings: Settings) -> None:
    said = run(settings, "echo out; echo err >&2; exit 3", as_json=True, hosts=[AGENTS[1], Host("agent1", port=9)])
    one, other = json.loads("\n".join(said.results))
    assert one == {"host": "ops@agent2", "exit": 3, "stdout": "out\n", "stderr": "err\n", "error": ""}
    assert (other["exit"], other["error"][:29]) == (None, "agent1:9: connection refused ")


def test_a_dry_run_reaches_no_host(settings: Settings) -> None:
    said = run(settings, "reboot", dry_run=True, sudo=True, hosts=[Host("no-such.invalid")])
    assert said == Said([], ["no-such.invalid: would run as root: reboot"])


def test_a_command_is_needed(settings: Settings) -> None:
    assert run(settings, " ").lines == ["error: no command: give --command '...', for /bin/sh on each host"]
