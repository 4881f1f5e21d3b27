"""Marathon's refusals in a line each, in whichever form its versions write them."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.schedulers.marathon.api import details


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"message": "requirement failed"}, ""),
        ({"message": "Invalid JSON", "details": "Unexpected character\n('}')"}, ": Unexpected character ('}')"),
        ({"details": [{"path": "/id", "errors": ["error.expected.jsstring"]}]}, ": /id: error.expected.jsstring"),
        (
            {"details": [{"path": "/mem", "errors": ["is too small", "is odd"]}, {"path": "/cpus", "errors": ["x"]}]},
            ": /cpus: x; /mem: is too small, is odd",
        ),
        ({"details": None}, ""),
        ({"details": [None, {"path": "/a", "errors": None}]}, ": /a:"),
    ],
    ids=str,
)
def test_every_field_is_told(content: dict[str, Any], words: str) -> None:
    assert details(content) == words
