"""Lines of workers' logs: whose they are, and whether they are about something that went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.operations import worker_logs
from cluster.schedulers import Wanted, every_line
from scripts.action.jobs import Outcome
from scripts.action.output import tag_of
from scripts.worker.verdicts import FIRST_SUCCESS, Decision, Policy, attempt_line
from tests.refusing import refusal

FAILED = "cluster_worker: " + attempt_line("ab-1", Outcome("failed", "exit 1"), 3, Policy(), Decision("fail"))
LOG = [
    "cluster_worker: consuming from 'q' at amqp://127.0.0.1",
    tag_of("ab-1").decode() + "printed",
    tag_of("ab-10").decode() + "cluster_worker: ab-1: by another",
    f"cluster_worker: {FIRST_SUCCESS}",
    "of no message",
    FAILED,
    "cluster_worker: SIGTERM: stopping",
]


def chosen(log: list[str] = LOG, tail: int = 100, follow: bool = False, **which: Any) -> list[str]:
    """The lines of one instance, which an engine would have named."""

    def logs(_app: str, tail: int, _follow: bool, wanted: Wanted = every_line) -> Iterator[str]:
        yield from list(filter(wanted, log))[-tail:]

    engine = SimpleNamespace(logs=logs, place="here")
    return list(worker_logs.chosen(SimpleNamespace(engine=engine, app_id="/w"), tail, follow, **which))  # type: ignore[arg-type]


def test_a_message_has_what_its_action_printed_and_what_the_worker_says_of_it() -> None:
    assert chosen(message_id="ab-1") == [LOG[1], FAILED]
    assert chosen(message_id="ab-1", tail=1) == [FAILED]
    assert chosen(message_id="ab-10") == [LOG[2]]


def test_the_beginning_of_an_id_is_enough_where_there_is_one_such() -> None:
    assert chosen(LOG[:2], message_id="a") == [LOG[1]]
    text = refusal(chosen, message_id="ab")
    assert "ab-1, ab-10" in text


def test_a_message_that_nobody_has_met_is_an_error_unless_it_is_waited_for() -> None:
    assert "--id zz" in refusal(chosen, message_id="zz")
    assert chosen(message_id="zz", follow=True) == []


def test_an_id_is_compared_as_it_is_printed() -> None:
    strange = "a\x1bb"
    assert chosen([tag_of(strange).decode() + "x", *LOG], message_id=strange) == [tag_of(strange).decode() + "x"]


def test_errors_are_what_workers_say_of_failures() -> None:
    assert chosen(errors=True) == [FAILED]
    assert chosen(errors=True, message_id="ab-10") == []
    blocked = "cluster_worker: the broker takes no more for 'q' (queue full?): waiting until it does"
    assert chosen([*LOG, blocked], errors=True) == [FAILED, blocked]


@pytest.mark.parametrize("which", [{}, {"errors": False, "message_id": ""}])
def test_without_a_choice_all_is_printed(which: dict[str, Any]) -> None:
    assert chosen(**which) == LOG
