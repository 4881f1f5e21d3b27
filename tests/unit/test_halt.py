"""The end of a run that is given up early."""

from __future__ import annotations

import pytest

from cluster.queue.runs.halt import Halt
from cluster.queue.runs.record import Record
from tests.refusing import refusal


def failures_until_halt(halt: Halt, *, has_succeeded: bool, code: int = 1, hosts: int = 1) -> int | None:
    for count in range(1, 100):
        one = Record(count, count - 1, b"", reason=f"exit {code}", exit=code, host=f"host{min(count, hosts)}")
        if halt.failed(one, has_succeeded):
            return count
    return None


@pytest.mark.parametrize(("text", "total", "count"), [("3", 1000, 3), ("5%", 200, 10), ("0.1%", 10, 1)])
def test_so_many_failures_halt_it(text: str, total: int, count: int) -> None:
    assert failures_until_halt(Halt.read(text, total), has_succeeded=True) == count


@pytest.mark.parametrize(
    ("text", "has_succeeded", "code", "count"),
    [("", False, 1, 10), ("", True, 1, None), ("100%", False, 1, None), ("", False, 127, 1), ("", False, 126, 1),
     ("", True, 127, None)],
)  # fmt: skip
def test_an_action_that_cannot_work_halts_it(text: str, has_succeeded: bool, code: int, count: int | None) -> None:
    halt = Halt.read(text, 1000, is_one_host=True)
    assert failures_until_halt(halt, has_succeeded=has_succeeded, code=code) == count


@pytest.mark.parametrize(("hosts", "count"), [(1, 10), (2, 2)])
def test_one_host_of_many_that_cannot_start_the_action_halts_nothing_at_once(hosts: int, count: int) -> None:
    assert failures_until_halt(Halt.read("", 1000), has_succeeded=False, code=127, hosts=hosts) == count


@pytest.mark.parametrize("text", ["0", "-1", "x", "5.5", "101%", "%", "1e3", "0%"])
def test_what_is_no_number_or_share_is_refused(text: str) -> None:
    assert repr(text) in refusal(Halt.read, text, 10)


@pytest.mark.parametrize(("text", "goes_on"), [("", False), ("50", False), ("5%", False), ("100%", True)])
def test_workers_that_all_rest_halt_it_unless_nothing_is_to(text: str, goes_on: bool) -> None:
    assert (Halt.read(text, 1000).resting("exit 1") == "") == goes_on
