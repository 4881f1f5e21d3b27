"""The outputs of a run: their formats, what is done, and what failed."""

import base64
import csv
import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.queue.runs.failures import Failures
from cluster.queue.runs.folder import safe_name
from cluster.queue.runs.numbers import Numbers
from cluster.queue.runs.output import discard, is_bare, is_output, open_output
from cluster.queue.runs.record import Record
from cluster.settings import ROOT
from scripts.errors import ClusterError
from tests.refusing import refusal

FILES = ("out.jsonl", "out.csv", "out.tsv")
ALL = (*FILES, "out/")
# Bytes that are traps for one format or another, more often than chance would have them.
NASTY = st.lists(st.sampled_from([b'"', b"\n", b"\r", b"\0", b",", b"\t", b"\xff", "ü\u2028".encode(), b"a"])).map(
    b"".join
)
BYTES = st.binary(max_size=30) | NASTY
COLUMN = BYTES.map(lambda value: value.decode("utf-8", "surrogateescape"))
TEXT = st.text(max_size=20)


@st.composite
def records(draw: st.DrawFn, most: int = 8) -> list[Record]:
    numbers = draw(st.lists(st.integers(1, 99), unique=True, max_size=most).map(sorted))
    return [
        Record(
            number,
            place,
            draw(BYTES),
            draw(BYTES),
            draw(TEXT),
            draw(st.none() | st.integers(0, 255)),
            draw(st.integers(1, 9)),
            draw(st.sampled_from([0.0, 0.123, 12345.678])),
            draw(TEXT),
            draw(TEXT),
            {name: draw(COLUMN) for name in ("alpha", "result")},
        )
        for place, number in enumerate(numbers)
    ]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function that makes an empty folder."""
    return lambda: tmp_path_factory.mktemp("output")


def record(number: int, reason: str = "", **values: Any) -> Record:
    return Record(number, number - 1, b"in %d" % number, b"out %d\n" % number, reason, **values)


def write(path: Path | str, *written: Record, **options: Any) -> None:
    with open_output(str(path), **options) as output:
        for each in written:
            assert output.write(each)


def lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="\n") as file:
        return [json.loads(line) for line in file]


def rows(path: Path, delimiter: str = ",") -> list[list[str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.reader(file, delimiter=delimiter, strict=True))


def text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def of_json(fields: dict[str, Any], name: str) -> bytes:
    if f"{name}_base64" in fields:
        assert name not in fields
        return base64.b64decode(fields[f"{name}_base64"])
    return str(fields[name]).encode()


@settings(deadline=None)
@given(written=records())
def test_json_lines_have_all_of_any_record(folder, written):
    path = folder() / "out.jsonl"
    write(path, *written)
    for fields, each in zip(lines(path), written, strict=True):
        assert of_json(fields, "input") == each.input
        assert of_json(fields, "result") == each.result
        columns = fields.get("columns", {}) | {
            name: text(base64.b64decode(value)) for name, value in fields.get("columns_base64", {}).items()
        }
        assert columns == each.columns
        names = ("item", "exit", "attempts", "seconds", "host")
        assert [fields[name] for name in names] == [
            each.number, each.exit, each.attempts, each.seconds, each.host
        ]  # fmt: skip
        assert (fields.get("reason", ""), fields.get("stderr", "")) == (each.reason, each.stderr)


def test_a_line_of_json_is_as_documented(tmp_path):
    path = tmp_path / "out.jsonl"
    write(path, Record(17, 0, b"0.1 7", b"3.14\n", seconds=0.123, host="a", columns={"alpha": "0.1"}))
    assert path.read_text() == (
        '{"item": 17, "input": "0.1 7", "columns": {"alpha": "0.1"}, "result": "3.14\\n", "exit": 0, '
        '"attempts": 1, "seconds": 0.123, "host": "a"}\n'
    )


@settings(deadline=None)
@given(written=records(), has_columns=st.booleans(), suffix=st.sampled_from(["csv", "tsv"]))
def test_rows_have_all_of_any_record(folder, written, has_columns, suffix):
    path = folder() / f"out.{suffix}"
    write(path, *written, columns=("alpha", "result") if has_columns else ())
    header, *found = rows(path, "," if suffix == "csv" else "\t")
    given_names = ["alpha", "input_result"] if has_columns else ["input"]
    assert header == ["item", *given_names, "result", "exit", "attempts", "seconds", "host", "reason", "stderr"]
    assert found == [
        [
            str(each.number),
            *(each.columns.values() if has_columns else [text(each.input)]),
            text(each.result.removesuffix(b"\n")),
            "" if each.exit is None else str(each.exit),
            str(each.attempts),
            str(each.seconds),
            each.host,
            each.reason,
            each.stderr.removesuffix("\n"),
        ]
        for each in written
    ]


def test_columns_get_names_that_nothing_else_has(tmp_path):
    path = tmp_path / "out.csv"
    write(path, columns=("item", "input_item", "input", "exit"))
    assert rows(path)[0][:6] == ["item", "input_input_item", "input_item", "input", "input_exit", "result"]


@settings(deadline=None)
@given(written=records(), name=st.sampled_from(["", "{}", "{alpha}.txt", "{1}-{#}"]))
def test_a_folder_has_the_exact_bytes_of_each_result(folder, written, name):
    path = folder() / "out"
    write(f"{path}/", *written, name=name, total=1000)
    index = lines(path / "index.jsonl")
    assert [fields["item"] for fields in index] == [each.number for each in written]
    for fields, each in zip(index, written, strict=True):
        assert "result" not in fields
        if each.reason and not each.result:
            assert "file" not in fields
        else:
            assert (path / fields["file"]).read_bytes() == each.result
            assert name or fields["file"] == f"{each.number:04}"
    with_files = [fields["file"] for fields in index if "file" in fields]
    assert sorted([*with_files, "index.jsonl"]) == sorted(each.name for each in Path(path).iterdir())


def test_items_with_one_name_keep_a_file_each_and_no_other_file_is_overwritten(tmp_path):
    (tmp_path / "a").write_text("somebody's")
    for numbers in ((1, 2), (3,)):
        write(f"{tmp_path}/", *(record(number, columns={"x": "a"}) for number in numbers), name="{x}", columns=("x",))
    assert [fields["file"] for fields in lines(tmp_path / "index.jsonl")] == ["a.1", "a.2", "a.3"]
    assert (tmp_path / "a").read_text() == "somebody's"
    assert (tmp_path / "a.3").read_bytes() == b"out 3\n"


@settings(deadline=None)
@given(name=BYTES | st.binary(min_size=190, max_size=400))
def test_names_of_files_are_safe(folder, name):
    safe = safe_name(name, "17")
    assert 0 < len(os.fsencode(safe)) <= 201
    assert not safe.startswith(".")
    (folder() / safe).write_bytes(b"")
    assert "/" not in safe


def test_a_long_name_keeps_its_suffix():
    assert safe_name(b"a" * 300 + b".txt", "1") == "a" * 196 + ".txt"
    assert safe_name("ü".encode() * 150, "1") == "ü" * 100


@pytest.mark.parametrize(("name", "columns", "named"), [("a/{1}", (), "a/{1}"), ("{beta}", ("alpha",), "beta")])
def test_a_name_that_cannot_be_is_refused(tmp_path, name, columns, named):
    with pytest.raises(ClusterError, match=named.replace("{", r"\{")):
        open_output(f"{tmp_path}/", name=name, columns=columns)
    with open_output(f"{tmp_path}/"):
        pass  # it was unlocked


@pytest.mark.parametrize("path", ["results", "out.json", "out.jsonl.gz", ""])
def test_a_path_that_says_no_format_is_refused(tmp_path, path):
    with pytest.raises(ClusterError) as error:
        open_output(path and str(tmp_path / path))
    assert all(form in str(error.value) for form in (path, ".jsonl", ".csv", ".tsv", "/"))


def test_a_name_is_for_a_folder(tmp_path):
    with pytest.raises(ClusterError, match="--name"):
        open_output(str(tmp_path / "out.jsonl"), name="{1}")


@pytest.mark.parametrize("name", ALL)
def test_an_item_has_one_record_also_when_it_is_opened_again(tmp_path, name):
    path = f"{tmp_path}/{name}"
    with open_output(path) as output:
        assert output.write(record(5))
        assert not output.write(record(5, "again"))
        assert output.write(record(2, "exit 3"))
        assert (len(output.done), output.failed, 5 in output.done, 4 in output.done) == (2, 1, True, False)
    with open_output(path) as output:
        assert (len(output.done), output.failed) == (2, 1)
        assert output.failures.lines() == ["1 failed: exit 3: item 2"]
        assert not output.write(record(2))
        assert output.write(record(1))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("keep_order", [False, True])
def test_failed_items_are_dropped_and_run_again(tmp_path, name, keep_order):
    path = f"{tmp_path}/{name}"
    first = [record(number, "exit 3" if number in (3, 6, 9) else "") for number in (1, 2, 3, 4, 6, 9, 7)]
    write(path, *first, keep_order=keep_order)
    with open_output(path, keep_order=keep_order) as output:
        assert output.drop_failed() == 3
        assert [number for number in range(12) if number in output.done] == [1, 2, 4, 7]
        assert (output.failed, output.failures.lines()) == (0, [])
        for number in (9, 6, 8, 5, 3):
            assert output.write(record(number))
        with pytest.raises(ClusterError):  # the new file is locked, too
            open_output(path)
    with open_output(path, keep_order=keep_order) as output:
        assert (len(output.done), output.failed) == (9, 0)
    file = tmp_path / name / "index.jsonl" if name == "out/" else tmp_path / name
    if name == "out/":
        assert sorted(each.name for each in (tmp_path / name).iterdir()) == [*map(str, range(1, 10)), "index.jsonl"]
    else:
        assert [each.name for each in tmp_path.iterdir()] == [name]
    if keep_order and name in ("out/", "out.jsonl"):
        assert [fields["item"] for fields in lines(file)] == list(range(1, 10))


def test_dropping_keeps_a_link_and_the_rights_of_the_file(tmp_path):
    path = tmp_path / "out.jsonl"
    path.symlink_to(tmp_path / "real.jsonl")
    write(path, record(1, "exit 1"), record(2))
    path.chmod(0o640)
    with open_output(str(path)) as output:
        output.drop_failed()
    assert path.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert [fields["item"] for fields in lines(path)] == [2]


@pytest.mark.parametrize("name", ALL)
def test_a_second_process_is_refused(tmp_path, name):
    path = f"{tmp_path}/{name}"
    with open_output(path):
        code = f"from cluster.queue.runs.output import discard, is_output, open_output\nopen_output({path!r})"
        second = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "ClusterError" in second.stderr
    assert "another process" in second.stderr


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("out.jsonl", b"my notes", "line 1 "),
        ("out.jsonl", b"my notes\nmore\n", "line 1 "),
        ("out.jsonl", b"{}\n", "line 1 "),
        ("out.jsonl", b'{"item": 1, "attempts": 1}\n{"item": 2, "att\n{"item": 3, "attempts": 1}\n', "line 2 "),
        ("out.csv", b"item,other\n1,2\n", "line 1 "),
        ("out.csv", b"notes", "line 1 "),
        ("out.csv", b'item,input,result,exit,attempts,seconds,host,reason,stderr\n1,"\n",2\n3\n', "line 2 "),
        ("out/", b'{"item": 1, "attempts": 1, "file": "../x"}\n{"item": 3, "attempts": 1}\n', "line 1 "),
    ],
)
def test_a_file_that_is_not_ours_is_refused_and_stays(tmp_path, name, content, line):
    path = tmp_path / name
    file = path / "index.jsonl" if name == "out/" else path
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    with pytest.raises(ClusterError, match=line) as error:
        open_output(f"{path}/" if name == "out/" else str(path))
    assert str(file) in str(error.value)
    assert file.read_bytes() == content


@pytest.mark.parametrize("name", ALL)
def test_an_output_without_a_record_is_in_nobody_s_way(tmp_path, name):
    path = f"{tmp_path}/new/{name}"
    (tmp_path / "new").mkdir()
    assert is_bare(path)
    with open_output(path, columns=("alpha", 'b,"c')):
        assert is_bare(path)
    assert is_bare(path)
    with open_output(path, columns=("beta",)) as output:
        assert output.write(record(1, columns={"beta": "1"}))
    assert not is_bare(path)
    (tmp_path / "new" / "out.txt").write_text("mine\n")
    assert not is_bare(f"{tmp_path}/new/")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("keep_order", [False, True])
@pytest.mark.parametrize(("number", "named"), [(0, "item 0"), (5, "item 5"), (10**6, "item 1,000,000"), (1, "item 1")])
def test_a_record_that_a_person_has_added_is_refused_with_its_line(tmp_path, name, keep_order, number, named):
    path = f"{tmp_path}/{name}"
    write(path, *map(record, (1, 2, 3)), keep_order=keep_order, numbers=range(1, 5))
    file = tmp_path / "out/index.jsonl" if name == "out/" else tmp_path / name
    before = file.read_bytes()
    first = next(line for line in before.splitlines(keepends=True) if line.startswith((b'{"item": 1,', b"1,", b"1\t")))
    added = before + first.replace(b"1", b"%d" % number, 1)
    file.write_bytes(added)
    with pytest.raises(ClusterError, match=f"line {added.count(bytes([10])):,}: ") as error:
        open_output(path, keep_order=keep_order, numbers=range(1, 5))
    assert named in str(error.value)
    assert (str(file) in str(error.value), file.read_bytes()) == (True, added)
    file.write_bytes(before)
    with open_output(path, keep_order=keep_order, numbers=range(1, 5)) as output:
        assert len(output.done) == 3


@pytest.mark.parametrize("name", ALL)
def test_what_is_no_file_is_refused(tmp_path, name):
    path = tmp_path / name.rstrip("/")
    os.mkfifo(path)
    with pytest.raises(ClusterError, match=path.name):
        open_output(f"{path}/" if name == "out/" else str(path))


@pytest.mark.parametrize("name", ["missing/out.jsonl", "file/"])
def test_a_path_that_cannot_be_made_is_refused(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(ClusterError, match=name.rstrip("/")):
        open_output(f"{tmp_path}/{name}")


@pytest.mark.parametrize("name", ALL)
def test_a_full_disk_ends_it_and_what_was_synced_stays(tmp_path, name, monkeypatch):
    path = f"{tmp_path}/{name}"
    output = open_output(path)
    output.write(record(1))
    output.sync()
    whole = os.write
    with monkeypatch.context() as patch:

        def half_then_full(fd: int, content: Any) -> int:
            if len(content) > 20:
                return whole(fd, content[:20])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(os, "write", half_then_full)
        output.write(record(2))
        with pytest.raises(ClusterError, match="no space"):
            output.sync()
    with pytest.raises(ClusterError, match="no space"):
        output.write(record(3))
    with pytest.raises(ClusterError, match="no space"):
        output.sync()
    output.close()
    with open_output(path) as output:
        assert (len(output.done), 1 in output.done) == (1, True)
        assert output.write(record(2))


def test_numbers_are_a_small_set():
    numbers = Numbers()
    found = {1, 7, 8, 8191, 8192, 10**12}
    for number in [*found, 7]:
        numbers.add(number)
    assert len(numbers) == len(found)
    assert all(number in numbers for number in found)
    assert not any(number in numbers for number in (0, 2, 9, 8190, 10**12 + 1, 10**15))
    assert list(numbers.ranges()) == [(1, 1), (7, 8), (8191, 8192), (10**12, 10**12)]
    numbers.clear()
    assert (len(numbers), 7 in numbers) == (0, False)


def test_a_million_numbers_take_less_than_a_megabyte():
    numbers = Numbers()
    for number in range(1, 1_000_001):
        numbers.add(number)
    assert len(numbers) == 1_000_000
    assert sum(map(sys.getsizeof, numbers._pieces.values())) + sys.getsizeof(numbers._pieces) < 200_000


def test_failures_are_grouped_by_reason_the_most_frequent_first():
    failures = Failures()
    for number in (20, 4, 19, 30, 31, 32):
        failures.add(number, "exit 3")
    failures.add(7, "killed\x1b[2J\nby\tSIGKILL")
    assert failures.count == 7
    first, second = failures.lines()
    assert first == "6 failed: exit 3: items 4, 19, 20, 30, 31, ..."
    assert second.isprintable()
    assert second.endswith("item 7")


@settings(deadline=None, max_examples=20)
@given(reasons=st.lists(st.integers(0, 10**9).map("result of {} bytes".format) | TEXT, max_size=200))
def test_reasons_without_end_take_bounded_memory(reasons):
    failures = Failures()
    for number, reason in enumerate(reasons):
        failures.add(number, reason)
    shown = failures.lines()
    assert len(shown) <= 21
    assert failures.count == sum(int(line.split()[0].replace(",", "")) for line in shown) == len(reasons)


def test_reasons_that_differ_in_figures_are_put_together():
    failures = Failures()
    for number in range(1, 101):
        failures.add(number, f"result of {number * 1000} bytes")
        failures.add(number + 1000, "no memory")
    assert [line.partition(": items")[0] for line in failures.lines()] == [
        "100 failed: result of N bytes",
        "100 failed: no memory",
    ]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("change", ["removed", "replaced", "appended", "emptied"])
def test_a_file_that_others_change_is_never_called_synced(tmp_path, name, change):
    path = f"{tmp_path}/{name}"
    file = tmp_path / name / "index.jsonl" if name == "out/" else tmp_path / name
    output = open_output(path)
    output.write(record(1))
    output.sync()
    if change == "removed":
        file.unlink()
    elif change == "replaced":  # as an editor does
        (tmp_path / "new").write_bytes(file.read_bytes())
        (tmp_path / "new").replace(file)
    else:
        file.write_bytes(b"" if change == "emptied" else file.read_bytes() + b"x")
    output.write(record(2))
    assert str(file) in refusal(output.sync)
    output.close()


@pytest.mark.parametrize("instead", ["", "folder", "link"])
def test_a_result_whose_file_is_gone_has_no_record(tmp_path, instead):
    path = f"{tmp_path}/out/"
    write(path, record(1), record(2), record(3, "exit 1"))
    (tmp_path / "out" / "2").unlink()
    if instead == "folder":
        (tmp_path / "out" / "2").mkdir()
    elif instead == "link":
        (tmp_path / "out" / "2").symlink_to("1")
    with open_output(path) as output:
        assert (output.lost, len(output.done), 2 in output.done, output.failed) == (1, 2, False, 1)
        assert output.write(record(2))
    with open_output(path) as output:
        assert (output.lost, len(output.done)) == (0, 3)
    discard(path)
    assert (tmp_path / "out").exists() == bool(instead)


def test_a_result_that_cannot_be_brought_to_the_disk_is_no_record_and_those_beside_it_are_none(tmp_path):
    path = f"{tmp_path}/out/"
    output = open_output(path)
    for number in range(1, 41):
        output.write(record(number))
    next((tmp_path / "out" / ".drafts").glob("17.*")).unlink()
    assert "no such file" in refusal(output.sync)
    output.close()
    assert not (tmp_path / "out" / "index.jsonl").read_bytes()
    with open_output(path) as output:
        assert len(output.done) == 0
        assert output.write(record(17))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("keep_order", [False, True])
def test_an_output_is_discarded_and_nothing_else(tmp_path, name, keep_order):
    path = f"{tmp_path}/{name}"
    output = open_output(path, keep_order=keep_order)
    for number in (1, 4, 5):
        output.write(record(number))
    output.sync()
    assert is_output(path)
    output.close()
    if name == "out/":
        (tmp_path / "out" / "mine").touch()
    (tmp_path / "mine").touch()
    discard(path)
    assert [str(each.relative_to(tmp_path)) for each in sorted(tmp_path.rglob("*")) if each.is_file()] == (
        ["mine", "out/mine"] if name == "out/" else ["mine"]
    )
    discard(path)
    write(path, record(1))


def test_discarding_keeps_a_link(tmp_path):
    path = tmp_path / "out.jsonl"
    path.symlink_to(tmp_path / "real.jsonl")
    write(path, record(1))
    discard(str(path))
    assert path.is_symlink()
    assert not path.exists()


def test_what_is_no_output_is_told(tmp_path):
    (tmp_path / "notes.jsonl").write_text("mine\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").touch()
    assert not is_output(f"{tmp_path}/notes.jsonl")
    assert not is_output(f"{tmp_path}/folder")
