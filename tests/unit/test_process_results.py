"""The STDOUT of a process as its result, and the placeholders of its words; with real processes."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.action.jobs import Job, Outcome, RunLimits
from scripts.action.processes import Processes
from scripts.action.result import over_limit
from scripts.event_loop import EventLoop

_DEADLINE_S = 20
_LIMIT = 1 << 20

Run = Callable[..., Outcome]


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs a command for one message and returns its outcome."""
    loop = EventLoop()

    def once(
        *argv: str, body: bytes = b"", limit: int | None = _LIMIT, values: Mapping[str, bytes] | None = None,
        timeout_s: float | None = None, kill_after_s: float = 0.2, kill_in_s: float | None = None,
    ) -> Outcome:  # fmt: skip
        outcomes: list[Outcome] = []
        processes = Processes(loop, argv, {"PATH": os.environ["PATH"]}, 1, RunLimits(timeout_s, kill_after_s))
        processes.open(lambda: None, lambda _: None)

        def done(outcome: Outcome) -> None:
            outcomes.append(outcome)
            loop.stop()

        timer = loop.call_later(_DEADLINE_S, loop.stop)
        processes.start(Job("id", body, dict, dict, limit, values), done)
        if kill_in_s is not None:
            loop.call_later(kill_in_s, processes.kill)
        loop.run()
        loop.remove_timeout(timer)
        [outcome] = outcomes
        assert processes.free() == 1
        return outcome

    yield once
    loop.close()


def _sh(text: str) -> list[str]:
    return ["/bin/sh", "-c", text]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.binary())
def test_a_result_is_what_was_printed_byte_for_byte(run: Run, body: bytes) -> None:
    outcome = run("/bin/cat", body=body)
    assert (outcome.verdict, outcome.result, outcome.received) == ("done", body, len(body))


def test_a_result_that_no_pipe_holds_comes_whole(run: Run) -> None:
    body = os.urandom(_LIMIT)
    outcome = run("/bin/cat", body=body)
    assert (outcome.verdict, outcome.result, outcome.received) == ("done", body, len(body))


def test_a_result_is_not_printed_and_other_output_is(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = run(*_sh("echo one; echo two >&2"))
    assert (outcome.result, outcome.stderr) == (b"one\n", b"two\n")
    assert capfd.readouterr() == ("", "two\n")
    outcome = run(*_sh("echo one; echo two >&2"), limit=None)
    assert (outcome.result, outcome.stderr, outcome.received) == (b"", b"two\n", 4)
    assert capfd.readouterr() == ("one\n", "two\n")


def test_a_failed_attempt_has_what_it_printed_so_far(run: Run) -> None:
    assert [(run(*_sh(f"printf some; exit {code}")).verdict, code) for code in (1, 65)] == [
        ("failed", 1), ("rejected", 65),
    ]  # fmt: skip
    assert run(*_sh("printf some; exit 1")).result == b"some"
    late = run(*_sh("printf some; exec sleep 60"), timeout_s=0.2)
    assert (late.verdict, late.result) == ("failed", b"some")
    killed = run(*_sh("printf some; exec sleep 60"), kill_in_s=0.2)
    assert (killed.verdict, killed.result) == ("killed", b"some")


@pytest.mark.parametrize("limit", [0, 5, 100_000])
def test_a_limit_is_the_largest_result(run: Run, limit: int) -> None:
    at = run("/bin/cat", body=bytes(limit), limit=limit)
    assert (at.verdict, len(at.result)) == ("done", limit)
    over = run("/bin/cat", body=bytes(limit + 1), limit=limit)
    assert (over.verdict, over.reason, over.result) == ("rejected", over_limit(limit), b"")
    assert over.received == limit + 1


def test_what_prints_for_ever_ends_at_the_limit(run: Run) -> None:
    began = time.monotonic()
    outcome = run("/usr/bin/yes", kill_after_s=60)
    assert (outcome.verdict, outcome.reason) == ("rejected", over_limit(_LIMIT))
    assert outcome.result == b""
    assert outcome.received > _LIMIT
    assert time.monotonic() - began < 10


def test_what_prints_for_ever_and_ignores_term_is_killed(run: Run) -> None:
    outcome = run(*_sh("trap '' TERM; yes & wait; while :; do sleep 1; done"))
    assert (outcome.verdict, outcome.reason) == ("rejected", over_limit(_LIMIT))
    assert outcome.signal == 9


def test_a_limit_is_named_in_its_unit() -> None:
    assert [over_limit(limit).split(" of ")[1].split(" (")[0] for limit in (0, 1, 1000, 4096, 3 << 20, 1 << 30)] == [
        "0 bytes", "1 bytes", "1000 bytes", "4 KiB", "3 MiB", "1 GiB",
    ]  # fmt: skip


_WORDS = "import json, os, sys; json.dump([list(os.fsencode(word)) for word in sys.argv[1:]], sys.stdout)"
_no_nul = st.binary().map(lambda value: value.replace(b"\0", b""))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=10)
@given(_no_nul, _no_nul)
def test_any_values_fill_the_words_of_an_action(run: Run, line: bytes, alpha: bytes) -> None:
    words = ["{}", "--alpha={alpha}", "{#}", "{other}"]
    values = {"": line, "alpha": alpha, "#": b"7"}
    outcome = run(sys.executable, "-I", "-S", "-c", _WORDS, *words, values=values)
    assert [bytes(word) for word in json.loads(outcome.result)] == [line, b"--alpha=" + alpha, b"7", b"{other}"]


def test_words_stay_as_they_are_for_other_messages(run: Run) -> None:
    assert run("/bin/echo", "{}", body=b"x").result == b"{}\n"


def test_a_value_that_no_argument_can_have_is_rejected_by_name(run: Run) -> None:
    values = {"": b"a\0b", "alpha": b"\0"}
    outcome = run("/bin/echo", "{alpha}", values=values)
    assert outcome.verdict == "rejected"
    assert "{alpha}" in outcome.reason
    assert run("/bin/echo", "{beta}", values=values).verdict == "done"


def test_a_value_that_is_too_long_for_an_argument_fails_its_message_alone(run: Run) -> None:
    assert run("/bin/echo", "{}", values={"": b"x" * 200_000}).verdict == "failed"
