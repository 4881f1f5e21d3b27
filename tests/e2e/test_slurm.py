"""A Slurm cluster as an ordinary user without root or Docker has it: nodes die, times run out, and no work is lost."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster import credentials
from cluster.settings import ROOT
from tests.conftest import own_settings
from tests.e2e.conftest import CommandLine
from tests.slurm.cluster import NODES, SlurmCluster
from tests.waiting import until

pytestmark = pytest.mark.engine

ITEMS = 1000
WORKERS = 6
BREAKAGE_TIMEOUT_S = 120  # for a job to be missed, requeued and begun again
RUN_TIMEOUT_S = 500


@dataclass(frozen=True)
class There:
    """`inv` on the login node, as user1 types it in a folder of the test's own."""

    slurm: SlurmCluster
    project: str

    @property
    def folder(self) -> str:
        return f"/home/user1/{self.project}"

    def write(self, name: str, text: str) -> None:
        """Write a file there; a script can be executed."""
        self.slurm(f"mkdir -p {self.folder} && cd {self.folder} && cat >{name} && chmod 755 {name}", stdin=text)

    def try_(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it and look at what comes."""
        return self.slurm.run(self._words(arguments), timeout_s=RUN_TIMEOUT_S)

    def __call__(self, *arguments: str) -> str:
        """Run it; it must succeed. What it printed on STDOUT."""
        return self.slurm(self._words(arguments), timeout_s=RUN_TIMEOUT_S)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start it, and wait for its end after what is done meanwhile; it must succeed."""
        with self.slurm.begin(self._words(arguments)) as process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise
            out, error = process.communicate(timeout=RUN_TIMEOUT_S)
            assert process.returncode == 0, f"{arguments}: exit {process.returncode}\n{out}\n{error}"

    def records(self, output: str) -> list[dict[str, Any]]:
        """What the output has so far."""
        text = self.slurm.run(f"cat {self.folder}/{output}").stdout
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def jobs(self, slug: str) -> list[tuple[str, str, str]]:
        """The jobs of an app that run or wait: (id, state, node)."""
        words = f"squeue -h -r -n {self.project}/{slug} -o '%i|%T|%N'"
        return [(job, state, node) for job, state, node in (row.split("|") for row in self.slurm(words).split())]

    def nodes(self, slug: str) -> list[str]:
        """The nodes on which an app runs."""
        return [node for _, state, node in self.jobs(slug) if state == "RUNNING"]

    def _words(self, arguments: tuple[str, ...]) -> str:
        inv = shlex.join([f"{self.slurm.checkout}/inv", *arguments])
        return f"cd {self.folder} && INVOKE_PROJECT={self.project} {inv}"


@pytest.fixture(scope="module")
def inv(slurm: SlurmCluster) -> Iterator[There]:
    """`inv` beside a queue that was deployed as a job."""
    there = There(slurm, f"test-{secrets.token_hex(4)}")
    there.write("items.txt", "".join(f"{number}\n" for number in range(1, ITEMS + 1)))
    there.write("double.sh", '#!/bin/sh\nread x; sleep "${1:-0}"; echo $((x * 2))\n')
    there("queue.deploy", "--at", "slurm")
    yield there
    slurm("scancel --user user1")
    slurm(f"rm -rf {there.folder} {slurm.checkout}/.run/slurm/{there.project}")


def first(count: int) -> str:
    """The first items, as a file has them."""
    return "".join(f"{number}\n" for number in range(1, count + 1))


def test_the_queue_runs_as_a_job_and_status_shows_it(inv: There) -> None:
    ((_, state, node),) = inv.jobs("amqp")
    assert (state, node in NODES) == ("RUNNING", True)
    (app,) = json.loads(inv("status", "--at", "slurm", "--json"))["apps"]
    assert (app["id"], [one["state"] for one in app["instances"]]) == ("/amqp", ["running"])


def test_an_action_in_r_has_a_result_for_each_line(inv: There) -> None:
    inv.write("params.csv", "alpha,n\n1,1000\n2,1000\n0.5,1000\n")
    inv(
        "map", "--at", "slurm", "-q", "simulations", "--file", "params.csv", "--header-row",
        "--action", "mc.r {alpha} {n}", "--output", "means.jsonl", "--workers", "2", "--keep-order",
    )  # fmt: skip
    means = [float(record["result"]) for record in inv.records("means.jsonl")]
    assert means == pytest.approx([1 / 2, 1 / 3, 2 / 3], abs=0.1)
    inv("worker.stop", "--at", "slurm", "-q", "simulations")
    assert inv.jobs("worker-simulations") == []


def test_every_item_has_one_result_whatever_breaks(inv: There, slurm: SlurmCluster) -> None:
    def reaches(count: int) -> None:
        until(lambda: len(inv.records("doubled.jsonl")) >= count, f"{count} results", BREAKAGE_TIMEOUT_S)

    command = ["--file", "items.txt", "--action", "./double.sh 0.3", "--output", "doubled.jsonl"]
    with inv.running("map", "--at", "slurm", *command, "--workers", str(WORKERS)) as run:
        reaches(50)
        slurm.restart_controller()
        reaches(150)
        move_the_queue(inv, slurm)
        reaches(len(inv.records("doubled.jsonl")) + 50)
        (queue,) = inv.nodes("amqp")
        victim = next(node for node in inv.nodes("worker-myqueue") if node != queue)
        slurm.kill_node(victim)
        assert run.poll() is None, "it was over before the node died"
    slurm.start_node(victim)
    records = inv.records("doubled.jsonl")
    assert sorted(record["item"] for record in records) == list(range(1, ITEMS + 1))
    assert {record["item"]: int(record["result"]) for record in records} == {
        number: 2 * number for number in range(1, ITEMS + 1)
    }
    inv("worker.stop", "--at", "slurm", "-q", "myqueue")


def move_the_queue(inv: There, slurm: SlurmCluster) -> None:
    """Requeue the queue's job where its node takes none, so that it runs on another."""
    ((job, _, before),) = inv.jobs("amqp")
    slurm.login.run(f"scontrol update nodename={before} state=drain reason=test")
    try:
        slurm(f"scontrol requeue {job}")
        until(lambda: [node for node in inv.nodes("amqp") if node != before], "the queue elsewhere", BREAKAGE_TIMEOUT_S)
    finally:
        slurm.login.run(f"scontrol update nodename={before} state=resume")


def test_a_time_limit_costs_no_attempt(inv: There, slurm: SlurmCluster) -> None:
    inv.write("limited.txt", first(30))
    action = "./marked.sh"
    inv.write(action, f'#!/bin/sh\nread x; echo "$x" >>{inv.folder}/marks; sleep 3; echo $((x * 2))\n')
    how = ["--at", "slurm", "-q", "limited", "--action", action, "--attempts", "1"]
    inv("worker.deploy", *how, "--instances", "1", "--time", "1")
    inv("map", *how, "--file", "limited.txt", "--output", "limited.jsonl")
    records = inv.records("limited.jsonl")
    assert {record["item"]: record["result"].strip() for record in records} == {
        number: str(2 * number) for number in range(1, 31)
    }
    assert {record["attempts"] for record in records} == {1}
    assert len(slurm(f"cat {inv.folder}/marks").split()) == 30  # each was begun once: there was time to finish
    assert sum(record["seconds"] for record in records) > 60  # more than one job could do
    assert [state for _, state, _ in inv.jobs("worker-limited")] == ["RUNNING"]
    inv("worker.stop", "--at", "slurm", "-q", "limited")


def test_a_time_limit_shorter_than_an_actions_is_refused(inv: There) -> None:
    done = inv.try_(
        "worker.deploy", "--at", "slurm", "-q", "short", "--action", "./double.sh", "--time", "1", "--timeout", "120"
    )
    assert done.returncode == 1
    assert "--time" in done.stderr
    assert "--timeout" in done.stderr
    assert inv.jobs("worker-short") == []


def test_what_finds_no_room_waits_and_is_no_failure(inv: There) -> None:
    done = inv.try_("worker.deploy", "--at", "slurm", "-q", "many", "--action", "./double.sh", "--instances", "40")
    assert done.returncode == 0, done.stderr
    assert "Resources" in done.stderr or "Priority" in done.stderr
    apps = {app["id"]: app["instances"] for app in json.loads(inv("status", "--at", "slurm", "--json"))["apps"]}
    states = [one["state"] for one in apps["/worker-many"]]
    assert len(states) == 40
    assert set(states) == {"running", "waiting"}
    inv("worker.scale", "--at", "slurm", "-q", "many", "--instances", "2")
    until(lambda: [state for _, state, _ in inv.jobs("worker-many")] == ["RUNNING"] * 2, "two workers")
    inv("worker.stop", "--at", "slurm", "-q", "many")


def test_another_user_gets_in_nowhere(inv: There, slurm: SlurmCluster) -> None:
    inv("worker.deploy", "--at", "slurm", "-q", "private", "--action", "./double.sh", "--instances", "1")
    shared = f"{slurm.checkout}/.run/slurm/{inv.project}"
    (queue,) = inv.nodes("amqp")
    (worker,) = inv.nodes("worker-private")
    password = json.loads(slurm(f"cat {slurm.checkout}/.secrets/{inv.project}-queue.json"))["password"]
    for node in ("login", queue, worker):
        assert slurm.run(f"ls {shared}", "user2", node).returncode != 0
        seen = slurm.run(SEEN, "user2", node).stdout
        assert "beam.smp" in seen or node != queue
        assert password not in seen
    assert password not in slurm("scontrol show jobs; squeue -o %all", "user2")
    ports = dict(line.split() for line in slurm(f"cat {shared}/apps/amqp/ports").splitlines())
    assert listening(slurm, queue) == {port_of(address) for address in ports.values()}
    for node, host in (("login", queue), (queue, "127.0.0.1")):
        for user in ("guest", "user2", "cluster"):
            asks = ASKS.format(user=user, address=f"{host}:{port_of(ports['management'])}")
            assert slurm(f"python3 -c {shlex.quote(asks)}", "user2", node) == "401\n"
    inv("worker.stop", "--at", "slurm", "-q", "private")


# All that a user sees of others' processes.
SEEN = "ps -eo args; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null"
ASKS = """
import base64, urllib.error, urllib.request
login = base64.b64encode(b"{user}:guest").decode()
try:
    asked = urllib.request.Request("http://{address}/api/overview", headers={{"Authorization": "Basic " + login}})
    print(urllib.request.urlopen(asked).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def listening(slurm: SlurmCluster, node: str) -> set[int]:
    """The ports of a node that others can connect to, beside those of the machine itself."""
    rows = slurm.machines[node].run("ss -H -ltn").splitlines()
    addresses = [row.split()[3] for row in rows]
    open_to_all = [address for address in addresses if not address.startswith(("127.", "[::1]"))]
    return {port_of(address) for address in open_to_all} - OF_THE_MACHINE


OF_THE_MACHINE = {22, 6818}  # sshd, slurmd


def test_a_laptop_reaches_it_all_through_ssh(slurm: SlurmCluster, tmp_path: Path) -> None:
    line = CommandLine(own_settings(tmp_path))
    line.environ |= {"HOME": str(tmp_path), "INVOKE_AGENTS_SSH_CONFIG": str(slurm.ssh_config("user1"))}
    line.environ.pop("SSH_AUTH_SOCK", "")
    at = ["--at", f"slurm:user1@{slurm.login.ip}"]
    (tmp_path / "double.sh").write_text("#!/bin/sh\nread x; echo $((x * 2))\n")
    (tmp_path / "double.sh").chmod(0o755)
    (tmp_path / "items.txt").write_text(first(20))
    output = tmp_path / "doubled.jsonl"
    try:
        line("queue.deploy", *at)
        line(
            "map", *at, "--file", str(tmp_path / "items.txt"), "--output", str(output), "--workers", "2",
            "--action", os.path.relpath(tmp_path / "double.sh", ROOT), "--keep-order",
        )  # fmt: skip
        results = [json.loads(row)["result"] for row in output.read_text().splitlines()]
        assert [int(result) for result in results] == [2 * number for number in range(1, 21)]
        apps = {app["id"]: len(app["instances"]) for app in json.loads(line("status", *at, "--json"))["apps"]}
        assert apps == {"/amqp": 1, "/worker-myqueue": 2}
        line("worker.stop", *at, "-q", "myqueue")
        line("queue.stop", *at)
        assert slurm(f"squeue -h -o %j | grep {line.settings.project} || true") == ""
    finally:
        for kept in credentials.SECRETS.glob(f"{line.settings.project}-*"):
            kept.unlink()
        slurm(f"scancel --user user1 && rm -rf .cluster/{line.settings.project}")
