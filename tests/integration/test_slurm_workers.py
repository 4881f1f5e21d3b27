"""Workers as jobs of Slurm: what its ends cost their messages, and as many of them as the queue needs."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from scripts.slurm_keeper import Job, read_jobs
from tests.integration.test_slurm_queue import LOGIN, Queue, made
from tests.slurm.cluster import SlurmCluster
from tests.waiting import until

pytestmark = pytest.mark.engine

WORKER = """#!/bin/bash
#SBATCH --job-name={name} --mem=100 --requeue --open-mode=append --output={folder}/%A_%a.log
trap 'kill -INT $pid' TERM
. {folder}/login
export CLUSTER_WORKER_EVICTION_S=20
{folder}/code/bin/cluster_worker -u @{folder}/app/address -q work --idle 4 -- sh -c '{action}' & pid=$!
while kill -0 $pid 2>/dev/null; do wait $pid; code=$?; done
exit $code
"""

KEEPER = """#!/bin/bash
#SBATCH --mem=50 --output={folder}/keeper.log
. {folder}/login
exec {folder}/code/bin/slurm_keeper -u @{folder}/app/address -q work --max 3 --every 1 --name {name} {folder}/worker.sh
"""


@dataclass
class Workers:
    """The jobs of one name that take from a queue."""

    queue: Queue
    name: str

    def write(self, action: str) -> None:
        facts = {"folder": self.queue.folder, "name": self.name, "action": action.replace("HERE", self.queue.folder)}
        self.queue.write("login", f"export AMQP_USER={LOGIN.user} AMQP_PASSWORD={LOGIN.password}\n")
        self.queue.write("worker.sh", WORKER.format(**facts))
        self.queue.write("keeper.sh", KEEPER.format(**facts))

    def submit(self, script: str = "worker.sh") -> str:
        return self.queue.slurm(f"sbatch --parsable {self.queue.folder}/{script}").strip()

    def jobs(self) -> list[Job]:
        return read_jobs(self.queue.slurm(f"squeue -h -r -n {self.name} -o '%i|%T|%r|%k'"))

    def running(self) -> list[str]:
        return [job.id for job in self.jobs() if not job.waits]

    def started(self, count: int) -> None:
        """Wait until so many actions have begun."""
        until(lambda: len(self.queue.read("started").splitlines()) == count, f"{count} actions run")

    def ready(self) -> int:
        with self.queue.connection() as connection:
            return int(connection.channel().queue_declare("work", passive=True).method.message_count)

    def take(self) -> Any:
        with self.queue.connection() as connection:
            return connection.channel().basic_get("work", auto_ack=True)[1]


@pytest.fixture(scope="module")
def queue(slurm: SlurmCluster) -> Iterator[Queue]:
    with made(slurm) as one:
        one.start()
        one.answers()
        yield one


@pytest.fixture
def workers(queue: Queue) -> Iterator[Workers]:
    one = Workers(queue, f"test/{secrets.token_hex(4)}")
    queue.slurm(f"rm -f {queue.folder}/started {queue.folder}/open")
    yield one
    queue.slurm(f"scancel -n {one.name}")
    until(lambda: not one.jobs(), "its jobs have ended")


@pytest.mark.parametrize("end", ["scancel", "scontrol requeue"])
def test_what_slurm_ends_is_handed_back_and_not_counted(workers: Workers, end: str) -> None:
    workers.write("echo x >>HERE/started; sleep 300; exit 1")
    workers.queue.publish(b"x")
    job = workers.submit()
    workers.started(1)
    workers.queue.slurm(f"{end} {job}")
    until(lambda: workers.ready() == 1, "it is back")
    headers = workers.take().headers or {}
    assert "x-cluster-attempt" not in headers
    assert not headers.get("x-delivery-count")


def test_there_are_as_many_as_the_queue_needs(workers: Workers) -> None:
    workers.write("echo x >>HERE/started; until [ -e HERE/open ]; do sleep 0.1; done; echo x >>HERE/done")
    keeper = workers.submit("keeper.sh")
    workers.queue.publish(*[b"x"] * 7)
    workers.started(3)
    assert len(workers.jobs()) == 3
    workers.queue.slurm(f"scontrol requeue {workers.running()[0]}")
    # Slurm alone would let it wait for two minutes.
    workers.started(4)
    assert len(workers.jobs()) == 3
    workers.queue.slurm(f"touch {workers.queue.folder}/open")
    until(lambda: workers.queue.read("done").count("x") == 7, "all are done")
    until(lambda: not workers.jobs(), "idle workers have ended", 120)
    workers.queue.slurm(f"scancel -b -s TERM {keeper}")
    until(lambda: "JobState=COMPLETED" in workers.queue.slurm(f"scontrol show job {keeper}"), "it has ended with 0")
