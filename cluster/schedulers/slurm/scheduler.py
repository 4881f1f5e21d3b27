"""Slurm as an engine: each instance of an app is a job, and what apps keep is in a folder that every node sees."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from cluster.apps.app import AppSpec, AppStatus, Change, HealthCheck, Image, Instance, Kind, differences
from cluster.apps.component_apps import options_of
from cluster.apps.definitions import refuse_other_queue
from cluster.components import QUEUE, WORKER
from cluster.hosts import ssh
from cluster.hosts.host import Host
from cluster.hosts.shell import Shell, ThisMachine
from cluster.images import sources
from cluster.interrupts import Interrupted
from cluster.schedulers import (
    BrokerLocation,
    ChangeFailed,
    DeployOptions,
    LongWait,
    Look,
    NotRunning,
    Say,
    Wanted,
    every_line,
)
from cluster.schedulers.instances import is_rabbitmq
from cluster.schedulers.slurm import code, jobs, logs, reasons
from cluster.schedulers.slurm.commands import Commands, NoRoom
from cluster.schedulers.slurm.folder import Folder
from cluster.schedulers.slurm.jobs import HERE, Job, Seen, instance_name
from cluster.schedulers.slurm.script import (
    OPTIONS,
    Place,
    body,
    head,
    least_time_s,
    mark_of,
    notice_s,
    passed_on,
    resources,
    slug_of,
    time_text,
)
from cluster.settings import ROOT, Settings
from scripts.errors import ClusterError, ServiceAway
from scripts.hostport import HostPort
from scripts.one_line import one_line

_SHARED_HERE = ROOT / ".run" / "slurm"
_SHARED_THERE = ".cluster"  # in the home of the login node
_USUAL_PROJECT = "cluster"  # as invoke.yaml has it
_CODE = "code:"
_KEEPER = ".keeper"

# What waits so long for Slurm is left to wait: hours may pass.
_WAITS_S = 5.0
_LAST_LINES = 10
# Slurm is asked seldom, the more so the longer a wait is: its one controller serves everybody.
_POLL_S, _SLOWEST_POLL_S = 0.3, 5.0
# Longer than the time that Slurm's own end of a job takes at any site that we know of (KillWait).
_AT_ONCE_S = 3.0  # for a job to kill its app
_KILL_S = 120.0
_BEFORE_KILL_S = 5  # a worker hands back what runs so long before Slurm kills it


# The queue's address is there exactly while it answers; an older one is that of the queue before.
_ANSWERS = HealthCheck(
    'now=$(cat "$CLUSTER_APP_FOLDER/address") && test "$now" != "$CLUSTER_ADDRESS_BEFORE"', interval_s=30
)


@dataclass(frozen=True)
class Steps:
    """The jobs that a change ends, those that stay, and how many it submits; all of one `version` of the app then."""

    version: int
    stop: tuple[Job, ...]
    keep: tuple[Job, ...]
    missing: int
    kind: Kind


class Slurm:
    """Runs the commands of apps as jobs of this user.

    In `<shared>/<project>/` an app has the folder `apps/<slug>/`: `app.json` says what is wanted, `versions/` keeps
    what was, `job.sh` is its batch script, and `jobs/` has a note of each job on itself. A job whose program crashed
    after it had worked starts it again. One whose time limit is near is replaced as long as there is work, and Slurm
    itself starts those again that a failed node, or a job of higher priority, has ended.
    """

    name = "slurm"
    address = ""
    is_here = False
    has_hosts = False
    is_batch = True
    has_images = False
    limits_resources = True
    makes_data_folders = False
    caveat = ""
    user = ""
    options: tuple[str, ...] = OPTIONS

    def __init__(self, settings: Settings, shell: Shell, login: str, say: Say) -> None:
        """`login` is the login node that a person has named; empty for this machine, which is one."""
        self._settings, self._shell, self._login, self._say = settings, shell, login, say
        self._project = settings.project
        self._commands = Commands(shell)
        self._files: dict[str, bytes] = {}
        # A project's queue is its own: what is noted of it is not for that of another.
        self.place = (
            f"Slurm{f' at {login}' if login else ''}{f' ({self._project})' * (self._project != _USUAL_PROJECT)}"
        )
        is_usual = settings.scheduler == self.name and login == settings.slurm.login
        self.flag = "" if is_usual else f" --at {self.name}{login and f':{login}'}"

    @classmethod
    def make(cls, settings: Settings, address: str, say: Say) -> Slurm:
        """Return the Slurm of a login node, `[user@]name[:port]` as for ssh; without one, of this machine."""
        shell = ssh.KeptHost(settings, Host.parse(address)) if address else ThisMachine()
        return cls(settings, shell, address, say)

    # Looking

    def image(self, tag: str) -> Image:
        """Return the code that instances run, by its content."""
        return Image(f"{_CODE}{code.archive()[0]}", tag, sources=sources.digest(WORKER))

    def present(self, app_id: str) -> AppSpec | None:
        """Return the app as it is wanted; None where there is none."""
        return _app_in(self._look(), app_id)

    def plan(self, app: AppSpec, options: DeployOptions = DeployOptions(), *, restart: bool = False) -> Change:
        """Return what `apply` would do now."""
        seen = self._look()
        steps, present = self._steps(app, seen, restart, options), _app_in(seen, app.id)
        changed = differences(present.as_json(), app.as_json()) if present else ()
        batch = self._script(app, steps.version)
        if steps.missing and not _is_here(app):
            self._commands.test(f"deploy {app.id}", batch)
        sent = {"jobs": steps.missing, "script": batch.removesuffix(body()).splitlines()}
        return Change(app, steps.kind, sent, tuple(changed))

    def status(self) -> list[AppStatus]:
        """Return all apps of this project; a job that waits after a failure of its node is told to begin at once."""
        seen = self._look()
        self._hurry(seen.jobs)
        found = [AppSpec.from_json(one["app"]) for one in seen.wanted.values()]
        return [self._status_of(app, seen) for app in sorted(found, key=lambda app: app.id)]

    def logs(self, app_id: str, tail: int = 100, follow: bool = False, wanted: Wanted = every_line) -> Iterator[str]:
        """Yield the last `tail` of the `wanted` lines of every instance, each beginning with the instance's name."""
        seen = self._look()
        app = self._existing(seen, app_id)
        folder, prefix = self._place(app).logs, instance_name(self._project, slug_of(app_id), "")
        reader = logs.Reader(self._shell, folder)
        if follow:
            reader.skip_to_end()
        ids = [one.name.removeprefix(prefix) for one in self._status_of(app, seen).instances]
        for job_id, line in logs.lines(self._shell, folder, ids, tail, wanted):
            yield f"{prefix}{job_id}: {line}"
        if follow:
            for job_id, line in logs.follow(reader, lambda: not self._look().of(app_id), wanted):
                yield f"{prefix}{job_id}: {line}"

    def address_of(self, app_id: str, port_name: str = "") -> HostPort:
        """Return the address of a port of the queue, which it has written down itself."""
        seen = self._look()
        app = self._existing(seen, app_id)
        ports = self._ports(app_id, seen)
        # The file of one whose node has failed is still there.
        if not ports or all(job.waits for job in seen.of(app_id)):
            self._hurry(seen.of(app_id))
            raise self._no_address(app, seen)
        if port_name and port_name not in ports:
            raise ClusterError(f"{app_id} has no port {port_name!r}; those are {', '.join(ports)}")
        return HostPort.parse(ports[port_name or next(iter(ports))])

    def _ports(self, app_id: str, seen: Seen) -> dict[str, str]:
        return dict(line.split(" ", 1) for line in seen.lines(app_id, "ports") if " " in line)

    def reach(self, address: HostPort) -> HostPort:
        """Return the address by which this machine gets to one of the cluster."""
        return self._shell.reach(address)

    def history(self, app_id: str) -> Iterator[tuple[str, AppSpec]]:
        """Yield the versions of an app, newest first."""
        yield from ((str(number), app) for number, app in self._folder.versions(app_id))

    def broker_for(self, queue_app: str) -> BrokerLocation:
        """Return the file in which the queue writes down its address, and workers read it at each connect."""
        return BrokerLocation(("-u", f"@{self._folder.of_app(queue_app)}/address"))

    def place_of(self, file: Path) -> str:
        """Return the path by which jobs find a file of this machine; the next change brings it there."""
        content = file.read_bytes()
        path = f"{self._folder.path}/files/{code.digest_of(content)}/{file.name}"
        self._files[path] = content
        return path

    # Changing

    def apply(self, change: Change, options: DeployOptions = DeployOptions()) -> AppStatus:
        """Make a change; return when all of it works, or waits for Slurm."""
        app = change.app
        with self._folder.locked(app.id):
            seen = self._look()
            if change.kind == "restart" and (job := self._restarts_in_place(app, seen)):
                self._begin_again(app, job, options)
                return self._status_of(app, self._look())
            steps = self._steps(app, seen, change.kind == "restart", options)
            place = self._place(app)
            self._folder.send(app, place, self._files)
            batch = self._script(app, steps.version)
            if steps.missing:
                self._check_nodes(app)
            if steps.missing and not _is_here(app):
                self._commands.test(f"deploy {app.id}", batch)
            grace_s = _grace_s(app, options.drain)
            ends_first = any(job.id == HERE for job in steps.stop)  # its files have the names of the one that follows
            if ends_first:
                self._end(steps.stop, grace_s)
            self._folder.forget_notes(app.id, [job.id for job in (*steps.keep, *steps.stop)])
            self._folder.write(place, app, steps.version, batch)
            # Before the former are ended: these leave room, which others could take first, and an interruption from
            # here on leaves nothing undone. A queue waits for the lock on its data.
            submitted = self._submit(app, place, steps.missing)
            if not ends_first:
                self._end(steps.stop, grace_s)
            if options.wait:
                self._follow(app, [*(job.id for job in steps.keep), *submitted], options.timeout_s)
        self._keep_number(app, options)
        return self._status_of(app, self._look())

    def run_once(self, app: AppSpec, timeout_s: float = 60, look: Look | None = None) -> tuple[int, list[str]]:
        """Run the app's command until it ends: beside an instance that runs, else where a node has room at once."""
        self._folder.send(app, self._place(app), self._files)
        running = next((job.number for job in self._look().of(app.id) if job.state == "RUNNING" and job.id != HERE), "")
        trial = self._script(app, 0, app.command)
        return self._commands.at_once(f"try {app.id}", self._needs(app), trial, timeout_s, inside=running)

    def stop(self, app_id: str, now: bool = False, drain: bool = True) -> bool:
        """Stop the app and forget it, its data staying; False when there was none."""
        seen = self._look()
        app, live = _app_in(seen, app_id), seen.of(app_id)
        if app is None and not live:
            return False
        if not app_id.endswith(_KEEPER):
            self.stop(f"{app_id}{_KEEPER}", now=True)
        self._end(live, 0 if now else _grace_s(app, drain) if app else 0)
        self._folder.forget(app_id)
        return True

    def delete_data(self, app_id: str) -> list[str]:
        """Delete the data of a stopped app, or with an empty id of all; return the folders of what was deleted."""
        wanted = self._look().wanted.values()
        if used := next((one["app"]["id"] for one in wanted if app_id in ("", one["app"]["id"])), ""):
            raise ClusterError(f"the data of {used} is in use: stop {used} first")
        return self._folder.delete_data(app_id)

    # What an app needs there

    @cached_property
    def _folder(self) -> Folder:
        shared = self._settings.slurm.shared
        if not self._login:
            shared = str(Path(shared).expanduser().absolute()) if shared else str(_SHARED_HERE)
        elif not shared.startswith("/"):
            home = self._shell.step("look for the home folder", 'printf %s "$HOME"').decode()
            shared = f"{home}/{shared.removeprefix('~/') or _SHARED_THERE}"
        return Folder(self._shell, self._project, f"{shared.rstrip('/')}/{self._project}")

    def _place(self, app: AppSpec) -> Place:
        digest = app.image.removeprefix(_CODE) if app.image.startswith(_CODE) else code.archive()[0]
        return self._folder.place(app, digest)

    def _needs(self, app: AppSpec) -> list[str]:
        return [*resources(app), *passed_on(dict(app.engine_options))]

    def _script(self, app: AppSpec, version: int, trial: str = "") -> str:
        """Return the batch script; for a `trial` this is the command that runs, once."""
        place, options = self._place(app), options_of(app)
        env = {**app.env, **{file.env: self._folder.secret(file) for file in app.secret_files if file.env}}
        env |= {f"CLUSTER_DATA_{name.upper().replace('-', '_')}": path for name, path in self._folder.data(app).items()}
        command, comes_again, action_s = app.command, "true", None
        if options:
            env["CLUSTER_WORKER_EVICTION_S"] = str(max(1, self._kill_wait_s - _BEFORE_KILL_S))
            broker = ["-u", options.url] if options.url else []
            comes_again = shlex.join(["work_left", *broker, "-q", options.queue])
            action_s = options.limits.timeout_s
        elif is_rabbitmq(app):
            command, env = "exec rabbitmq_job", env | self._rabbitmq_environment(app, place)
            app = replace(app, health=_ANSWERS)
        first = head(
            app, place, version, env, command=trial or command, comes_again=comes_again, is_worker=options is not None,
            notice=notice_s(app, action_s), is_trial=bool(trial),
        )  # fmt: skip
        return first + body()

    def _rabbitmq_environment(self, app: AppSpec, place: Place) -> dict[str, str]:
        users = [self._folder.secret(file) for file in app.secret_files if file.name == "users.json"]
        return {
            "CLUSTER_MEM_MIB": f"{app.mem_mib:.0f}",
            "CLUSTER_RABBITMQ_DIR": dict(app.engine_options).get("rabbitmq", ""),
            "CLUSTER_QUEUE_CONF": f"{place.code}/queue",
            "CLUSTER_USERS_FILE": users[0] if users else "",
        }

    @cached_property
    def _limits(self) -> tuple[int, int]:
        return self._commands.limits()

    @property
    def _kill_wait_s(self) -> int:
        return self._limits[1]

    # Steps

    def _look(self) -> Seen:
        doing, command = "look for what runs", jobs.look_command(self._folder.path)
        return Seen.read(self._project, mark_of(self._folder.path), self._commands.run(doing, command))

    def _existing(self, seen: Seen, app_id: str) -> AppSpec:
        if (app := _app_in(seen, app_id)) is None:
            raise NotRunning(app_id, self)
        return app

    def _steps(self, app: AppSpec, seen: Seen, restart: bool, options: DeployOptions) -> Steps:
        """Keep the jobs that are as wanted, and end and submit the others."""
        present, live = _app_in(seen, app.id), seen.of(app.id)
        self._check(app, present, seen)
        newest = seen.version(app.id)
        stays = present is not None and present.digest == app.digest and not restart
        version = newest if stays else max([newest, *(job.version for job in live)]) + 1
        # One whose time limit is near is as good as the one that takes its place.
        good = [job for job in live if stays and job.version == version and not seen.is_ending(job)]
        least, most = app.instances, max(app.instances, app.max_instances)
        good = self._by_use(good, seen, options) if len(good) > most else good
        keep, surplus = good[:most], good[most:]
        stop = [job for job in live if job not in good and not seen.is_ending(job)] + surplus
        missing = max(0, least - len(keep))
        changed = present is not None and present.as_json() != app.as_json()
        kind: Kind = "nothing" if not (stop or missing or changed) else "scale"
        if not stays:
            kind = "create" if present is None and not live else "restart" if restart else "replace"
        return Steps(version, tuple(stop), tuple(keep), missing, kind)

    def _restarts_in_place(self, app: AppSpec, seen: Seen) -> Job | None:
        """Return the queue's job where that alone is to begin anew; another one might wait for room behind workers."""
        present, live = _app_in(seen, app.id), seen.of(app.id)
        if not (is_rabbitmq(app) and present and present.digest == app.digest and len(live) == 1):
            return None
        return live[0] if live[0].state == "RUNNING" and live[0].id != HERE and not seen.is_ending(live[0]) else None

    def _begin_again(self, app: AppSpec, job: Job, options: DeployOptions) -> None:
        """Have a job start its program anew, and follow that."""
        note = shlex.quote(f"{self._folder.of_app(app.id)}/jobs/{job.id}")
        self._shell.step(f"restart {app.id}", f'echo "starting {job.node} $(date +%s) " >{note}')
        self._commands.cancel(f"restart {app.id}", [job.id], "-b -s HUP")
        if options.wait:
            self._follow(app, [job.id], options.timeout_s)

    def _by_use(self, found: Sequence[Job], seen: Seen, options: DeployOptions) -> list[Job]:
        """Order jobs by who is missed most: those that run an action, those that could, those that wait or end."""
        idle = options.idle()
        names = {job: instance_name(self._project, slug_of(job.app_id), job.id) for job in found}
        return sorted(found, key=lambda job: (seen.nears_its_limit(job), job.waits, names[job] in idle))

    def _check(self, app: AppSpec, present: AppSpec | None, seen: Seen) -> None:
        """Refuse what would be left out though it changes what the app does, and what cannot be."""
        app.refuse_unheld(self.name)
        app.refuse_wrong_number()
        if present:
            refuse_other_queue(present, app)
        if wrong := next((text for text, is_so in self._wrongs(app).items() if is_so), ""):
            raise ClusterError(f"{app.id}: {wrong}")
        other = seen.wanted.get(slug_of(app.id), {}).get("app", {}).get("id", app.id)
        if other != app.id:
            raise ClusterError(f"deploy {app.id}: {other} runs here and uses its folder: give it another id")
        passed_on(dict(app.engine_options))

    def _wrongs(self, app: AppSpec) -> dict[str, bool]:
        """Return what may be wrong with an app, and whether it is."""
        count, most, options = app.instances, app.max_instances, options_of(app)
        action_s = (options and options.limits.timeout_s) or 0
        least_s = least_time_s(action_s)
        return {
            f"instances is {count}: give 1 or more; stopping an app is a command": count < (0 if most else 1),
            f"--max-instances {most}: only workers can follow a queue": bool(most) and options is None,
            f"--max-instances {most}: its workers never end by themselves (--idle); deploy them with it": bool(most)
            and options is not None
            and options.idle_s is None,
            f"--time {time_text(app.time_limit_s)} is too short for actions of --timeout {action_s:g} s and the notice "
            f"before its end: give {time_text(least_s)} or more": 0 < app.time_limit_s < least_s and action_s > 0,
            "the command (cmd) is missing: it is what jobs run": not app.command,
            f"{count} instances cannot share the data of one queue: run 1": is_rabbitmq(app) and count > 1,
            "jobs have ports for the queue alone: leave them out": bool(app.ports) and not is_rabbitmq(app),
        }

    def _submit(self, app: AppSpec, place: Place, count: int) -> list[str]:
        doing, path = f"deploy {app.id}", f"{place.folder}/job.sh"
        if count and _is_here(app):
            start = f"cd / && setsid -f bash {shlex.quote(path)} >>{shlex.quote(place.logs)}/{HERE}.log 2>&1 </dev/null"
            self._commands.run(
                doing, f"unset SLURM_JOB_ID SLURM_ARRAY_JOB_ID SLURM_ARRAY_TASK_ID SLURMD_NODENAME; {start}"
            )
            return [HERE]
        return self._commands.submit(doing, path, count, self._limits[0]) if count else []

    def _check_nodes(self, app: AppSpec) -> None:
        """See that a node has what the app needs, once for each kind of node: the folder, Python, for a queue RabbitMQ.

        Raises:
            ClusterError: it has not, and nothing was changed.
        """
        doing, needs = f"deploy {app.id}: look at a node", self._needs(app)
        command = "rabbitmq_job --check" if is_rabbitmq(app) else "true"
        trial = self._script(app, 0, command)
        kind = code.digest_of("\n".join([*needs, command, *(value for _, value in app.engine_options)]).encode())
        mark = shlex.quote(f"{self._folder.path}/nodes/{kind}")
        if self._shell.step("look for a mark", f"if [ -e {mark} ]; then echo yes; fi"):
            return
        try:
            ran, printed = self._commands.at_once(doing, needs, trial, 60, is_here=_is_here(app))
        except NoRoom:
            self._say("no node has room at once, so none was looked at: each job sees for itself what it needs")
            return
        if ran:
            why = one_line(printed[-1].removeprefix("error: ")) if printed else f"exit code {ran}"
            raise ClusterError(f"deploy {app.id}: nothing was changed: {why}")
        self._shell.step("leave a mark", f"mkdir -p {shlex.quote(f'{self._folder.path}/nodes')} && : >{mark}")

    def _keep_number(self, app: AppSpec, options: DeployOptions) -> None:
        """Run, or end, the small job that keeps as many workers as the queue needs."""
        keeper, worker = f"{app.id}{_KEEPER}", options_of(app)
        if not (app.max_instances and worker):
            if _app_in(self._look(), keeper):
                self.stop(keeper, now=True)
            return
        place = self._place(app)
        words = [
            "slurm_keeper", *(["-u", worker.url] if worker.url else []), "-q", worker.queue, "--jobs", str(worker.jobs),
            "--min", str(app.instances), "--max", str(app.max_instances), "--name", place.job_name,
            "--comment", place.mark,
            f"{place.folder}/job.sh",
        ]  # fmt: skip
        spec = AppSpec(
            keeper, command=f"exec {shlex.join(words)}", image=app.image, env=_not_of_workers(app.env), cpus=1,
            mem_mib=200, secret_files=tuple(replace(file, content=b"") for file in app.secret_files), kill_grace_s=10,
            time_limit_s=app.time_limit_s, engine_options=app.engine_options, labels=app.labels,
        )  # fmt: skip
        self.apply(self.plan(spec), replace(options, undo=False))

    def _end(self, found: Sequence[Job], grace_s: float) -> None:
        """End jobs: those that wait at once, those that run after so long at most."""
        for_here = [job for job in found if job.id == HERE]
        waiting = [job.id for job in found if job.waits]
        running = [job.id for job in found if not job.waits and job.id != HERE]
        if not found:
            return
        doing = f"stop {found[0].app_id}"
        note = self._folder.of_app(found[0].app_id) + "/jobs/"
        try:
            self._commands.cancel(doing, waiting)
            if running and not grace_s:
                self._commands.cancel(doing, running, "-b -s USR2")
            elif running:
                marks = " ".join(shlex.quote(f"{note}{job_id}.stop") for job_id in running)
                self._shell.step(doing, f"mkdir -p {shlex.quote(note)} && touch {marks}")
                self._commands.cancel(doing, running, "-b -s TERM")
            if for_here:
                self._end_here(doing, found[0].app_id, note, "TERM" if grace_s else "USR2")
            left = self._wait_for_end(found, grace_s or _AT_ONCE_S, tells=True)
            if left:
                self._commands.cancel(doing, [job.id for job in left if job.id != HERE])
                left = self._wait_for_end(left, _KILL_S)
        except KeyboardInterrupt:
            raise Interrupted("interrupted; what was told to stop ends by itself") from None
        if left:
            names = ", ".join(f"{job.id} on {job.node}" for job in left)
            raise ClusterError(f"{doing}: Slurm does not end {names}: is the node away? (scontrol show job says more)")

    def _end_here(self, doing: str, app_id: str, note: str, signal: str) -> None:
        here = shlex.quote(f"{self._folder.of_app(app_id)}/here")
        mark = shlex.quote(f"{note}{HERE}.stop")
        is_there = 'if [ "$host" != "$(hostname)" ]; then echo "it runs on $host: stop it there" >&2; exit 1; fi'
        self._shell.step(doing, f'touch {mark}; read -r host pid <{here}; {is_there}; kill -{signal} "$pid"')

    def _wait_for_end(self, found: Sequence[Job], grace_s: float, tells: bool = False) -> list[Job]:
        """Return those that still live after their time."""
        ids, wait, pause_s = {job.id for job in found}, LongWait(self._say), _POLL_S
        while True:
            left = [job for job in self._look().of(found[0].app_id) if job.id in ids]
            if not left or wait.passed_s > grace_s:
                return left
            if tells:
                first = [instance_name(self._project, slug_of(job.app_id), job.id) for job in left[:3]]
                names = ", ".join(first) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
                wait.tell(f"waiting for {names} to finish, {grace_s:g} s at most (--now does not wait)")
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.2, _SLOWEST_POLL_S)

    def _follow(self, app: AppSpec, ids: Sequence[str], timeout_s: float) -> None:
        """Return when all of these jobs work, or have no more to wait for than Slurm; some may have ended.

        Raises:
            ChangeFailed: all have ended, or one can never start, or does not work in time.
        """
        began, pause_s = time.monotonic(), _POLL_S
        while True:
            seen = self._look()
            live, passed_s = {job.id: job for job in seen.of(app.id)}, time.monotonic() - began
            of_ours = [live[job_id] for job_id in ids if job_id in live]
            ended = [job_id for job_id in ids if job_id not in live]
            if ended and not of_ours:
                raise self._failure(app, ended[0], self._why_ended(app, seen, ended[0]))
            never = next((job for job in of_ours if job.waits and reasons.never_starts(job.reason)), None)
            if never:
                raise ChangeFailed(f"deploy {app.id}: {never.id} never starts: {reasons.why_waiting(never.reason)}")
            states = {jobs.instance(self._project, job, seen.note(job), "", "").state for job in of_ours}
            if states <= {"running"} or (states <= {"running", "waiting"} and passed_s > _WAITS_S):
                for job_id in ended:
                    name = instance_name(self._project, slug_of(app.id), job_id)
                    self._say(f"{name} {self._why_ended(app, seen, job_id)}")
                return
            if passed_s > timeout_s:
                late = next(job for job in of_ours if not (note := seen.note(job)) or note.word != "up")
                raise self._failure(app, late.id, f"does not work after {timeout_s:g} s and is left running")
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.2, _SLOWEST_POLL_S)

    def _why_ended(self, app: AppSpec, seen: Seen, job_id: str) -> str:
        name = instance_name(self._project, slug_of(app.id), job_id)
        return next((one.detail for one in jobs.ended(self._project, seen, app.id) if one.name == name), "has ended")

    def _failure(self, app: AppSpec, job_id: str, how: str) -> ChangeFailed:
        lines = [line for _, line in logs.lines(self._shell, self._place(app).logs, [job_id], _LAST_LINES, every_line)]
        now = f"{self._status_of(app, self._look()).running} of {app.instances} instances run now"
        name = instance_name(self._project, slug_of(app.id), job_id)
        words = f"deploy {app.id}: {name} {how}; {now}. Its last lines:{'' if lines else ' none'}"
        return ChangeFailed(words, [f"  {line}" for line in lines])

    def _status_of(self, app: AppSpec, seen: Seen) -> AppStatus:
        found, tag_sources = seen.of(app.id), self._sources_of(app)
        live = [jobs.instance(self._project, job, seen.note(job), app.image, tag_sources) for job in found]
        if is_rabbitmq(app):
            live = [self._as_queue(one, seen) for one in live]
        gone: list[Instance] = []
        if len(live) < app.instances:
            gone = list(jobs.ended(self._project, seen, app.id))[: app.instances - len(live)]
        return AppStatus(replace(app, image=""), (*live, *gone))

    def _as_queue(self, one: Instance, seen: Seen) -> Instance:
        """Return the queue's instance with where it is, or with who has the room that it waits for."""
        if one.state == "running":
            ports = self._ports(QUEUE.app_id, seen)
            return replace(one, ports={name: HostPort.parse(address) for name, address in ports.items()})
        others = sum(not job.waits and job.app_id != QUEUE.app_id for job in seen.jobs if job.lives)
        if one.state != "waiting" or not others:
            return one
        hint = f"; {others} jobs of workers have room: ./inv worker.scale{self.flag} gives some of it back"
        return replace(one, detail=one.detail + hint)

    def _sources_of(self, app: AppSpec) -> str:
        """Return the digest of this checkout's sources where an app runs these, else another text."""
        if not app.image.startswith(_CODE):
            return ""
        return sources.digest(WORKER) if app.image == f"{_CODE}{code.archive()[0]}" else app.image

    def _hurry(self, found: Sequence[Job]) -> None:
        """Let jobs begin that Slurm has started anew and lets wait two minutes; without the right to, they wait."""
        with suppress(ClusterError):
            self._commands.start_now([job.id for job in found if job.waits and job.reason == "BeginTime"])

    def _no_address(self, app: AppSpec, seen: Seen) -> ClusterError:
        instances = self._status_of(app, seen).instances
        if any(one.state != "stopped" for one in instances):
            return ServiceAway(f"{app.id} on {self.place} does not answer yet: {instances[0].detail or 'it starts'}")
        why = f": {instances[0].name} {instances[0].detail}" if instances and instances[0].detail else ""
        again = f"./inv queue.restart{self.flag} starts it anew"
        return ClusterError(f"{app.id} on {self.place} does not run{why}; {again}")


def _app_in(seen: Seen, app_id: str) -> AppSpec | None:
    found = seen.wanted.get(slug_of(app_id), {}).get("app")
    return AppSpec.from_json(found) if found and found["id"] == app_id else None


def _not_of_workers(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what tells apps of workers from others."""
    return {name: value for name, value in env.items() if name != "QUEUE_NAME"}


def _is_here(app: AppSpec) -> bool:
    return dict(app.engine_options).get("here") == "yes"


def _grace_s(app: AppSpec, drain: bool) -> float:
    return app.stop_grace_s if drain else app.kill_grace_s
