"""`inv map` as a process, beside real workers and a real broker: each item has one record, whatever happens."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cluster.operations.brokers import Broker as BrokerMeant
from cluster.operations.map import _left
from cluster.queue import workers
from cluster.queue.publishing.link import Target
from cluster.queue.runs import run
from cluster.queue.runs.halt import Halt
from cluster.queue.runs.items import chosen_items
from cluster.queue.runs.output import open_output
from cluster.queue.runs.run import Around, Run, Summary
from cluster.queue.runs.sidecar import Sidecar, Wanted, sidecar_of
from cluster.settings import ROOT
from scripts.amqp.broker import parameters
from scripts.amqp.management import management_of
from scripts.amqp.queues import results_queue
from scripts.background import in_background
from tests.conftest import Broker
from tests.integration.worker_rig import Rig
from tests.waiting import until

pytestmark = pytest.mark.broker

CAT = "cat"


class Mapping:
    """Runs `inv map` for the rig's queue, in a folder of its own."""

    def __init__(self, rig: Rig, tmp: Path) -> None:
        self.rig, self.tmp = rig, tmp
        self.items = tmp / "items.txt"
        self.output = tmp / "out.jsonl"
        self.action = CAT
        self.marks = tmp / "marks"

    def of(self, count: int) -> None:
        self.items.write_text("".join(f"{number}\n" for number in range(1, count + 1)))

    def marking(self, more: str = "") -> str:
        """An action that leaves a mark for each run of an item, and gives it back."""
        return self.rig.action(f'read x; echo "$x" >> {self.marks}; {more}\necho "$x"')

    def command(self, *flags: str, file: str = "") -> list[str]:
        where = ["-u", self.rig.url, "-q", self.rig.queue, "--output", str(self.output), "--action", self.action]
        return [sys.executable, str(ROOT / "tasks.py"), "map", "--file", file or str(self.items), *where, *flags]

    def run(self, *flags: str, file: str = "", stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.command(*flags, file=file), input=stdin, capture_output=True, timeout=120, check=False
        )

    def start(self, *flags: str, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(*flags), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
        )

    def records(self) -> list[dict[str, Any]]:
        """The whole records that are in the output now."""
        text = self.output.read_bytes() if self.output.exists() else b""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")]

    def count(self) -> int:
        """How many records are in the output now."""
        return self.output.read_bytes().count(b"\n") if self.output.exists() else 0

    def numbers(self) -> list[int]:
        return sorted(record["item"] for record in self.records())

    @property
    def results(self) -> str:
        """The queue of results of the run that is under way."""
        return results_queue(self.rig.queue, self.state["run"])

    @property
    def state(self) -> dict[str, Any]:
        """What the sidecar says."""
        # Behind it may be the rest of a longer text.
        return dict(json.JSONDecoder().raw_decode(sidecar_of(str(self.output)).read_text())[0])


@pytest.fixture
def mapping(rig: Rig, tmp_path: Path) -> Iterator[Mapping]:
    one = Mapping(rig, tmp_path)
    yield one
    if sidecar_of(str(one.output)).exists():
        with rig.channel() as channel:
            channel.queue_delete(one.results)


def test_a_run_waits_while_its_queue_is_paused(mapping: Mapping, rig: Rig) -> None:
    mapping.of(50)
    rig.worker("-j", "2", CAT)
    assert workers.pause(rig.url, rig.queue)
    with mapping.start(stderr=subprocess.PIPE) as started:
        assert started.stderr
        until(lambda: rig.ready() > 0, "it publishes")
        until(lambda: b"queue.resume" in started.stderr.readline(), "it says so")
        assert (mapping.count(), started.poll()) == (0, None)
        assert workers.resume(rig.url, rig.queue)
        assert started.wait(60) == 0
    assert mapping.numbers() == list(range(1, 51))


def test_each_item_has_its_result_and_nothing_is_left(mapping: Mapping, rig: Rig) -> None:
    mapping.of(300)
    rig.worker("-j", "2", CAT)
    done = mapping.run("--json")
    assert done.returncode == 0, done.stderr
    assert {record["item"]: record["result"] for record in mapping.records()} == {n: f"{n}" for n in range(1, 301)}
    assert json.loads(done.stdout)["done"] == 300
    names = {one["name"] for one in rig.api("GET", "queues/%2f")}
    assert not [name for name in names if name.startswith(results_queue(rig.queue, ""))]
    again = mapping.run()
    assert (again.returncode, len(mapping.records())) == (0, 300)


def test_failures_stand_in_the_output_and_are_run_again(mapping: Mapping, rig: Rig) -> None:
    mapping.of(20)
    good = rig.tmp / "good"
    rig.worker(rig.action(f'read x; [ "$x" -ne 7 ] || [ -e {good} ] || {{ echo why >&2; exit 65; }}; echo "$x"'))
    failed = mapping.run()
    assert failed.returncode == 2, failed.stderr
    (record,) = [record for record in mapping.records() if record.get("reason")]
    assert (record["item"], record["input"], record["exit"], record["stderr"]) == (7, "7", 65, "why\n")
    good.touch()
    assert mapping.run("--retry-failed").returncode == 0
    assert mapping.numbers() == list(range(1, 21))
    assert not [record for record in mapping.records() if "reason" in record]


def test_columns_reach_the_action_as_they_are(mapping: Mapping, rig: Rig) -> None:
    values = [b"a b", b"'\"$(touch x)`", b"\xff\xfe", b"--", b"*", b"", "ü".encode()]
    mapping.items = mapping.tmp / "items.tsv"
    mapping.items.write_bytes(b"name\tn\n" + b"".join(b"%b\t%d\n" % (value, n) for n, value in enumerate(values)))
    shown = rig.action('printf "%s|" "$@"; echo "$AMQP_ITEM"', "shown")
    rig.worker(shown, "{name}", "n={2}", "{#}")
    mapping.action = f"{shown} {{name}} n={{2}} {{#}}"
    mapping.output = mapping.tmp / "out"
    mapping.output.mkdir()
    done = mapping.run("--name", "{n}.txt")
    assert done.returncode == 0, done.stderr
    for n, value in enumerate(values):
        assert (mapping.output / f"{n}.txt").read_bytes() == b"%b|n=%d|%d|%d\n" % (value, n, n + 2, n + 2)


def test_the_order_of_the_items_can_be_kept(mapping: Mapping, rig: Rig) -> None:
    mapping.items.write_text("n\n0.2\n0\n0.1\n0\n")
    mapping.output = mapping.tmp / "out.csv"
    rig.worker("-j", "4", rig.action('read x; sleep "$x"; echo "$x"'))
    assert mapping.run("--keep-order", "--header-row", "--colsep", ",").returncode == 0
    with mapping.output.open(newline="") as file:
        assert [(row["item"], row["n"], row["result"]) for row in csv.DictReader(file)] == [
            ("2", "0.2", "0.2"), ("3", "0", "0"), ("4", "0.1", "0.1"), ("5", "0", "0"),
        ]  # fmt: skip


KILLS = 20
# How many items more may be done after each kill: those that stop it from ending before the last one.
STEP = 80
# So many kills come soon after there are results, when perhaps not all is published.
EARLY_KILLS = 4


def test_a_run_that_is_killed_again_and_again_has_each_item_once(mapping: Mapping, rig: Rig) -> None:
    dice = random.Random(seed := random.randrange(2**32))
    print(f"seed {seed}")
    count, limit = (KILLS + 5) * STEP, mapping.tmp / "limit"
    mapping.items.write_text("".join(f"{number} {'x' * 200}\n" for number in range(1, count + 1)))
    mapping.action = rig.action(
        f'read x _; until [ "$x" -le "$(cat {limit})" ]; do sleep 0.02; done; echo "$x" >> {mapping.marks}; echo "$x"'
    )
    rig.worker("-j", "2", "--prefetch", "20", mapping.action)
    in_doubt_from = []
    for kill in range(1, KILLS + 1):
        draft = mapping.tmp / "draft"
        draft.write_text(f"{kill * STEP}")
        draft.replace(limit)
        before = mapping.count()
        is_early = kill <= EARLY_KILLS
        reached = before + dice.randint(1, 10 if is_early else STEP)
        with mapping.start() as process:
            until(lambda at=reached, one=process: mapping.count() >= at or one.poll() is not None, "so much is done")
            if not is_early:
                until(lambda one=process: mapping.state["published"] or one.poll() is not None, "all are published")
            process.kill()
        assert process.returncode == -signal.SIGKILL, f"kill {kill} came too late"
        assert before < mapping.count() < count
        if not mapping.state["published"]:
            in_doubt_from.append(mapping.state["number"])
    limit.write_text(f"{count}")
    done = mapping.run()
    assert done.returncode == 0, done.stderr
    assert [(one["item"], one["result"]) for one in sorted(mapping.records(), key=lambda one: int(one["item"]))] == [
        (number, f"{number}\n") for number in range(1, count + 1)
    ]
    # The sidecar notes ten times a second up to where all is published. What was sent after the last note of a process
    # that is killed is in doubt: it is sent again. Nothing else is, and nothing once all is noted as published.
    runs = Counter(map(int, mapping.marks.read_text().split()))
    assert len(runs) == count
    assert len(in_doubt_from) <= EARLY_KILLS
    allowed = {number: 1 + sum(number >= first for first in in_doubt_from) for number in runs}
    assert {number: times for number, times in runs.items() if times > allowed[number]} == {}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGHUP, 129)], ids=["INT", "HUP"])
def test_an_interrupted_run_goes_on(mapping: Mapping, rig: Rig, number: signal.Signals, code: int) -> None:
    mapping.of(100)
    mapping.action = mapping.marking("sleep 0.01")
    rig.worker(mapping.action)
    process = mapping.start(stderr=subprocess.PIPE)
    until(lambda: len(mapping.records()) > 5, "it has begun")
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert len(mapping.records()) < 100
    assert f"--run {mapping.results.rpartition('.')[2]} " in said.decode().splitlines()[-1]
    assert mapping.run().returncode == 0
    assert mapping.numbers() == list(range(1, 101))
    assert Counter(mapping.marks.read_text().split()).total() == 100


def known_to_be_lost(mapping: Mapping, begins: Callable[[], None] = lambda: None) -> Summary:
    """Run the map in this process, where the broker's management API tells what is left."""
    items = chosen_items(
        str(mapping.items), "", contents=False, null=False, skip_empty=False, colsep=None, header_row=False,
        action=[CAT], spool=mapping.tmp / "spool", say=print,
    )  # fmt: skip
    url, queue, path = mapping.rig.url, mapping.rig.queue, str(mapping.output)
    management = management_of(parameters(url), mapping.rig.management)
    around = Around(left=partial(_left, BrokerMeant(url, lambda: management), queue))
    with closing(Sidecar(path)) as sidecar, closing(open_output(path)) as output:
        if not sidecar.state:
            sidecar.begin(Wanted("", "", items.total, "", queue, "", "", keep_order=False))
        one = Run(items, output, sidecar, Target(url, queue), around, Halt(), slots=1, detach=False, say=print)
        begins()
        return one.go(lambda _: None)


@pytest.mark.parametrize("times", [1, 2])
def test_items_that_are_lost_are_published_once_more_and_then_reported(
    mapping: Mapping, rig: Rig, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr(run, "_LOOKS_APART_S", 6.0)  # this broker's figures are younger than others'
    mapping.of(30)
    rig.worker(rig.action(f'read x; until [ -e {rig.tmp}/open ]; do sleep 0.02; done; echo "$x"'))
    losses = iter(range(times))

    def lose() -> None:
        """Lose what waits, once all is published, and let the worker go on."""
        while next(losses, None) is not None:
            until(lambda: rig.ready() >= 20, "all are published")
            with rig.channel() as channel:
                channel.queue_purge(rig.queue)
            (rig.tmp / "open").touch()

    losing: list[Future[None]] = []
    summary = known_to_be_lost(mapping, lambda: losing.append(in_background(lose)))
    losing[0].result(60)
    assert mapping.numbers() == list(range(1, 31))
    failed = [record for record in mapping.records() if "reason" in record]
    assert (summary.failed, bool(failed)) == (len(failed), times == 2)
    assert {record["input"] for record in failed} <= {str(n) for n in range(1, 31)}


def test_a_cancelled_run_ends_and_begins_anew_with_what_is_missing(mapping: Mapping, rig: Rig) -> None:
    mapping.of(50)
    mapping.action = mapping.marking(f"until [ -e {rig.tmp}/open ]; do sleep 0.02; done")
    rig.worker(mapping.action)
    process = mapping.start()
    until(lambda: mapping.marks.exists() and rig.ready() > 30, "it has begun")
    with rig.channel() as channel:
        channel.queue_delete(mapping.results)
    assert process.wait(60) == 1
    (rig.tmp / "open").touch()
    until(lambda: rig.ready() == 0, "the worker has dropped the rest")
    assert len(mapping.marks.read_text().split()) < 5
    assert mapping.run().returncode == 0
    assert mapping.numbers() == list(range(1, 51))


def test_what_others_send_to_the_queue_of_results_is_dropped(mapping: Mapping, rig: Rig) -> None:
    mapping.of(3)
    rig.worker(rig.action(f"{rig.gate.wait}; cat"))
    process = mapping.start()
    rig.gate.started()
    for text in ("2.1.0.1", "1.0.999999999.1", "1.0.0.1.00000000", "-1", ""):
        rig.publish(b"foreign", queue=mapping.results, correlation_id=text)
    until(lambda: not rig.ready(mapping.results), "they were taken")
    rig.gate.open()
    assert process.wait(60) == 0
    assert {record["item"]: record["result"] for record in mapping.records()} == {1: "1", 2: "2", 3: "3"}


def test_a_run_is_cancelled_while_it_is_under_way(mapping: Mapping, rig: Rig, broker: Broker) -> None:
    mapping.of(50)
    mapping.action = mapping.marking(rig.gate.wait)
    rig.worker("--prefetch", "5", mapping.action)
    process = mapping.start()
    rig.gate.started()
    until(lambda: mapping.state["published"] and rig.ready() > 30, "all are published")
    waiting, run = rig.ready(), mapping.state["run"]
    ports = broker.settings.queue
    environ = {"INVOKE_QUEUE_PORT": str(ports.port), "INVOKE_QUEUE_MANAGEMENT_PORT": str(ports.management_port)}

    def cancel(*flags: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "tasks.py"), "map.cancel", "--run", run, *flags]
        return subprocess.run(
            command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False
        )

    # The management API has the consumer of the results in its figures a little later.
    until(lambda: rig.api("GET", f"queues/%2f/{mapping.results}").get("consumers"), "it is known to be collected")
    refused = cancel()
    assert (refused.returncode, "--yes" in refused.stderr) == (1, True), refused.stderr
    assert (process.poll(), rig.ready()) == (None, waiting)
    done = cancel("--yes")
    assert (done.returncode, f"{waiting} items taken off" in done.stderr) == (0, True), done.stderr
    assert process.wait(60) == 1
    assert (rig.ready(), mapping.state["run"]) == (0, "")
    rig.gate.open()
    assert mapping.run().returncode == 0
    assert mapping.numbers() == list(range(1, 51))
    assert max(Counter(mapping.marks.read_text().split()).values()) <= 2, "only what was in a worker's hands ran twice"


def test_a_changed_action_is_refused_by_its_name(mapping: Mapping, rig: Rig) -> None:
    mapping.of(3)
    rig.worker(CAT)
    assert mapping.run().returncode == 0
    before = mapping.output.read_bytes()
    mapping.action = "tac"
    refused = mapping.run()
    assert refused.returncode == 1
    assert all(word in refused.stderr.decode() for word in ("--action", "'tac'", "'cat'", "--restart"))
    assert mapping.output.read_bytes() == before


def test_a_run_can_be_left_and_collected_later(mapping: Mapping, rig: Rig) -> None:
    mapping.of(40)
    rig.worker(CAT)
    assert mapping.run("--detach").returncode == 0
    until(lambda: rig.ready() == 0, "the workers have done it")
    assert mapping.run().returncode == 0
    assert mapping.numbers() == list(range(1, 41))


@pytest.mark.parametrize("flags", [("--halt", "3"), ()], ids=["asked", "hopeless"])
def test_a_run_is_given_up(mapping: Mapping, rig: Rig, flags: tuple[str, ...]) -> None:
    mapping.of(2000)
    mapping.action = mapping.marking("exit 1")
    rig.worker("--attempts", "1", "--breaker", "0", mapping.action)
    assert mapping.run(*flags).returncode == 2
    assert len(mapping.marks.read_text().split()) < 2000
    until(lambda: rig.ready() == 0, "nothing of it is left")


def test_two_runs_share_the_workers_and_mix_nothing(mapping: Mapping, rig: Rig, tmp_path: Path) -> None:
    mapping.of(150)
    other = Mapping(rig, tmp_path / "other")
    other.tmp.mkdir()
    other.of(100)
    rig.worker("-j", "2", CAT)
    both = [mapping.start(), other.start()]
    assert [process.wait(60) for process in both] == [0, 0]
    assert (mapping.numbers(), other.numbers()) == (list(range(1, 151)), list(range(1, 101)))


def test_stdin_is_read_once(mapping: Mapping, rig: Rig) -> None:
    rig.worker(CAT)
    assert mapping.run("--detach", file="-", stdin=b"one\ntwo\n").returncode == 0
    assert mapping.run(file="-").returncode == 0
    assert sorted(record["result"] for record in mapping.records()) == ["one", "two"]


@pytest.mark.parametrize("flags", [(), ("--restart",)])
def test_a_look_at_items_of_stdin_leaves_nothing(mapping: Mapping, flags: tuple[str, ...]) -> None:
    before = sorted(mapping.tmp.iterdir())
    shown = mapping.run("--dry-run", *flags, file="-", stdin=b"1\n2\n")
    assert (shown.returncode, shown.stdout) == (0, b"cat\ncat\n"), shown.stderr
    assert sorted(mapping.tmp.iterdir()) == before


def test_items_of_stdin_go_on_after_an_interruption(mapping: Mapping, rig: Rig) -> None:
    mapping.action = mapping.marking("sleep 0.01")
    rig.worker(mapping.action)
    given = "".join(f"{number}\n" for number in range(1, 101)).encode()
    process = subprocess.Popen(
        mapping.command(file="-"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert process.stdin
    process.stdin.write(given)
    process.stdin.close()
    until(lambda: mapping.count() > 5, "it has begun")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    before = mapping.count()
    refused = mapping.run(file="-", stdin=given + b"101\n")
    assert (refused.returncode, f"{mapping.output}.stdin".encode() in refused.stderr) == (1, True), refused.stderr
    assert 5 < mapping.count() == before < 100
    assert mapping.run("--detach", file="-", stdin=given).returncode == 0
    assert mapping.run(file="-").returncode == 0
    assert mapping.numbers() == list(range(1, 101))
    assert Counter(mapping.marks.read_text().split()).total() == 100


def test_changed_items_are_refused_unless_only_failed_ones_have_changed(mapping: Mapping, rig: Rig) -> None:
    mapping.items.write_text("1\nx\n3\n")
    rig.worker(rig.action('read x; [ "$x" != x ] || exit 65; echo "$x"'))
    assert mapping.run().returncode == 2
    before = mapping.output.read_bytes()
    mapping.items.write_text("1\n2\n3\n")
    refused = mapping.run()
    assert (refused.returncode, mapping.output.read_bytes()) == (1, before)
    assert str(mapping.items).encode() in refused.stderr
    assert mapping.run("--retry-failed").returncode == 0
    mapping.items.write_text("1\n2\n4\n")
    assert mapping.run("--retry-failed").returncode == 1
    assert mapping.run("--restart").returncode == 0
    assert sorted(record["result"] for record in mapping.records()) == ["1\n", "2\n", "4\n"]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "new/"])
def test_a_first_try_that_published_nothing_is_in_nobody_s_way(mapping: Mapping, rig: Rig, name: str) -> None:
    mapping.of(3)
    mapping.output = f"{mapping.tmp}/{name}"  # type: ignore[assignment]
    before = list(mapping.tmp.iterdir())
    assert mapping.run("--header-row", "--colsep", ",").returncode == 1, "no worker takes messages"
    assert list(mapping.tmp.iterdir()) == before
    rig.worker(CAT)
    assert mapping.run().returncode == 0


def test_one_item_is_not_said_to_be_several(mapping: Mapping, rig: Rig) -> None:
    mapping.of(1)
    good = rig.tmp / "good"
    rig.worker(rig.action(f"[ -e {good} ] || exit 65"))
    said = [mapping.run(*flags).stderr for flags in (("--dry-run",), (), (), ("--retry-failed", "--halt", "1"))]
    good.touch()
    said += [mapping.run(*flags).stderr for flags in (("--retry-failed",), (), ("--restart", "--detach"), ())]
    for text in said:
        assert b"1 item" in text
        assert not re.search(rb"\b1 (items|results|workers|messages)|again.*them|them.*again", text), text


def test_an_output_of_something_else_stays(mapping: Mapping) -> None:
    mapping.of(1)
    mapping.output.write_text("mine\n")
    refused = mapping.run()
    assert (refused.returncode, mapping.output.read_text()) == (1, "mine\n")
    assert str(mapping.output).encode() in refused.stderr


@pytest.mark.parametrize("what", ["file", "folder", "input", "link"])
def test_a_new_beginning_deletes_nothing_that_no_run_wrote(mapping: Mapping, what: str) -> None:
    mapping.of(1)
    if what in ("folder", "input"):
        mapping.output = mapping.tmp / "mine" if what == "folder" else mapping.items
    kept = {"file": mapping.output, "folder": mapping.output / "precious"}.get(what, mapping.items)
    kept.parent.mkdir(exist_ok=True)
    if what == "link":
        mapping.output.symlink_to(mapping.items)
    elif what != "input":
        kept.write_text("mine\n")
    before = kept.read_text()
    refused = mapping.run("--restart")
    assert (refused.returncode, kept.read_text()) == (1, before)
    assert str(mapping.output).encode() in refused.stderr


@pytest.mark.parametrize("flags", [(), ("--restart",)])
def test_what_looks_like_kept_items_is_not_touched(mapping: Mapping, flags: tuple[str, ...]) -> None:
    kept = mapping.tmp / f"{mapping.output.name}.stdin"
    kept.write_text("mine\n")
    refused = mapping.run(*flags, file="-", stdin=b"1\n")
    assert (refused.returncode, kept.read_text()) == (1, "mine\n")
    assert str(kept).encode() in refused.stderr


@pytest.mark.parametrize("flag", ["--restart", "--retry-failed"])
def test_nothing_is_deleted_where_no_worker_is_there(mapping: Mapping, rig: Rig, flag: str) -> None:
    mapping.items.write_text("1\nx\n")
    worker = rig.worker(rig.action('read x; [ "$x" != x ] || exit 65; echo "$x"'))
    assert mapping.run().returncode == 2
    before = mapping.output.read_bytes()
    worker.stop()
    refused = mapping.run(flag)
    assert (refused.returncode, mapping.output.read_bytes()) == (1, before), refused.stderr


def test_a_new_beginning_ends_the_run_before_it(mapping: Mapping, rig: Rig) -> None:
    mapping.of(40)
    mapping.action = mapping.marking(f"until [ -e {rig.tmp}/open ]; do sleep 0.02; done")
    rig.worker(mapping.action)
    assert mapping.run("--detach").returncode == 0
    first = mapping.results
    (rig.tmp / "open").touch()
    mapping.of(30)
    done = mapping.run("--restart")
    assert (done.returncode, mapping.numbers()) == (0, list(range(1, 31))), done.stderr
    assert first not in {one["name"] for one in rig.api("GET", "queues/%2f")}


def test_a_new_beginning_takes_new_items_from_stdin(mapping: Mapping, rig: Rig) -> None:
    rig.worker(CAT)
    assert mapping.run(file="-", stdin=b"one\ntwo\n").returncode == 0
    assert mapping.run("--restart", file="-", stdin=b"three\n").returncode == 0
    assert [record["result"] for record in mapping.records()] == ["three"]
    assert mapping.run(file="-").returncode == 0


def test_an_output_that_is_replaced_meanwhile_is_said_and_made_whole(
    mapping: Mapping, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_LOOKS_APART_S", 6.0)  # this broker's figures are younger than others'
    mapping.of(200)
    mapping.action = mapping.marking("sleep 0.01")
    rig.worker("-j", "2", mapping.action)
    process = mapping.start()
    until(lambda: len(mapping.records()) > 20, "it has begun")
    subprocess.run(["sed", "-i", "1d", str(mapping.output)], check=True)
    assert process.wait(60) == 1
    known_to_be_lost(mapping)
    assert mapping.numbers() == list(range(1, 201))
    assert not [record for record in mapping.records() if "reason" in record]


def test_a_restart_of_the_broker_loses_nothing(own_broker: Broker, tmp_path: Path, queue_name: str) -> None:
    rig = Rig(own_broker.url, own_broker.management, queue_name, tmp_path)
    mapping = Mapping(rig, tmp_path)
    mapping.of(400)
    mapping.action = mapping.marking("sleep 0.01")
    rig.worker("-j", "2", mapping.action)
    process = mapping.start()
    until(lambda: len(mapping.records()) > 50, "it has begun")
    own_broker.kill()
    own_broker.start()
    assert process.wait(120) == 0
    assert mapping.numbers() == list(range(1, 401))
    rig.close()


def test_a_worker_that_is_killed_costs_no_item(mapping: Mapping, rig: Rig) -> None:
    mapping.of(200)
    mapping.action = mapping.marking("sleep 0.01")
    first = rig.worker("-j", "2", mapping.action)
    process = mapping.start()
    until(lambda: len(mapping.records()) > 20, "it has begun")
    rig.worker("-j", "2", mapping.action)
    first.kill()
    assert process.wait(60) == 0
    assert mapping.numbers() == list(range(1, 201))
