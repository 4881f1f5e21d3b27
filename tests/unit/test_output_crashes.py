"""Outputs whose writer ended in the middle of something: each item has one whole record after all, whatever is torn."""

from __future__ import annotations

import base64
import csv
import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.queue.runs.early import Early
from cluster.queue.runs.order import early_path
from cluster.queue.runs.output import open_output
from cluster.queue.runs.record import Record
from cluster.settings import ROOT

NAMES = ("out.jsonl", "out.csv", "out.tsv", "out/")
in_each_format = pytest.mark.parametrize("name", NAMES)
in_each_order = pytest.mark.parametrize("keep_order", [False, True], ids=["as they come", "in order"])

# Bytes that are traps for one format or another; a newline at the end is left out in rows.
NASTY = st.lists(
    st.sampled_from([b'"', b'""', b"\n", b"\r", b"\0", b",", b"\t", b"\xff", b'{"item":', b"1,", "ü\u2028".encode()]),
    max_size=6,
).map(b"".join)


def made(results: Sequence[bytes], inputs: Sequence[bytes], failed: Sequence[bool]) -> list[Record]:
    return [
        Record(place + 1, place, given, result, "exit 3" if has_failed else "", 3 if has_failed else 0)
        for place, (result, given, has_failed) in enumerate(zip(results, inputs, failed, strict=True))
    ]


def of_size(count: int) -> st.SearchStrategy[list[Record]]:
    def some(what: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
        return st.lists(what, min_size=count, max_size=count)

    return st.builds(made, some(NASTY), some(NASTY), some(st.booleans()))


def write(path: str, records: Sequence[Record], keep_order: bool) -> None:
    """Write them; those that have a record keep it."""
    with open_output(path, keep_order=keep_order, total=9) as output:
        for record in records:
            is_new = record.number not in output.done
            assert output.write(record) == is_new


def index_of(path: str) -> Path:
    """The file with the records."""
    return Path(path) / "index.jsonl" if path.endswith("/") else Path(path)


def of_json(fields: dict[str, Any], name: str) -> bytes:
    if f"{name}_base64" in fields:
        return base64.b64decode(fields[f"{name}_base64"])
    return str(fields[name]).encode()


def read(path: str) -> list[tuple[int, bytes, bytes, str]]:
    """What a person's program finds: item, input, result and reason of each record, in their order."""
    file = index_of(path)
    if file.suffix == ".jsonl":
        found = [json.loads(line) for line in file.read_bytes().splitlines(keepends=True)]
        return [
            (
                one["item"],
                of_json(one, "input"),
                result_of(path, one) if path.endswith("/") else of_json(one, "result"),
                one.get("reason", ""),
            )
            for one in found
        ]
    delimiter = "," if file.suffix == ".csv" else "\t"
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as text:
        rows = list(csv.DictReader(text, delimiter=delimiter, strict=True))
    return [
        (
            int(row["item"]),
            row["input"].encode("utf-8", "surrogateescape"),
            row["result"].encode("utf-8", "surrogateescape"),
            row["reason"],
        )
        for row in rows
    ]


def result_of(folder: str, entry: dict[str, Any]) -> bytes:
    return (Path(folder) / entry["file"]).read_bytes() if "file" in entry else b""


def check(path: str, records: Sequence[Record], keep_order: bool) -> None:
    """See that each item has one whole record, and that nothing else is left."""
    found = read(path)
    is_of_rows = path.endswith(("csv", "tsv"))
    wanted = [
        (one.number, one.input, one.result.removesuffix(b"\n") if is_of_rows else one.result, one.reason)
        for one in records
    ]
    assert (found if keep_order else sorted(found)) == wanted
    assert not early_path(index_of(path)).exists()
    if path.endswith("/"):
        index = [json.loads(line) for line in index_of(path).read_bytes().splitlines()]
        names = [entry["file"] for entry in index if "file" in entry]
        assert sorted([*names, "index.jsonl"]) == sorted(one.name for one in Path(path).iterdir())


def not_named_yet(path: str) -> None:
    """Put the files of results back to where they are before their records are on the disk."""
    drafts = Path(path) / ".drafts"
    drafts.mkdir(exist_ok=True)
    early = Early(early_path(index_of(path)))
    for line in [*index_of(path).read_bytes().splitlines(), *(raw for _, raw in early.read())]:
        entry = json.loads(line)
        if "file" in entry:
            (Path(path) / entry["file"]).replace(drafts / f"{entry['item']}.{entry['file']}")
    early.close()


class Begun:
    """An output that was begun, of which copies are made that are torn somewhere."""

    def __init__(self, folder: Path, name: str, begun: Sequence[Record], keep_order: bool) -> None:
        self._whole, self._torn = folder / "whole", folder / "torn"
        self._whole.mkdir()
        self._name = name
        path = f"{self._whole}/{name}"
        write(path, begun, keep_order)
        if name.endswith("/"):
            not_named_yet(path)
        self.files = [file for file in (index_of(path), early_path(index_of(path))) if file.exists()]

    def torn(self, file: Path, at: int) -> str:
        """Return a copy's path, in which this file has only so many bytes."""
        shutil.rmtree(self._torn, ignore_errors=True)
        shutil.copytree(self._whole, self._torn)
        with (self._torn / file.relative_to(self._whole)).open("r+b") as cut:
            cut.truncate(at)
        return f"{self._torn}/{self._name}"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    return lambda: tmp_path_factory.mktemp("torn")


@in_each_format
@in_each_order
def test_a_file_may_be_torn_at_any_byte(tmp_path: Path, name: str, keep_order: bool) -> None:
    results = [b'"\n1,', b"\xff\tx\n", b'{"item": 1', b"last"]
    records = made(results, [b"a,b", b'"', b"\n", b"d"], [False, True, False, False])
    # In order, two of the three wait for the first in a file of their own.
    begun = Begun(tmp_path, name, [records[place] for place in ((0, 2, 3) if keep_order else (2, 0, 1))], keep_order)
    cuts = 0
    for file in begun.files:
        for at in range(file.stat().st_size + 1):
            path = begun.torn(file, at)
            write(path, records, keep_order)
            check(path, records, keep_order)
            cuts += 1
    assert cuts > 100


@in_each_format
@in_each_order
@settings(max_examples=40)
@given(data=st.data())
def test_any_records_survive_any_tear(
    folder: Callable[[], Path], name: str, keep_order: bool, data: st.DataObject
) -> None:
    records = data.draw(of_size(data.draw(st.integers(1, 6))))
    order = data.draw(st.permutations(records))
    begun = Begun(folder(), name, order[: data.draw(st.integers(0, len(order)))], keep_order)
    file = data.draw(st.sampled_from(begun.files))
    path = begun.torn(file, data.draw(st.integers(0, file.stat().st_size)))
    write(path, data.draw(st.permutations(records)), keep_order)
    check(path, records, keep_order)


COUNT, KILLS = 1500, 5
# It writes the items below a limit, which is that of all for the last writer alone: no other one can end by itself.
WRITER = f"""
import random, sys, time
from cluster.queue.runs.output import open_output
from cluster.queue.runs.record import Record
path, keep_order, seed, limit = sys.argv[1], sys.argv[2] == "True", int(sys.argv[3]), int(sys.argv[4])
dice = random.Random(seed)
with open_output(path, keep_order=keep_order, total={COUNT}) as output:
    places = [place for place in range(limit) if place + 1 not in output.done]
    dice.shuffle(places)
    for place in places:
        output.write(Record(place + 1, place, b"in %d" % place, b'"%d"\\n' % place * dice.randint(1, 30)))
        if dice.random() < 0.1:
            output.sync()
            print(len(output.done), flush=True)
    output.sync()
    while limit < {COUNT}:
        print(len(output.done), flush=True)
        time.sleep(0.01)
"""


def writer(path: str, keep_order: bool, seed: int, limit: int = COUNT) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", WRITER, path, str(keep_order), str(seed), str(limit)]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE)


@in_each_format
@in_each_order
def test_a_writer_may_be_killed_at_any_moment(tmp_path: Path, name: str, keep_order: bool) -> None:
    dice = random.Random(seed := random.randrange(2**32))
    print(f"seed {seed}")
    path = f"{tmp_path}/{name}"
    for kill in range(1, KILLS + 1):
        with writer(path, keep_order, dice.randrange(2**32), COUNT * kill // (KILLS + 1)) as process:
            assert process.stdout
            said = b"".join(process.stdout.readline() for _ in range(dice.randint(1, 20)))
            process.kill()
            said += process.stdout.read()
        assert process.returncode == -signal.SIGKILL
        with open_output(path, keep_order=keep_order, total=COUNT) as output:
            assert int(said.split()[-1]) <= len(output.done) < COUNT
    with writer(path, keep_order, seed) as process:
        process.communicate()
    assert process.returncode == 0
    found = read(path)
    assert [one[0] for one in (found if keep_order else sorted(found))] == list(range(1, COUNT + 1))
    for number, _, result, _ in found:
        text = b'"%d"' % (number - 1)
        assert result.removesuffix(b"\n").replace(text + b"\n", b"") == text
    assert not early_path(index_of(path)).exists()
    if name == "out/":
        assert len(list(Path(path).iterdir())) == COUNT + 1
