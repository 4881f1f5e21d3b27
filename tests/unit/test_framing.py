import json
import math
from io import BytesIO
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.action.jobs import Job
from scripts.action.kept_protocol import FRAMINGS, line, netstrings
from scripts.errors import ClusterError

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
    with pytest.raises(ClusterError, match=f"newline at byte {place}, .* --framing netstring"):
        line(job(body))


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
