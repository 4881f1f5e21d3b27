"""The program slurm_keeper: keeps as many jobs with workers in Slurm as the messages of a queue need."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

if not __package__:  # started as a file, which has the wrong folder on its path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import streams
from scripts.amqp.work import Work, work_of
from scripts.backoff import growing_s
from scripts.errors import ClusterError, ServiceAway
from scripts.flags import Parser, number_of
from scripts.one_line import one_line
from scripts.worker.options import add_queue

_ABOUT = """Keep as many jobs as the messages of a queue need: submit SCRIPT, one worker a job, while messages wait, and
cancel jobs that have not begun when no more are needed. What runs is never ended: idle workers end by themselves
(cluster_worker --idle)."""

_MORE = """Jobs that wait after Slurm has requeued them are started at once. Where the jobs end and the work gets no
less, new ones are submitted after longer and longer pauses. No job is submitted while the queue is paused.

user and password: AMQP_USER, and AMQP_PASSWORD_FILE or AMQP_PASSWORD

A broker or a Slurm that is away is said once, and asked again. exit codes: 0 told to end, 64 wrong usage
"""

# A site's MaxArraySize is 1,001 mostly; and so many ids have room in one command line.
_MOST_AT_ONCE = 1000
_COMMAND_TIMEOUT_S = 60.0

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 30.0, 600.0

# In a queue that was not there at the last look messages wait for a minute at most, if it is there now.
_ALL_EVERY_STEPS = 20

# As squeue has them; it shows no others of jobs that have not ended, but for a moment.
_WAITS = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
_RUNS = {"RUNNING", "CONFIGURING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING"}

# Slurm's reason of a job that it has requeued by itself; for two minutes.
_LATER = "BeginTime"

# Of this job, and of no other.
_OUR_OWN = ("SLURM_", "CLUSTER_", "AMQP_", "MESOS_TASK_ID", "MARATHON_APP_ID")


@dataclass(frozen=True)
class Terms:
    """The jobs that may be there: `least` always, `most` at any time; each takes `slots` messages at once."""

    slots: int
    least: int
    most: int


@dataclass(frozen=True)
class Job:
    """A job that has not ended, as squeue shows it."""

    id: str
    state: str
    reason: str

    @property
    def waits(self) -> bool:
        """True while it has no node."""
        return self.state in _WAITS


@dataclass(frozen=True)
class Step:
    """The next change: so many jobs are submitted, or these that wait are cancelled."""

    submit: int = 0
    cancel: tuple[str, ...] = ()


def read_jobs(text: str, mark: str = "") -> list[Job]:
    """Read what squeue prints of jobs with this mark; those that are about to end are left out."""
    rows = [line.split("|", 3) for line in text.splitlines()]
    found = [Job(*row[:3]) for row in rows if len(row) > 3 and row[3].startswith(mark)]
    return [job for job in found if job.state in _WAITS | _RUNS]


def wanted(work: Work, running: int, terms: Terms) -> int:
    """Return how many jobs are to be there, of which `running` have begun.

    While messages are ready all workers that take any are busy. Others of the jobs that have begun are about to take
    some. Where none is ready, workers that are there will have time for those that come later.
    """
    busy = min(work.consumers, running) if work.ready else 0
    left = 0 if work.is_paused else work.waiting
    return min(terms.most, max(terms.least, busy + -(-left // terms.slots)))


def decide(work: Work, jobs: Sequence[Job], terms: Terms) -> Step:
    """Return the next change; what runs stays, and of those that wait the oldest."""
    waiting = [job.id for job in jobs if job.waits]
    missing = wanted(work, len(jobs) - len(waiting), terms) - len(jobs)
    if missing >= 0:
        return Step(submit=missing)
    return Step(cancel=tuple(waiting[max(0, len(waiting) + missing) :]))


def requeued(jobs: Sequence[Job]) -> list[str]:
    """Return the ids of jobs that wait because Slurm has requeued them."""
    return [job.id for job in jobs if job.waits and job.reason == _LATER]


def pieces(count: int) -> list[int]:
    """Return the sizes of the arrays for so many jobs."""
    return [min(_MOST_AT_ONCE, count - at) for at in range(0, count, _MOST_AT_ONCE)]


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that jobs are to have of this one."""
    return {name: value for name, value in environ.items() if name == "SLURM_CONF" or not name.startswith(_OUR_OWN)}


@dataclass(eq=False)
class Pauses:
    """Pauses between jobs that come to nothing: they ended, and as many messages wait as before.

    `fruitless`: so often in a row that was so.
    """

    fruitless: int = 0
    _left: int = 0
    _jobs: int = 0
    _not_before_s: float = 0.0

    @property
    def pause_s(self) -> float:
        """Pause before the next jobs, in seconds."""
        return growing_s(_FIRST_PAUSE_S, self.fruitless, _LONGEST_PAUSE_S)

    def look(self, now_s: float, left: int, jobs: int) -> bool:
        """Judge by what is there now what came of those submitted; return whether others may be."""
        if left < self._left or not left:
            self.fruitless, self._jobs = 0, 0
        elif jobs < self._jobs:
            self.fruitless, self._jobs = self.fruitless + 1, 0
            self._not_before_s = now_s + self.pause_s
        return now_s >= self._not_before_s or not self.fruitless

    def submitted(self, left: int, jobs: int) -> None:
        """Note that there are so many jobs from now on, for so many messages."""
        self._left, self._jobs = left, jobs


class Slurm:
    """Slurm's commands for the jobs of one name."""

    def __init__(self, name: str, mark: str, script: str) -> None:
        """`mark` is how the comment of these jobs begins: others may have the same name."""
        self._name, self._mark, self._script = name, mark, script
        self._user = pwd.getpwuid(os.getuid()).pw_name

    def jobs(self) -> list[Job]:
        """Return the jobs that have not ended, the oldest first."""
        words = ["squeue", "-h", "-r", "-u", self._user, "-n", self._name, "-S", "i", "-o", "%i|%T|%r|%k"]
        return read_jobs(_run(words), self._mark)

    def submit(self, count: int) -> None:
        """Submit so many jobs."""
        for size in pieces(count):
            _run(["sbatch", "--parsable", f"--array=1-{size}", self._script])

    def cancel(self, ids: Sequence[str]) -> None:
        """Cancel jobs unless they have begun meanwhile."""
        for at in range(0, len(ids), _MOST_AT_ONCE):
            _run(["scancel", "--state=PENDING", *ids[at : at + _MOST_AT_ONCE]])

    def start_now(self, job_id: str) -> None:
        """Let a job wait no longer for the time that Slurm gave it."""
        _run(["scontrol", "update", f"jobid={job_id}", "StartTime=now"])


def _run(words: Sequence[str]) -> str:
    """Run a command of Slurm's and return what it prints.

    Raises:
        ClusterError: it fails, or takes too long.
    """
    try:
        ran = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", env=clean(os.environ),
            timeout=_COMMAND_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or f"no answer in {_COMMAND_TIMEOUT_S:g} s"
        raise ServiceAway(f"{words[0]}: {reason.lower()}") from error
    if ran.returncode:
        raise ClusterError(one_line(ran.stderr) or f"{words[0]}: exit code {ran.returncode}")
    return ran.stdout


class Keeper:
    """Makes the number of jobs what it should be, one step after the other."""

    def __init__(self, terms: Terms, slurm: Slurm, work: Callable[[frozenset[str]], Work]) -> None:
        self._terms, self._slurm, self._work = terms, slurm, work
        self._pauses = Pauses()
        self._steps = 0
        self._absent: frozenset[str] = frozenset()

    def step(self) -> Iterator[str]:
        """Look, and make one change; yield what was done.

        Raises:
            ClusterError: the broker or Slurm is away, or refuses.
        """
        jobs = self._slurm.jobs()
        for job_id in requeued(jobs):
            self._slurm.start_now(job_id)
            yield f"{job_id} was requeued: it starts as soon as there is room"
        work = self._work(frozenset() if self._steps % _ALL_EVERY_STEPS == 0 else self._absent)
        self._absent, self._steps = work.absent, self._steps + 1
        step = decide(work, jobs, self._terms)
        if step.cancel:
            self._slurm.cancel(step.cancel)
            yield f"{work.waiting} messages wait: {len(step.cancel)} jobs that have not begun are cancelled"
        before = self._pauses.fruitless
        may_submit = self._pauses.look(time.monotonic(), work.waiting, len(jobs))
        if self._pauses.fruitless > before:
            yield f"jobs ended and no fewer messages wait, their logs say why; the next in {self._pauses.pause_s:g} s"
        if step.submit and may_submit:
            self._slurm.submit(step.submit)
            self._pauses.submitted(work.waiting, len(jobs) + step.submit)
            yield f"{work.waiting} messages wait: {step.submit} jobs beside the {len(jobs)} that are there"


def keep(keeper: Keeper, every_s: float, end: threading.Event) -> None:
    """Make a step every so many seconds until told to end; say each trouble once."""
    said = ""
    while not end.is_set():
        try:
            for done in keeper.step():
                _say(done)
            said = ""
        except ClusterError as error:
            if str(error) != said and not end.is_set():
                said = str(error)
                _say(f"{said}; trying again")
        end.wait(every_s)


def main(arguments: Sequence[str]) -> int:
    """Run the program; its exit code."""
    try:
        options = _parser().parse_args(arguments)
    except ClusterError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return error.exit_code
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    terms = Terms(options.jobs, options.least, max(options.least, options.most))
    keeper = Keeper(
        terms, Slurm(options.name, options.mark, options.script), partial(work_of, options.url, options.queue)
    )
    keep(keeper, options.every, end)
    return 0


def _say(text: str) -> None:
    print(f"slurm_keeper: {one_line(text, longest=1000)}", file=sys.stderr, flush=True)


def _parser() -> Parser:
    parser = Parser(prog="slurm_keeper", description=_ABOUT, epilog=_MORE)
    add_queue(parser)
    count, positive = number_of(int, "a number from 0"), number_of(int, "a number from 1", 1)
    add = parser.add_argument
    add("--jobs", type=positive, default=1, metavar="J", help="messages that one worker takes at once (default 1)")
    add("--min", dest="least", type=count, default=0, metavar="N", help="jobs that are always there (default 0)")
    add("--max", dest="most", type=positive, required=True, metavar="N", help="jobs that are there at most")
    add("--name", required=True, metavar="NAME", help="the name of the jobs")
    seconds = number_of(float, "a time in seconds", 0.1, 3600)
    add("--comment", dest="mark", default="", metavar="TEXT", help="how their comment begins (default: however)")
    add("--every", type=seconds, default=15.0, metavar="S", help="seconds from look to look (default 15)")
    add("script", metavar="SCRIPT", help="the batch script, which has the options of one job")
    return parser


if __name__ == "__main__":
    streams.run(main)
