"""The commands of Slurm, run on a login node: their words are built here, and their errors told in one line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from cluster.hosts.shell import Shell, ThisMachine
from scripts.errors import ClusterError, ServiceAway
from scripts.one_line import one_line

TIMEOUT_S = 60.0
_AT_ONCE = 500  # ids in one command line

# Jobs get the environment of who submits, as with sbatch by hand: without secrets of a person, and without a job that
# this may itself be run in.
_CLEAN = (
    "unset AMQP_USER AMQP_PASSWORD AMQP_PASSWORD_FILE MARATHON_PASSWORD DCOS_ACS_TOKEN; "
    'for name in $(env | sed -n "s/^\\(SLURM_[A-Z_]*\\)=.*/\\1/p"); do '
    '[ "$name" = SLURM_CONF ] || unset "$name"; done; '
)
_PREFIX = re.compile(r"^(sbatch|squeue|scontrol|scancel|srun|slurm_\w+): ?(error: )?")
_AWAY = ("Unable to contact slurm controller", "Connection refused", "Socket timed out", "Zero Bytes were transmitted")
_NO_ROOM = ("Immediate execution impossible", "Requested nodes are busy", "Unable to allocate resources")
_REFUSED = {
    "Invalid account": "give another --engine-option account=",
    "Invalid qos": "give another --engine-option qos=",
    "invalid partition": "give another --engine-option partition= (sinfo shows which there are)",
    "Requested time limit is invalid": "the partition allows less: give a shorter --time",
    "Memory specification can not be satisfied": "no node has so much: less --mem-mib",
    "CPU count per node can not be satisfied": "no node has so many: fewer --cpus",
    "Requested node configuration is not available": "no node is like that: fewer --cpus, less --mem-mib",
    "job submit limit": "your account or QOS allows no more jobs at a time: fewer --instances",
    "Invalid job array specification": "fewer --instances",
}


class NoRoom(ClusterError):
    """No node has room at once."""


class Commands:
    """Slurm, as a shell of one of its login nodes knows it; raises ServiceAway where the controller is away."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        # Over SSH a shell has not read what puts Slurm into $PATH at many sites.
        self._is_login_needed = not isinstance(shell, ThisMachine)

    def run(self, doing: str, command: str, *, stdin: bytes = b"", timeout_s: float = TIMEOUT_S) -> str:
        """Run a command for the shell and return what it prints; the error begins with `doing`."""
        line = f"bash -lc {shlex.quote(command)}" if self._is_login_needed else command
        ran = self._shell.run(line, input=stdin, timeout_s=timeout_s)
        if ran.code:
            raise self._error(doing, ran.err.decode(errors="replace"), ran.code)
        return ran.out.decode(errors="replace")

    def submit(self, doing: str, path: str, count: int, largest: int) -> list[str]:
        """Submit a batch script so many times; return the ids of the jobs."""
        found: list[str] = []
        while len(found) < count:
            piece = min(largest, count - len(found))
            command = f"{_CLEAN}sbatch --parsable --array=1-{piece} {shlex.quote(path)}"
            # A login shell may have printed something before.
            number = self.run(doing, command).split()[-1].partition(";")[0]
            found += [f"{number}_{index}" for index in range(1, piece + 1)]
        return found

    def cancel(self, doing: str, ids: Sequence[str], how: str = "") -> None:
        """Cancel jobs, or send them a signal; those that have ended meanwhile are no error."""
        for piece in _pieces(ids):
            self.run(doing, f"scancel {how} {' '.join(map(shlex.quote, piece))} 2>/dev/null; true")

    def start_now(self, ids: Sequence[str]) -> None:
        """Let jobs wait no longer for the time that Slurm has given them at a requeue."""
        for job_id in ids:
            self.run(f"start {job_id} now", f"scontrol update jobid={shlex.quote(job_id)} StartTime=now")

    def limits(self) -> tuple[int, int]:
        """Return the most jobs of an array, and the seconds from Slurm's TERM to its KILL."""
        text = self.run("read Slurm's configuration", "scontrol show config")
        size = re.search(r"^MaxArraySize\s*=\s*(\d+)", text, re.MULTILINE)
        kill = re.search(r"^KillWait\s*=\s*(\d+)", text, re.MULTILINE)
        return (int(size[1]) - 1 if size else 1000), (int(kill[1]) if kill else 30)

    def test(self, doing: str, script: str) -> None:
        """See that Slurm would take a batch script, without submitting it."""
        self.run(doing, f"{_CLEAN}sbatch --test-only --array=1", stdin=script.encode())

    def at_once(
        self, doing: str, options: Iterable[str], script: str, timeout_s: float, *, inside: str = "",
        is_here: bool = False,
    ) -> tuple[int, list[str]]:  # fmt: skip
        """Run a script beside what the job `inside` runs, or on the login node, else on a node that has room at once.

        Return its exit code and the lines that it prints.

        Raises:
            NoRoom: no node has room within some seconds.
        """
        where = ["--overlap", f"--jobid={inside}"] if inside else ["--immediate=10", "--time=0-00:05:00", *options]
        words = "bash -s" if is_here else shlex.join(["srun", "--ntasks=1", *where, "bash", "-s"])
        command = f"{_CLEAN}{words} 2>&1; code=$?; echo; echo $code"
        lines = self.run(doing, command, stdin=script.encode(), timeout_s=timeout_s + 30).splitlines()
        printed = [line for line in lines[:-1] if line and not _is_progress(line)]
        if any(words in line for line in printed for words in _NO_ROOM):
            raise NoRoom(f"{doing}: no node has room for it now")
        return int(lines[-1]), [line for line in printed if not line.startswith("srun: error: ")]

    def _error(self, doing: str, said: str, code: int) -> ClusterError:
        lines = [_PREFIX.sub("", line) for line in said.splitlines() if line.strip()]
        if any(words in line for line in lines for words in _AWAY):
            return ServiceAway(f"{doing}: Slurm's controller does not answer: {one_line(lines[0])}")
        if code == 127 or any("not found" in line and "squeue" in line for line in lines):
            where = self._shell.name
            return ServiceAway(
                f"{doing}: Slurm's commands are not on {where} (squeue is not in $PATH): run this on a login node, or "
                "name one: --at slurm:LOGIN"
            )
        why = one_line("; ".join(lines)) or f"exit code {code}"
        hint = next((hint for words, hint in _REFUSED.items() if words.lower() in why.lower()), "")
        return ClusterError(f"{doing}: {why}{f': {hint}' if hint else ''}")


def _is_progress(line: str) -> bool:
    return line.startswith(("srun: job ", "srun: Job step"))


def _pieces(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[at : at + _AT_ONCE] for at in range(0, len(ids), _AT_ONCE))
