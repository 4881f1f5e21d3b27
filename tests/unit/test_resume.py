import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cluster.queue.publishing.items import Position
from cluster.queue.publishing.resume import Record, Sidecar, start_at
from tests.refusing import refusal

WANTED = Record("/in/items.txt", 100, "abc", "myqueue", "amqp://127.0.0.1", {"--null": False})
HALF = WANTED.at(Position(40, 5, 5))
DONE = replace(WANTED.at(Position(100, 11, 11)), complete=True)
SIDECAR = Path("/state/items.json")


@pytest.mark.parametrize(
    ("found", "resume", "begins"),
    [
        (None, False, Position()),
        (WANTED, False, Position()),
        (WANTED, True, Position()),
        (HALF, True, Position(40, 5, 5)),
        (DONE, False, Position()),
        (replace(DONE, broker="amqp://other:5672"), False, Position()),
        (replace(DONE, digest="old"), False, Position()),
        (DONE, True, None),
    ],
    ids=[
        "new", "nothing confirmed", "nothing confirmed, resumed", "half", "published again", "published elsewhere, too",
        "changed and published again", "all is published already",
    ],
)  # fmt: skip
def test_where_it_begins(found: Record | None, resume: bool, begins: Position | None) -> None:
    assert start_at(found, WANTED, resume, SIDECAR) == begins


@pytest.mark.parametrize(
    ("found", "resume", "named"),
    [
        (None, True, "/in/items.txt to 'myqueue'"),
        (HALF, False, "--resume goes on"),
        (replace(HALF, digest="old"), True, "message 5, and the input has changed"),
        (replace(HALF, size=101), True, "the input has changed"),
        (replace(HALF, digest="old"), False, "the input has changed"),
        (replace(DONE, digest="old"), True, "complete, and the input has changed"),
        (replace(HALF, flags={"--null": True}), True, "--null True, and now with --null False"),
        (replace(DONE, flags={"--null": True}), True, "--null True, and now with --null False"),
        *(
            (replace(found, broker="amqp://other:5672"), resume, "at amqp://other:5672; amqp://127.0.0.1 ")
            for found, resume in ((HALF, True), (HALF, False), (DONE, True))
        ),
    ],
    ids=["nothing", "not said", "changed", "longer", "changed, not said", "done and changed", "other flags",
         "done with others", "half elsewhere", "half elsewhere, not said", "done elsewhere"],
)  # fmt: skip
def test_what_does_not_fit_is_refused(found: Record | None, resume: bool, named: str) -> None:
    assert named in refusal(start_at, found, WANTED, resume, SIDECAR)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    sidecar = Sidecar(folder, WANTED)
    assert sidecar.record is None
    sidecar.write(HALF)
    sidecar.close()
    again = Sidecar(folder, WANTED)
    assert again.record == HALF
    again.close()
    assert again.path.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"items\.txt-[0-9a-f]{12}\.json", again.path.name)


def test_one_that_says_nothing_is_deleted(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path, WANTED)
    sidecar.write(WANTED)
    sidecar.close()
    assert list(tmp_path.iterdir()) == []


def test_each_input_and_queue_has_its_own(tmp_path: Path) -> None:
    others = [WANTED, replace(WANTED, queue="other"), replace(WANTED, path="/x/items.txt")]
    sidecars = [Sidecar(tmp_path, wanted) for wanted in others]
    assert len({sidecar.path for sidecar in sidecars}) == 3
    for sidecar in sidecars:
        sidecar.close()


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path, WANTED)
    assert "'myqueue'" in refusal(Sidecar, tmp_path, WANTED)
    sidecar.close()


def test_the_rest_of_a_longer_text_is_ignored(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path, WANTED)
    sidecar.write(HALF)
    sidecar.path.write_text(json.dumps(asdict(HALF)) + 'rue}"')
    sidecar.close()
    again = Sidecar(tmp_path, WANTED)
    assert again.record == HALF
    again.close()


@pytest.mark.parametrize("text", ["{", "null", '{"path": 1}', "\xff"], ids=["cut off", "null", "other", "no text"])
def test_a_damaged_one_is_named(tmp_path: Path, text: str) -> None:
    sidecar = Sidecar(tmp_path, WANTED)
    sidecar.write(HALF)
    sidecar.close()
    sidecar.path.write_text(text, encoding="latin-1")
    assert str(sidecar.path) in refusal(Sidecar, tmp_path, WANTED)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file/publish/items.txt-") in refusal(Sidecar, tmp_path / "file/publish", WANTED)
