"""The jobs of a user as Slurm has them, and the notes that jobs leave of themselves."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.apps.app import Instance, State
from cluster.schedulers import FINISHING
from cluster.schedulers.slurm import reasons
from cluster.schedulers.slurm.script import slug_of

# squeue's text, which is the same in all versions (its JSON is not): a job a line, the elements of arrays singly.
FORMAT = "%i|%A|%T|%N|%r|%S|%j|%k"

_BEFORE = {
    "PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT", "SUSPENDED", "STOPPED",
}  # fmt: skip
_ALIVE = {"CONFIGURING", "RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "RESIZING"}

HERE = "here_0"  # the id of what runs on the login node itself


@dataclass(frozen=True)
class Job:
    """A job, or an element of an array (`12_3`), as squeue tells of it; `version` is that of its app's definition.

    `number` is its own where it runs: srun takes `12_3` for the array.
    """

    id: str
    number: str
    state: str
    node: str
    reason: str
    starts: str
    name: str
    app_id: str
    version: int

    @property
    def waits(self) -> bool:
        """True while it has no node, or may not use it."""
        return self.state in _BEFORE

    @property
    def lives(self) -> bool:
        """True until it has ended."""
        return self.waits or self.state in _ALIVE


@dataclass(frozen=True)
class Note:
    """A note of a job: `starting`, `up`, `ill`, `stopping` or `ended`, on a node, at a time in seconds since 1970.

    `code` is the exit code of what has ended, `words` are for people.
    """

    word: str
    node: str
    at_s: float
    code: int
    words: str

    @classmethod
    def read(cls, text: str) -> Note | None:
        """Read a note; None where it is none."""
        word, node, at_s, code, words = (text.split(" ", 4) + [""] * 5)[:5]
        try:
            return cls(word, node, float(at_s), int(code or 0), words.strip())
        except ValueError:
            return None


@dataclass(frozen=True)
class Seen:
    """The state of all apps at one moment: their jobs, and what is in the files of their folders.

    `wanted` is the content of each app's `app.json`, `notes` are by slug and id, `files` by slug and name.
    """

    jobs: tuple[Job, ...]
    wanted: Mapping[str, Mapping[str, Any]]
    notes: Mapping[str, Mapping[str, Note]]
    files: Mapping[str, Mapping[str, tuple[str, ...]]]

    @classmethod
    def read(cls, project: str, mark: str, text: str) -> Seen:
        """Read what `look_command` prints; the jobs of this project and folder bear the mark."""
        queue, _, rest = text.partition("\0")
        wanted: dict[str, Any] = {}
        notes: dict[str, dict[str, Note]] = {}
        files: dict[str, dict[str, tuple[str, ...]]] = {}
        here: dict[str, str] = {}
        for line in rest.splitlines():
            path, _, content = line.partition(":")
            match path.split("/"):
                case ["apps", slug, "app.json"]:
                    wanted[slug] = json.loads(content)
                case ["apps", slug, "jobs", job_id] if "." not in job_id and (note := Note.read(content)):
                    notes.setdefault(slug, {})[job_id] = note
                case ["apps", slug, "here"]:
                    here[slug] = content
                case ["apps", slug, name]:
                    of_app = files.setdefault(slug, {})
                    of_app[name] = (*of_app.get(name, ()), content)
        on_login = (_job_here(wanted[slug], content) for slug, content in here.items() if slug in wanted)
        return cls((*_jobs(project, mark, queue), *on_login), wanted, notes, files)

    def of(self, app_id: str) -> list[Job]:
        """Return the jobs of an app that live, those that wait last."""
        found = [job for job in self.jobs if job.app_id == app_id and job.lives]
        return sorted(found, key=lambda job: (job.waits, _number(job.id)))

    def version(self, app_id: str) -> int:
        """Return the number of an app's present version, or of its last; 0 where there is none."""
        last = self.lines(app_id, "last.json")
        kept = self.wanted.get(slug_of(app_id)) or (json.loads(last[0]) if last else {})
        return int(kept.get("version", 0))

    def lines(self, app_id: str, name: str) -> Sequence[str]:
        """Return the lines of a small file of an app."""
        return self.files.get(slug_of(app_id), {}).get(name, ())

    def is_ending(self, job: Job) -> bool:
        """Return True where a job has been told to end, or has ended but for its last words."""
        note = self.note(job)
        if job.waits or note is None:
            return False
        return job.state == "COMPLETING" or note.word == "ended" or (note.word == "stopping" and not note.words)

    def nears_its_limit(self, job: Job) -> bool:
        """Return True where a job is about to be replaced by another."""
        note = self.note(job)
        return note is not None and not job.waits and note.word == "stopping" and bool(note.words)

    def note(self, job: Job) -> Note | None:
        """Return what a job has said last of itself."""
        return self.notes.get(slug_of(job.app_id), {}).get(job.id)


# A process of another login node cannot be looked at from here.
_ALIVE_HERE = 'if [ "$host" != "$(hostname)" ] || grep -qsa job.sh "/proc/$pid/cmdline"; then echo "$each:$host"; fi'


def look_command(folder: str) -> str:
    """Return the command that tells all: a line for each job, and after a zero byte each line of all small files."""
    squeue = f'squeue -h -r -u "$(id -un)" -t all -o "{FORMAT}"'
    return (
        f'{squeue} || exit 1; printf "\\0"; cd {shlex.quote(folder)} 2>/dev/null || exit 0; '
        "grep -rsI '' apps --exclude-dir=versions --exclude=here --exclude='*.sh' --exclude='*.new' --exclude='*.stop' "
        "--exclude='.*'; "
        f'for each in apps/*/here; do [ -e "$each" ] || continue; read -r host pid <"$each"; {_ALIVE_HERE}; done'
    )


def _jobs(project: str, mark: str, text: str) -> Iterator[Job]:
    for line in text.splitlines():
        parts = line.split("|", 7)
        if len(parts) < 8 or not (parts[6].startswith(f"{project}/") and parts[7].startswith(mark)):
            continue
        comment = dict(pair.partition("=")[::2] for pair in parts[7].split(";"))
        if app_id := comment.get("app", ""):
            version = comment.get("version", "")
            job_id, number, state, node, reason, starts, name, _ = parts
            yield Job(
                job_id, number, state, node, reason, starts, name, app_id, int(version) if version.isdecimal() else 0
            )


def _job_here(kept: Mapping[str, Any], host: str) -> Job:
    """Return what runs on the login node itself, as if it were a job there."""
    return Job(HERE, "", "RUNNING", host, "", "", "", kept["app"]["id"], int(kept["version"]))


def _number(job_id: str) -> tuple[int, int]:
    first, _, second = job_id.partition("_")
    return (int(first) if first.isdecimal() else 0, int(second) if second.isdecimal() else 0)


def instance_name(project: str, slug: str, job_id: str) -> str:
    """Return the name of an instance, by which its job is found: `cluster-worker-myqueue-12_3`."""
    return f"{project}-{slug}-{job_id}"


def instance(project: str, job: Job, note: Note | None, image: str, sources: str) -> Instance:
    """Return a job that lives as an instance."""
    state, detail = _state(job, note)
    return Instance(
        instance_name(project, slug_of(job.app_id), job.id), state, image, detail=detail, sources=sources,
        started_at=note.at_s if note and not job.waits else None,
    )  # fmt: skip


def _state(job: Job, note: Note | None) -> tuple[State, str]:
    if job.state in ("SUSPENDED", "STOPPED"):
        return "waiting", f"{job.state}: Slurm lets it go on later, or an administrator does"
    if job.waits:
        return "waiting", reasons.why_waiting(job.reason, job.state, job.starts)
    if job.state in ("COMPLETING", "STAGE_OUT"):
        return "stopping", FINISHING
    match note and note.word:
        case "up":
            return "running", ""
        case "ill":
            return "unhealthy", note.words if note else ""
        case "stopping":
            return "stopping", (note and note.words) or FINISHING
        case _:
            return "starting", f"on {job.node}" if job.node else ""


# What a job says at an end that needs no word: it was told to, or another took its place.
_IN_ORDER = ("stopped", "replaced")


def ended(project: str, seen: Seen, app_id: str) -> Iterator[Instance]:
    """Yield what has ended by itself, or was ended by Slurm, since the app was changed last; with the reason."""
    slug, known = slug_of(app_id), {job.id: job for job in seen.jobs if job.app_id == app_id}
    for job_id, note in sorted(seen.notes.get(slug, {}).items(), key=lambda pair: _number(pair[0])):
        job = known.get(job_id)
        if (job and job.lives) or (note.word == "ended" and note.words in _IN_ORDER):
            continue
        how = "has ended" if note.words and not note.code else f"ended with exit code {note.code}"
        if job and job.state not in ("COMPLETED", "FAILED"):
            how = reasons.why_ended(job.state)
        elif note.word != "ended":
            how = "is gone: Slurm does not know it any more"
        elif note.words:
            how = f"{how}: {note.words}"
        yield Instance(instance_name(project, slug, job_id), "stopped", detail=f"{how} (on {note.node})")
