"""The items of a run: their bytes, places and columns, and what is refused before anything is sent."""

from __future__ import annotations

import csv
import io
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.queue.publishing import sources
from cluster.queue.publishing.items import Position
from cluster.queue.runs import spool as spooling
from cluster.queue.runs.items import Items, RunItem, chosen_items
from cluster.queue.runs.shell_words import typed
from scripts.action.placeholders import Template
from scripts.errors import ClusterError
from tests.refusing import refusal

Choose = Callable[..., Items]
# Much that looks like CSV, and everything else, without what ends a line.
values = st.lists(
    st.sampled_from([b'"', b",", b"'", b"\r", b"\r\n", b"\xff", b"a", b" ", "ä".encode()]) | st.binary(max_size=5)
)
value = values.map(lambda parts: b"".join(parts).replace(b"\n", b"").replace(b"\0", b""))


def choose(file: object = "", action: Sequence[str] = ("cat",), files: str = "", **given: Any) -> Items:
    flags: dict[str, Any] = dict.fromkeys(("contents", "null", "skip_empty", "header_row"), False)
    flags |= {"colsep": None, "spool": Path("/nonexistent/spool"), "say": lambda text: None}
    return chosen_items(str(file), files, action=action, **(flags | given))


def read(items: Items, at: Position = Position()) -> list[RunItem]:  # noqa: B008
    return list(items.start(at))


def written(folder: Path, content: bytes, name: str = "in.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def as_csv(rows: Sequence[Sequence[bytes]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([value.decode("latin-1") for value in row] for row in rows)
    return text.getvalue().encode("latin-1")


def test_items_are_lines_with_their_places(tmp_path: Path) -> None:
    path = written(tmp_path, b"one\n\n,\xff\r\r\n\r\nlast", "in.txt")
    items = choose(path, skip_empty=True)
    assert read(items) == [
        RunItem(b"one", 0, 3, 1, 0, 4, 2),
        RunItem(b",\xff\r", 5, 3, 3, 1, 10, 4),
        RunItem(b"last", 12, 4, 5, 2, 17, 6),
    ]
    assert (items.name, items.path, items.total, items.size) == (str(path), str(path), 3, 16)
    assert (items.column_names, items.columns_of(b"a,b"), items.named(b"a,b")) == ((), {}, {})
    assert [items.input_of(item.offset, item.length) for item in read(items)] == [b"one", b",\xff\r", b"last"]


@pytest.mark.parametrize(
    ("content", "flags", "numbers"),
    [
        (b"a\nb\n", {}, range(1, 3)),
        (b"a\n\n\nb", {"skip_empty": True}, range(1, 5)),
        (b"h\na\nb\n", {"header_row": True}, range(2, 4)),
        (b"\nh\n\na\n\n", {"header_row": True, "skip_empty": True}, range(3, 5)),
        (b"", {"skip_empty": True}, range(1, 1)),
    ],
)
def test_the_numbers_of_items_are_known(tmp_path: Path, content: bytes, flags: dict[str, bool], numbers: range) -> None:
    items = choose(written(tmp_path, content), **flags)
    assert items.numbers == numbers
    assert all(item.number in numbers for item in read(items))


def test_pieces_may_end_in_nul(tmp_path: Path) -> None:
    items = choose(written(tmp_path, b"a\nb\r\0,c\r\0"), ["mc", "{2}"], null=True, header_row=True)
    [item] = read(items)
    assert (item.body, item.number) == (b",c\r", 2)
    assert items.columns_of(b"a,b\r") == {"2": b"b\r"}


@pytest.mark.parametrize(("name", "colsep"), [("in.CSV", None), ("in.txt", ","), ("in.tsv", ",")])
def test_a_header_row_is_no_item_and_names_columns(tmp_path: Path, name: str, colsep: str | None) -> None:
    path = written(tmp_path, b'\xef\xbb\xbfalpha,"the, beta",,alpha\r\n1,"x, ""y"" z",,3\r\n4,5\r\n', name)
    items = choose(path, ["mc", "{the, beta}", "{2}", "{print $1}", "{}"], header_row=True, colsep=colsep)
    first, second = read(items)
    assert (first.number, first.place, second.number, second.place, items.total) == (2, 0, 3, 1, 2)
    assert items.column_names == ("alpha", "the, beta")
    assert items.columns_of(first.body) == {"the, beta": b'x, "y" z', "2": b'x, "y" z'}
    assert items.named(first.body) == {"alpha": "1", "the, beta": 'x, "y" z'}
    assert items.columns_of(second.body)["2"] == b"5"
    assert items.commands() == [
        r"""mc 'x, "y" z' 'x, "y" z' '{print $1}' '1,"x, ""y"" z",,3'""",
        "mc 5 5 '{print $1}' 4,5",
    ]


def test_a_mark_before_the_first_line_is_no_part_of_it(tmp_path: Path) -> None:
    path = written(tmp_path, b"\xef\xbb\xbf0.1,2\r\n\xef\xbb\xbf,3\r\n")
    items = choose(path, ["mc", "{1}", "{}"])
    assert read(items) == [RunItem(b"0.1,2", 3, 5, 1, 0, 10, 2), RunItem(b"\xef\xbb\xbf,3", 10, 5, 2, 1, 17, 3)]
    assert (items.total, items.input_of(3, 5), items.commands(1)) == (2, b"0.1,2", ["mc 0.1 0.1,2"])
    assert read(choose(path, null=True))[0].offset == 0
    assert "line 1" in refusal(choose, written(tmp_path, b"\xef\xbb\xbf\r\n1\n"), skip_empty=True)


def test_a_named_placeholder_means_that_there_is_a_header_row(tmp_path: Path) -> None:
    items = choose(written(tmp_path, b'a\tb\n"1\t2\n', "in.tsv"), ["mc", "--b={b}", "{a}{#}"])
    assert items.commands() == ["mc --b=2 '\"12'"]
    assert items.named(b"\xff\t2") == {"a": "\udcff", "b": "2"}


@settings(max_examples=150)
@given(st.lists(st.lists(value, min_size=2, max_size=4), min_size=1, max_size=5))
def test_what_csv_writes_is_read_back(rows: list[list[bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        items = choose(written(Path(folder), as_csv(rows)), ["mc", "{1}", "{2}"])
        found = [items.columns_of(item.body) for item in items.start(Position())]
    assert found == [{"1": row[0], "2": row[1]} for row in rows]


@given(st.lists(value.map(lambda value: value.replace(b"\t", b"").replace(b"\r", b"")), min_size=1).filter(any))
def test_between_tabs_a_quote_is_a_character(row: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        items = choose(written(Path(folder), b"\t".join(row), "in.tsv"), ["mc", f"{{{len(row)}}}"])
        assert items.columns_of(next(items.start(Position())).body) == {str(len(row)): row[-1]}


@settings(max_examples=25)
@given(st.lists(value, min_size=2, max_size=2))
def test_no_shell_reads_a_value(row: list[bytes]) -> None:
    action = ["printf", r"%s\0", "a{1}", "$(x){2}", "`x`"]
    with tempfile.TemporaryDirectory() as folder:
        items = choose(written(Path(folder), as_csv([row])), action)
        given = items.columns_of(next(items.start(Position())).body)
        [command] = items.commands()
    wanted = b"a%b\0$(x)%b\0`x`\0" % (row[0], row[1])
    assert subprocess.check_output(Template(action).fill(given)) == wanted
    assert subprocess.check_output(["bash", "-c", command]) == wanted


@settings(max_examples=50)
@given(st.binary().map(lambda word: word.replace(b"\0", b"")))
def test_a_typed_word_is_printable_and_one_word_again(word: bytes) -> None:
    text = typed(word)
    assert text.isprintable()
    assert subprocess.check_output(["bash", "-c", rf"printf '%s\0' {text}"]) == word + b"\0"
    if "$'" not in text:
        assert shlex.split(text) == [os.fsdecode(word)]


@given(values.map(b"".join), st.booleans(), st.booleans(), st.data())
def test_going_on_from_any_item_gives_the_same_rest(text: bytes, null: bool, header: bool, draw: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), text.replace(b'"', b"'"))
        items = choose(path, null=null, skip_empty=True, header_row=header)
        whole = read(items)
        assert len(whole) == items.total
        assert [items.input_of(item.offset, item.length) for item in whole] == [item.body for item in whole]
        if whole:
            item = draw.draw(st.sampled_from(whole))
            assert read(items, Position(item.offset, item.number, item.place + 1)) == whole[item.place :]
            assert read(items, Position(item.end, item.next_line, item.place + 2)) == whole[item.place + 1 :]


@pytest.mark.parametrize(
    ("content", "action", "named"),
    [
        (b"1,2\n1\n", ["mc", "{2}"], ["line 2", "{2}"]),
        (b"1,2\n", ["mc", "{0}"], ["{0}"]),
        (b'1\n2,"x\ny"\n', ["mc", "{1}"], ["line 2", "quote"]),
        (b'1\n"a"b\n', ["mc", "{1}"], ["line 2"]),
        (b"a,b\n1,x\0y\n", ["mc", "{b}"], ["line 2", "NUL", "{b}"]),
        (b"1,x\0y\n", ["mc", "{}"], ["line 1", "NUL", "{}"]),
        (b"x" * 140_000, ["mc", "{}"], ["line 1", "{}"]),
        (b"x" * 70_000, ["mc", "{1}"], ["line 1", "64 KiB"]),
        (b"a,b\n1,2\n", ["mc", "{c}"], ["{c}", "'a'", "'b'"]),
        (b"a,b,a\n1,2,3\n", ["mc", "{a}"], ["{a}", "2 columns"]),
        (b"a,b\n", ["mc", "{a}"], ["header row"]),
        (b"a,b\n1,2\n\n", ["mc", "{a}"], ["line 3", "empty"]),
        (b"1,2\n", ["{1}"], ["{1}", "first word"]),
        (b"1,2\n", ["sh", "-c", "echo {1}"], ["{1}", "sh {1}"]),
        (b"1,2\n", ["env", "A=1", "bash", "-c", "echo {}", "{1}"], ["{}", "bash {}"]),
    ],
)  # fmt: skip
def test_what_cannot_be_an_item_is_refused_with_its_line(
    tmp_path: Path, content: bytes, action: list[str], named: list[str]
) -> None:
    text = refusal(choose, written(tmp_path, content), action)
    assert [word for word in named if word not in text] == []


@pytest.mark.parametrize("name", ["{b}", "{3}", "{a}", "{0}"])
def test_what_is_wrong_in_a_name_is_not_put_down_to_the_action(tmp_path: Path, name: str) -> None:
    text = refusal(choose, written(tmp_path, b"a,a\n1,2\n"), header_row=True, name=name)
    assert name in text
    assert "action" not in text


@pytest.mark.parametrize(("header", "name"), [("a,,n", "{3}"), ("a,a,n", "{3}"), ("a,", "{2}")])
def test_a_number_in_a_name_counts_named_columns(tmp_path: Path, header: str, name: str) -> None:
    path = written(tmp_path, header.encode() + b"\n1,2,3\n")
    assert name in refusal(choose, path, header_row=True, name=name)
    assert choose(path, header_row=True, name="{1}").total == 1
    assert choose(path, name=name).total == 2


def test_a_name_may_have_what_no_argument_has(tmp_path: Path) -> None:
    [item] = read(choose(written(tmp_path, b"x\0" + b"y" * 140_000), name="{}"))
    assert len(item.body) == 140_002
    assert choose(files=f"{tmp_path}/*", contents=True, name="{}").total == 1


def test_the_text_of_a_shell_keeps_its_own_braces(tmp_path: Path) -> None:
    path = written(tmp_path, b"a\n1\n")
    items = choose(path, ["sh", "-c", "awk '{ print $1 }' ${HOME}", "{a}"])
    assert items.commands() == ["""sh -c 'awk '"'"'{ print $1 }'"'"' ${HOME}' 1"""]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"action": ["mc", "{2}"]}, "--colsep"),
        ({"action": ["mc", "{alpha}"]}, "--colsep"),
        ({"header_row": True}, "--colsep"),
        ({"action": ["mc", "{2}"], "colsep": ";;"}, "';;'"),
        ({"action": ["mc", "{2}"], "colsep": "ä"}, "'ä'"),
        ({"action": ["mc", "{2}"], "colsep": '"'}, "'\"'"),
        ({"action": ["mc", "{2}"], "colsep": ""}, "--colsep"),
        ({"contents": True}, "--files"),
        ({"files": "x*"}, "--file "),
    ],
)
def test_flags_that_do_not_fit_are_refused(tmp_path: Path, flags: dict[str, Any], named: str) -> None:
    path = written(tmp_path, b"1;2\n", "in.txt")
    assert named in refusal(choose, path, **flags)


def test_the_last_bytes_of_a_large_column_are_there(tmp_path: Path) -> None:
    large = b"x" * 200_000
    items = choose(written(tmp_path, b'"' + large + b',",2\n'), ["mc", "{2}"])
    [item] = read(items)
    assert items.columns_of(item.body) == {"2": b"2"}
    assert items.input_of(item.offset, item.length) == b'"' + large + b',",2'


def test_the_digest_changes_with_the_bytes_and_with_what_cuts_them(tmp_path: Path) -> None:
    path, other = written(tmp_path, b"a,b\n1,2\n"), written(tmp_path, b"a,b\n1,3\n", "other.csv")
    made = [
        choose(path),
        choose(other),
        choose(path, null=True),
        choose(path, skip_empty=True),
        choose(path, header_row=True),
        choose(path, ["mc", "{1}"]),
        choose(path, ["mc", "{1}"], colsep="2"),
    ]
    assert len({items.digest for items in made}) == len(made)
    assert choose(written(tmp_path, b"a,b\n1,2\n", "same.csv")).digest == made[0].digest


def test_a_file_that_changed_gives_no_wrong_input(tmp_path: Path) -> None:
    path = written(tmp_path, b"one\ntwo\n")
    items = choose(path)
    os.utime(path, (1, 1))
    assert str(path) in refusal(items.input_of, 4, 3)
    path.unlink()
    assert str(path) in refusal(items.input_of, 4, 3)


# Files


def test_files_are_items_by_their_path_or_with_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, b"", "b.dat")
    written(tmp_path, b"1\n", "a.dat")
    monkeypatch.chdir(tmp_path)
    items = choose(files="*.dat", action=["wc", "{}", "{#}"])
    paths = [os.fsencode(tmp_path / name) for name in ("a.dat", "b.dat")]
    assert [(item.body, item.number, item.place) for item in read(items)] == [(paths[0], 1, 0), (paths[1], 2, 1)]
    assert read(items, Position(1, 2, 2)) == read(items)[1:]
    assert [items.input_of(item.offset, item.length) for item in read(items)] == paths
    assert items.commands(1) == [f"wc {tmp_path}/a.dat 1"]
    whole = choose(files="*.dat", contents=True, skip_empty=True)
    assert (read(whole), whole.total) == ([RunItem(b"1\n", 0, 2, 1, 0, 1, 2)], 1)
    assert whole.input_of(0, 2) == paths[0]
    assert len({items.digest, whole.digest, choose(files="*.dat", skip_empty=True).digest}) == 3


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"contents": True}, "b.dat is empty"),
        ({"action": ["mc", "{}"], "contents": True, "skip_empty": True}, "{}"),
        ({"action": ["mc", "{1}"]}, "{1}"),
        ({"null": True}, "--null"),
        ({"header_row": True}, "--header-row"),
        ({"colsep": ","}, "--colsep"),
    ],
)
def test_flags_that_do_not_fit_files_are_refused(tmp_path: Path, flags: dict[str, Any], named: str) -> None:
    written(tmp_path, b"", "b.dat")
    written(tmp_path, b"1\n", "a.dat")
    assert named in refusal(choose, files=f"{tmp_path}/*.dat", **flags)


# What comes from a pipe


def pipe(content: bytes) -> str:
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    return f"/dev/fd/{reading}"


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], str]:
    """Return how to give `-` another content, without this process's own STDIN."""

    def give(content: bytes) -> str:
        reading, writing = os.pipe()
        os.write(writing, content)
        os.close(writing)
        monkeypatch.setattr(spooling, "STDIN", reading)
        monkeypatch.setattr("sys.stdin", io.StringIO())
        return "-"

    return give


def test_stdin_is_read_once_and_kept(tmp_path: Path, stdin: Callable[[bytes], str]) -> None:
    spool, said = tmp_path / "spool", list[str]()
    first = choose(stdin(b"a,b\n1,2\n3,4\n"), ["mc", "{b}"], colsep=",", spool=spool, say=said.append)
    assert [item.body for item in read(first)] == [b"1,2", b"3,4"]
    assert (spool.stat().st_mode & 0o777, first.name, first.path) == (0o600, "STDIN", str(spool))
    again = choose(stdin(b""), ["mc", "{b}"], colsep=",", spool=spool, say=said.append)
    assert (read(again), again.digest) == (read(first), first.digest)
    assert [str(spool) in line for line in said] == [False, True, False]
    assert [" 2 items" in line for line in said] == [True, False, True]
    assert names_in(tmp_path) == ["spool"]


@pytest.mark.parametrize("content", [b"a", b"a\nb", b"a\nb\nc\n", b"other\n" * 100_000], ids=range(4))
def test_other_items_than_the_first_time_are_refused(
    tmp_path: Path, stdin: Callable[[bytes], str], content: bytes
) -> None:
    spool, other = tmp_path / "spool", written(tmp_path, content, "other")
    choose(stdin(b"a\nb\n"), spool=spool)
    with subprocess.Popen(["cat", other], stdout=subprocess.PIPE) as cat:
        assert cat.stdout
        name = f"/dev/fd/{cat.stdout.fileno()}"
        assert str(spool) in refusal(choose, name, spool=spool)
    assert spool.read_bytes() == b"a\nb\n"


def test_the_same_items_nothing_or_a_terminal_go_on_with_the_first_ones(
    tmp_path: Path, stdin: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    first = choose(stdin(b"a\nb\n"), spool=spool)
    main, terminal = os.openpty()
    os.mkfifo(tmp_path / "fifo")
    names = [stdin(b"a\nb\n"), "/dev/null", os.ttyname(terminal), str(tmp_path / "fifo")]
    assert [choose(name, spool=spool).digest for name in names] == [first.digest] * 4
    monkeypatch.setattr("sys.stdin", None)
    assert choose("-", spool=spool).digest == first.digest
    os.close(main)
    os.close(terminal)


def test_a_pipe_with_a_name_is_kept(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    name = pipe(b"a\nb\n")
    assert [item.body for item in read(choose(name, spool=spool))] == [b"a", b"b"]
    os.close(int(name.rpartition("/")[2]))
    assert spool.read_bytes() == b"a\nb\n"


def test_what_is_refused_leaves_no_new_spool(tmp_path: Path, stdin: Callable[[bytes], str]) -> None:
    spool = tmp_path / "spool"
    assert "STDIN: line 2 " in refusal(choose, stdin(b"a\n\n"), spool=spool)
    assert "STDIN " in refusal(choose, stdin(b""), spool=spool)
    assert names_in(tmp_path) == []
    choose(stdin(b"a\n"), spool=spool)
    assert "{2}" in refusal(choose, "-", ["mc", "{2}"], colsep=",", spool=spool)
    assert spool.read_bytes() == b"a\n"


def test_a_spooling_that_was_killed_begins_anew(tmp_path: Path, stdin: Callable[[bytes], str]) -> None:
    written(tmp_path, b"half of i", "spool.draft")
    items = choose(stdin(b"a\nb\n"), spool=tmp_path / "spool")
    assert [item.body for item in read(items)] == [b"a", b"b"]
    assert names_in(tmp_path) == ["spool"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_spooling_that_fails_leaves_nothing(
    tmp_path: Path, stdin: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(reading: Any, writing: Any) -> None:
        writing.write(reading.read(3))
        raise failure

    monkeypatch.setattr(spooling.shutil, "copyfileobj", fail)
    assert "STDIN" in refusal(choose, stdin(b"a\nb\n"), spool=tmp_path / "spool", by=ClusterError)
    assert names_in(tmp_path) == []


def test_a_closed_stdin_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert "STDIN" in refusal(choose, "-", spool=tmp_path / "spool")


def test_reading_goes_on_in_chunks_and_notices_a_change(tmp_path: Path) -> None:
    path = written(tmp_path, b"x\n" * sources.CHUNK_BYTES)
    going = choose(path).start(Position())
    next(going)
    path.write_bytes(b"y\n" * sources.CHUNK_BYTES * 2)
    assert str(path) in refusal(list, going)
