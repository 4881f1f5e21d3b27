import hashlib
import os
import signal
import threading
from pathlib import Path

import pytest

from cluster.interrupts import Interrupted
from cluster.queue.publishing import sources
from cluster.queue.publishing.items import Position, Split
from cluster.queue.publishing.sources import Source, chosen, file_set, one_body, stream, text_file
from tests.refusing import refusal


def bodies(source: Source, at: Position = Position()) -> list[bytes]:  # noqa: B008
    return [item.body for item in source.start(at) if item]


def test_a_file_is_known_before_it_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(b"one\ntwo, the longest\nthree")
    source = text_file(str(path), Split())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (source.size, source.digest, source.path) == (26, digest, str(path))
    assert (source.messages, source.largest_bytes, source.largest_line) == (3, 16, 2)
    assert [source.id_of(item) for item in source.start(Position()) if item] == [
        f"{digest[:16]}-{at}" for at in (0, 4, 21)
    ]
    assert bodies(source, Position(4, 2, 2)) == [b"two, the longest", b"three"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "/in"),
        (lambda path: path.mkdir(), "--files"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"a\n\nb\n"), "line 2 "),
    ],
    ids=["missing", "directory", "empty", "empty line"],
)
def test_what_cannot_be_published_is_refused_at_once(tmp_path: Path, make: object, message: str) -> None:
    path = tmp_path / "in"
    make(path)  # type: ignore[operator]
    assert message in refusal(text_file, str(path), Split())


def test_ctrl_c_while_a_file_is_checked_says_that_nothing_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_bytes(b"a\n")

    def interrupted(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(sources, "scan", interrupted)
    assert "is published" in refusal(text_file, str(tmp_path / "f"), Split(), by=Interrupted)


def test_a_file_without_a_message_is_an_error_unless_that_may_be(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"")
    assert "--skip-empty" in refusal(text_file, str(path), Split())
    for content in (b"", b"\n\n"):
        path.write_bytes(content)
        source = text_file(str(path), Split(skip_empty=True))
        assert (source.messages, bodies(source)) == (0, [])


@pytest.mark.parametrize("change", [b"one\nTWO\n", b"one\ntwo\nthree\n", b"one\n"], ids=["edited", "longer", "shorter"])
def test_a_file_that_changes_meanwhile_is_an_error_and_not_a_mixture(tmp_path: Path, change: bytes) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"one\ntwo\n")
    source = text_file(str(path), Split())
    os.utime(path, (1, 1))
    path.write_bytes(change)
    assert str(path) in refusal(bodies, source)


def test_a_pipe_is_read_as_it_comes_and_never_waited_for() -> None:
    reading, writing = os.pipe()
    items = stream(reading, "STDIN", Split()).start(Position())
    assert next(items) is None
    os.write(writing, b"one\ntw")
    first = next(items)
    assert first is not None
    assert first.body == b"one"
    assert next(items) is None
    os.write(writing, b"o\n")
    os.close(writing)
    assert [item.body for item in items if item] == [b"two"]
    os.close(reading)


def test_a_named_pipe_is_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"a\nb\n",))
    writer.start()
    source = text_file(str(path), Split())
    assert source.messages is None
    assert source.digest == ""
    assert bodies(source) == [b"a", b"b"]
    writer.join()


def test_a_set_of_files_is_a_message_a_file_by_name(tmp_path: Path) -> None:
    for name, content in (("b.csv", b"2\n"), ("a.csv", b"1\n\n"), ("c.txt", b"no")):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "d.csv").mkdir()
    source = file_set(f"{tmp_path}/*.csv")
    assert bodies(source) == [b"1\n\n", b"2\n"]
    assert [item.file for item in source.start(Position()) if item] == [f"{tmp_path}/a.csv", f"{tmp_path}/b.csv"]
    assert source.place(2) == f"{tmp_path}/b.csv"
    assert bodies(source, Position(1, 2, 2)) == [b"2\n"]
    before = source.digest
    (tmp_path / "b.csv").write_bytes(b"3\n\n")
    assert file_set(f"{tmp_path}/*.csv").digest != before


def test_an_empty_file_of_a_set_is_refused_or_left_out(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b").write_bytes(b"x")
    assert f"{tmp_path}/a is empty" in refusal(file_set, f"{tmp_path}/*")
    assert bodies(file_set(f"{tmp_path}/*", skip_empty=True)) == [b"x"]
    only_empty = file_set(f"{tmp_path}/a", skip_empty=True)
    assert (only_empty.messages, bodies(only_empty)) == (0, [])
    assert "*.none" in refusal(file_set, f"{tmp_path}/*.none", skip_empty=True)


def test_any_folders_are_gone_into_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b/c", ".hidden"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.csv").write_bytes(folder.encode())
    (tmp_path / "self").symlink_to(".")
    (tmp_path / "b" / "up").symlink_to("..")
    monkeypatch.chdir(tmp_path)
    for pattern in ("**/*.csv", "**/**/*.csv", f"{tmp_path}/**/*.csv", "./**/x.csv"):
        source = file_set(pattern)
        assert bodies(source) == [b"a", b"b/c"]
        assert source.left_out.endswith(".hidden/")
    assert bodies(file_set("self/b/**")) == [b"b/c"]
    assert bodies(file_set(".hidden/**")) == [b".hidden"]


def test_what_is_no_plain_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    source = file_set(f"{tmp_path}/*")
    assert bodies(source) == [b"x"]
    assert source.left_out == f"{tmp_path}/folder, {tmp_path}/pipe"


def test_a_name_that_is_there_is_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "run[1].csv").write_bytes(b"brackets")
    (tmp_path / "run1.csv").write_bytes(b"none")
    assert bodies(file_set(f"{tmp_path}/run[1].csv")) == [b"brackets"]
    assert bodies(file_set(f"{tmp_path}/run[1-9].csv")) == [b"none"]


def test_an_empty_body_is_refused() -> None:
    assert "body" in refusal(one_body, b"")


def test_a_body_given_twice_has_two_ids() -> None:
    one, other = (one_body(b"x") for _ in range(2))
    assert one.prefix != other.prefix


def test_exactly_one_source_is_chosen() -> None:
    assert "--body" in refusal(chosen, None, "", "", Split())
    assert "--body and --file" in refusal(chosen, "", "x", "", Split())
    assert bodies(chosen("\udcff ä", "", "", Split())) == [b"\xff \xc3\xa4"]
