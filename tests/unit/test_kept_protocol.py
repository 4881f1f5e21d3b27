import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.action.kept_protocol import OK, VerdictLine, parse, readable


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
