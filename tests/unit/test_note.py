"""The note of what had failed before something was published: kept until the end was reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.queue.waiting.note import NoteFile


@pytest.fixture
def note(tmp_path: Path) -> NoteFile:
    return NoteFile("amqp://127.0.0.1", "q/1", tmp_path)


def known(note: NoteFile) -> tuple[int, int, bool]:
    found = note.read()
    assert found
    return found.failed, found.published, found.is_open


def test_the_first_publishing_counts_until_the_end_is_reported(note: NoteFile) -> None:
    assert note.read() is None
    note.publishing(3)
    assert known(note) == (3, 0, True)
    note.published(10)
    note.publishing(5)
    note.published(20)
    assert known(note) == (3, 30, True)
    note.reported(5)
    assert known(note) == (5, 0, False)
    note.publishing(7)
    assert known(note) == (7, 0, True)


def test_what_leaves_the_failed_queue_makes_no_room_for_what_fails_later(note: NoteFile) -> None:
    note.publishing(3)
    note.publishing(1)
    assert known(note) == (1, 0, True)
    note.reported(8)
    note.taken_out(5, put_back=5)
    assert known(note) == (3, 5, True)
    note.publishing(4)
    assert known(note) == (3, 5, True)
    note.taken_out(9)
    assert known(note) == (0, 5, True)


def test_a_note_is_of_one_queue_at_one_broker(note: NoteFile, tmp_path: Path) -> None:
    note.publishing(3)
    assert NoteFile("amqp://127.0.0.1", "q_1", tmp_path).read() is None
    assert NoteFile("amqp://127.0.0.2", "q/1", tmp_path).read() is None


@pytest.mark.parametrize("text", ["{", "[]", '{"nonsense": 1}', ""])
def test_a_damaged_note_counts_as_none(note: NoteFile, text: str) -> None:
    note.path.parent.mkdir(exist_ok=True)
    note.path.write_text(text)
    assert note.read() is None
    note.publishing(2)
    assert known(note) == (2, 0, True)
