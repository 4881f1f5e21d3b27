from __future__ import annotations

import pytest

from scripts.action.jobs import RunLimits
from scripts.errors import WrongUsage
from scripts.worker.options import parse
from scripts.worker.verdicts import Policy
from tests.refusing import refusal


def test_the_defaults() -> None:
    options = parse(["-q", "myqueue", "cat"])
    assert (options.url, options.marathon, options.queue) == ("amqp://127.0.0.1:5672", None, "myqueue")
    assert (options.jobs, options.prefetch, options.breaker, options.tag) == (1, None, 10, False)
    assert options.policy == Policy(attempts=3, backoff_s=1, backoff_max_s=64)
    assert options.limits == RunLimits(timeout_s=None, kill_after_s=10)
    assert options.drain_s is None
    assert (options.results, options.result_limit) == (None, 8 * 1024**2)
    assert options.command == ("cat",)


def test_a_prefetch_that_is_given_is_known_from_none() -> None:
    assert parse(["-q", "q", "-j", "7", "--prefetch", "7", "cat"]).prefetch == 7


@pytest.mark.parametrize(
    ("size", "limit"), [("1", 1), ("65536", 65536), ("64K", 65536), ("2m", 2 * 1024**2), ("1G", 1024**3)]
)
def test_a_result_s_limit(size: str, limit: int) -> None:
    options = parse(["-q", "q", "--results", "r", "--result-limit", size, "cat"])
    assert (options.results, options.result_limit) == ("r", limit)


@pytest.mark.parametrize("words", [["cat", "-j", "5", "--tag"], ["--", "cat", "-j", "5", "--tag"]])
def test_what_follows_the_command_is_its_own(words: list[str]) -> None:
    options = parse(["-q", "q", *words])
    assert options.command == ("cat", "-j", "5", "--tag")
    assert (options.jobs, options.tag) == (1, False)


def test_marathon() -> None:
    options = parse(["-m", "a:8080,b:8080", "-a", "amqp", "-q", "q", "cat"])
    assert (options.marathon, options.app, options.url) == ("a:8080,b:8080", "amqp", None)


NUMBERS = ["-j", "--prefetch", "--timeout", "--kill-after", "--drain", "--attempts", "--backoff", "--backoff-max",
           "--breaker", "--idle", "--recycle-after", "--ready-timeout"]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["cat"], "-q"),
        (["-q", "q"], "COMMAND"),
        (["-q", "q", "--"], "COMMAND"),
        (["-q", "q", ""], "COMMAND"),
        (["-q", "", "cat"], "-q: "),
        (["-q", "q", "-m", "h:1", "cat"], "-a APP"),
        (["-q", "q", "-a", "amqp", "cat"], "-m HOST:PORT"),
        (["-q", "q", "-m", "h:1", "-a", "amqp", "-u", "amqp://h", "cat"], "-u"),
        (["-q", "q", "-j", "4", "--prefetch", "3", "cat"], "--prefetch 3"),
        (["-q", "q", "-j", "-1", "cat"], "'-1'"),
        (["-q", "q", "--attempts", "0", "cat"], "'0'"),
        (["-q", "q", "--timeout", "0", "cat"], "'0'"),
        *[
            (["-q", "q", flag, wrong, "cat"], repr(wrong))
            for flag in NUMBERS
            for wrong in ("nan", "inf", "-1", "1e999", "x", "")
        ],
        (["-q", "q", "--backoff-max", "65", "cat"], "--backoff-max"),
        *[(["-q", "q", flag, "@", "cat"], "'@'") for flag in ("-u", "--management")],
        (["-q", "q", "--recycle-after", "9", "cat"], "--keep-alive"),
        (["-q", "q", "--framing", "netstring", "cat"], "--keep-alive"),
        (["-q", "q", "--tim", "9", "cat"], "--tim"),
        *[(["-q", "q", flag, "", "cat"], f"{flag}: ") for flag in ("-u", "-m", "-a", "--joblog", "--management")],
        (["-q", "q", "-q", "r", "cat"], "-q: "),
        (["-q", "q", "-j", "1", "-j=1", "cat"], "-j: "),
        *[(["-q", "q", "--result-limit", wrong, "cat"], repr(wrong)) for wrong in ("0", "-1", "8MB", "1.5G", "M", "²")],
        *[(["-q", "q", "--results", wrong, "cat"], f"--results {wrong}") for wrong in ("q", "q.failed", "q.retry.1s")],
    ],
)
def test_wrong_usage(words: list[str], named: str) -> None:
    assert named in refusal(parse, words, by=WrongUsage)
