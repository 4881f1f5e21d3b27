"""The sidecar of a run's output."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.queue.publishing.items import Position
from cluster.queue.runs.sidecar import Sidecar, State, Wanted, sidecar_of
from tests.refusing import refusal

WANTED = Wanted("/items.csv", "d1", 3, "cat", "q", "amqp://127.0.0.1:5672", "", False)


def test_it_knows_the_run_and_how_far_it_is_published(tmp_path: Path) -> None:
    output = f"{tmp_path}/o.jsonl"
    with closing(Sidecar(output)) as sidecar:
        begun = sidecar.begin(WANTED)
        sidecar.at(Position(10, 3, 2))
    with closing(Sidecar(output)) as sidecar:
        assert sidecar.state == replace(begun, offset=10, line=3, number=2)
        assert sidecar.begin(WANTED).run != begun.run
        assert sidecar.state == State(WANTED, sidecar.state.run)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"items": "/other.csv"}, "/other.csv"), ({"action": "tac"}, "tac"), ({"queue": "p"}, "'p'"),
     ({"broker": "amqp://h:1"}, "amqp://h:1"), ({"name": "{1}"}, "{1}"), ({"keep_order": True}, "--keep-order"),
     ({"digest": "d2"}, "/items.csv")],
)  # fmt: skip
def test_what_has_changed_is_refused_by_name(tmp_path: Path, change: dict[str, object], named: str) -> None:
    with closing(Sidecar(f"{tmp_path}/o.jsonl")) as sidecar:
        sidecar.begin(WANTED)
        assert sidecar.check(WANTED) is False
        changed = replace(WANTED, **change)  # type: ignore[arg-type]
        assert named in refusal(sidecar.check, changed)
        if "digest" in change:
            assert sidecar.check(changed, may_change_items=True)


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with closing(Sidecar(f"{tmp_path}/o/")) as sidecar:
        sidecar.begin(WANTED)
        assert f"{tmp_path}/o/" in refusal(Sidecar, f"{tmp_path}/o/")


@pytest.mark.parametrize("text", ["{", "[]", '{"wanted": 1}', '{"wanted": {"x": 1}}', '{"run": "1"}'])
def test_a_damaged_one_is_named_and_stays(tmp_path: Path, text: str) -> None:
    output = f"{tmp_path}/o.jsonl"
    sidecar_of(output).write_text(text)
    assert str(sidecar_of(output)) in refusal(Sidecar, output)
    assert sidecar_of(output).read_text() == text


def test_one_that_says_nothing_is_not_left_behind(tmp_path: Path) -> None:
    Sidecar(f"{tmp_path}/o.jsonl").close()
    assert not list(tmp_path.iterdir())
