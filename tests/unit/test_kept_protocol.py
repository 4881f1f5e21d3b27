"""What a worker and a program that is kept alive say to one another, and how long a place waits."""

import json
import math
from io import BytesIO
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.action.jobs import Job
from scripts.action.kept_alive import Place
from scripts.action.kept_protocol import FRAMINGS, OK, VerdictLine, line, netstrings, parse, readable
from tests.refusing import refusal


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"ok", OK),
        (b"ok \r", OK),
        (b"retry", VerdictLine("failed", "retry")),
        (b"retry 30", VerdictLine("failed", "retry", 30.0)),
        (b"retry 0.5 the licence server is busy", VerdictLine("failed", "the licence server is busy", 0.5)),
        (b"retry the licence server is busy", VerdictLine("failed", "the licence server is busy")),
        (b"retry 1.5s", VerdictLine("failed", "1.5s")),
        (b"reject", VerdictLine("rejected", "reject")),
        (b"reject  not a\tdate:  31.02.", VerdictLine("rejected", "not a date: 31.02.")),
        (b"reject bell \x07 \xff", VerdictLine("rejected", "bell \ufffd \ufffd")),
        ("reject größer".encode(), VerdictLine("rejected", "größer")),
    ],
)
def test_a_verdict_line_is_read(line: bytes, expected: VerdictLine) -> None:
    assert parse(line) == expected


@pytest.mark.parametrize(
    "line", [b"", b" ", b"OK", b"okay", b"ok done", b"ready 1", b"rejected", b"[1] 3", b"\x00", b"\xff"]
)
def test_anything_else_is_no_verdict(line: bytes) -> None:
    assert parse(line) is None


@given(st.binary())
def test_no_bytes_make_it_stumble(line: bytes) -> None:
    parse(line)
    assert readable(line).isprintable()


@given(st.sampled_from([b"ok", b"retry", b"retry 5", b"retry 0.25", b"reject"]), st.binary())
def test_what_follows_a_known_word_is_never_more_than_its_why(word: bytes, rest: bytes) -> None:
    verdict = parse(word + b" " + rest)
    if verdict is None:
        assert word == b"ok"
    else:
        assert verdict.verdict == {b"ok": "done", b"retry": "failed", b"reject": "rejected"}[word.split()[0]]
        assert verdict.reason.isprintable()


texts = st.text(st.characters(codec="utf-8")).map(
    lambda text: " ".join("".join(char if char.isprintable() else " " for char in text).split())
)


@given(texts, st.integers(0, 999_999_999), st.integers(0, 999))
def test_a_pause_and_a_reason_are_read_as_they_were_written(why: str, seconds: int, milliseconds: int) -> None:
    pause = f"{seconds}.{milliseconds:03}"
    assert parse(f"retry {pause} {why}".encode()) == VerdictLine("failed", why or "retry", float(pause))
    # The protocol's one ambiguity, resolved for the number: `retry 5 apples` asks for five seconds.
    assert parse(f"retry because {why}".encode()) == VerdictLine("failed", f"because {why}".strip())
    assert parse(f"reject {why}".encode()) == VerdictLine("rejected", why or "reject")


EXAMPLE = Path(__file__).parents[2] / "components/worker/scripts/keepalive.py"
# The reader that users are shown is the reader that is tested with.
read_netstring = run_path(str(EXAMPLE))["netstring"]


def job(body: bytes, metadata: dict[str, Any] | None = None) -> Job:
    return Job("id", body, dict, lambda: metadata or {})


def test_the_framings_have_names() -> None:
    assert list(FRAMINGS) == ["lines", "netstring"]


@pytest.mark.parametrize(
    ("body", "framed"),
    [(b"a b", b"a b\n"), (b"a\n", b"a\n"), (b"", b"\n"), (b"\n", b"\n"), (b"a\x00\xff\r\n", b"a\x00\xff\r\n")],
)
def test_a_body_is_a_line_and_one_newline_at_its_end_is_the_lines(body: bytes, framed: bytes) -> None:
    assert line(job(body)) == framed


@pytest.mark.parametrize(("body", "place"), [(b"a\nb", 1), (b"\n\n", 0), (b"ab\n\n", 2)])
def test_a_body_of_several_lines_does_not_fit(body: bytes, place: int) -> None:
    assert f"byte {place}" in refusal(line, job(body))


@given(st.lists(st.binary()))
def test_lines_arrive_one_a_message(bodies: list[bytes]) -> None:
    fitting = [body for body in bodies if b"\n" not in body.removesuffix(b"\n")]
    stream = BytesIO(b"".join(line(job(body)) for body in fitting))
    assert [read.removesuffix(b"\n") for read in stream] == [body.removesuffix(b"\n") for body in fitting]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.tuples(st.dictionaries(st.text(), json_values, max_size=3), st.binary()), max_size=4))
def test_any_metadata_and_any_bytes_arrive(messages: list[tuple[dict[str, Any], bytes]]) -> None:
    stream = BytesIO(b"".join(netstrings(job(body, metadata)) for metadata, body in messages))
    for metadata, body in messages:
        assert json.loads(read_netstring(stream)) == metadata
        assert read_netstring(stream) == body
    assert read_netstring(stream) is None


def test_a_framed_message_looks_like_this() -> None:
    assert netstrings(job(b"a\nb", {"id": "ü"})) == b'15:{"id":"\\u00fc"},3:a\nb,'


def test_numbers_that_json_does_not_know_become_text() -> None:
    stream = BytesIO(netstrings(job(b"", {"headers": {"n": [math.nan, math.inf, 1.5]}})))
    assert json.loads(read_netstring(stream)) == {"headers": {"n": ["NaN", "Infinity", 1.5]}}


def life(**facts: Any) -> Any:
    usual = {"answered": 0, "faulty": True, "was_ready": True, "left_unread": False, "lived_s": 1}
    return SimpleNamespace(**usual | facts)


@pytest.mark.parametrize(
    ("lives", "pauses", "failed_starts"),
    [
        ([life(was_ready=False)] * 3, [0.1, 0.2, 0.4], 3),
        ([life(left_unread=True)] * 3, [0.1, 0.2, 0.4], 3),
        ([life()] * 3, [0.1, 0.2, 0.4], 0),
        ([life(was_ready=False), life(answered=1), life(answered=1)], [0.1, 0.1, 0.1], 0),
        ([life(), life(answered=5, faulty=False), life()], [0.1, 0, 0.1], 0),
        ([life(lived_s=100)] * 2, [0.1, 0.1], 0),
    ],
)
def test_a_place_waits_longer_the_more_goes_wrong_in_a_row(lives: Any, pauses: list[float], failed_starts: int) -> None:
    loop: Any = None
    place = Place(loop, lambda _place: None)
    assert [place.record_exit(one) for one in lives] == pauses
    assert place.failed_starts == failed_starts
