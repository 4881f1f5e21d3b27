"""Instances of apps as plain processes: started, watched and ended through the files of their folders."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from cluster import schedulers
from cluster.apps.app import AppSpec, State
from cluster.files import write_atomically
from cluster.schedulers import FINISHING, POLL_S, Wanted, every_line
from cluster.schedulers.instances import MachineInstance, NotUp, instance_name, kept_app
from scripts.errors import ClusterError
from scripts.worker.alive import DRAINED, DRAINING

# In the environment of an instance and of all that it starts: by this its processes are found when it ends, also those
# that went into sessions of their own, as a container's end takes all of its processes.
MARK = "CLUSTER_INSTANCE_FOLDER"

# The shell that starts the command outlives it and writes down how it ended, though who started it has long gone.
_WRAPPER = 'cd "$2" || exit; /bin/sh -c "$1"; echo $? >exit.new && mv exit.new exit'

_KILL_S = 10
_KILLED = 128 + signal.SIGKILL  # as a shell tells of it
_SAME_START_S = 2  # the clock that start times are read from is corrected now and then


@dataclass(eq=False)
class ProcessInstance(MachineInstance):
    """An instance, as it was written down in its folder `<project>/<app>/<n>` when it was started.

    `pid` and `started` (its time, in seconds) are those of the shell that runs the command; 0 where the start was
    interrupted.
    """

    folder: Path
    project: str
    app: AppSpec
    pid: int
    started: float
    host_ports: tuple[int, ...]
    env: dict[str, str]

    def __post_init__(self) -> None:
        self.number = int(self.folder.name)
        self.name = instance_name(self.project, self.app.id, self.number)

    @classmethod
    def read(cls, folder: Path, project: str) -> ProcessInstance | None:
        """Return the instance of a folder; None where it has gone meanwhile."""
        try:
            app = kept_app((folder / "definition.json").read_text())
        except FileNotFoundError:
            return None
        try:
            state = json.loads((folder / "state.json").read_text())
        except FileNotFoundError:
            return cls(folder, project, app, 0, 0, (0,) * len(app.ports), {})
        return cls(folder, project, app, state["pid"], state["started"], tuple(state["ports"]), state["env"])

    @classmethod
    def start(
        cls, folder: Path, project: str, app: AppSpec, env: dict[str, str], ports: Sequence[int]
    ) -> ProcessInstance:
        """Run the app's command in a session of its own, its output going to the log."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        _write(folder / "definition.json", app.as_json())
        env = {**env, MARK: str(folder)}
        log = (os.POSIX_SPAWN_OPEN, 1, str(folder / "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        pid = os.posix_spawn(
            "/bin/sh",
            ["/bin/sh", "-c", _WRAPPER, "sh", app.command, str(folder)],
            env,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), log, (os.POSIX_SPAWN_DUP2, 1, 2)],
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # which Python itself ignores
        )
        instance = cls(folder, project, app, pid, psutil.Process(pid).create_time(), tuple(ports), env)
        _write(folder / "state.json", {"pid": pid, "started": instance.started, "ports": ports, "env": env})
        return instance

    @property
    def log(self) -> Path:
        """The file with what it printed."""
        return self.folder / "log"

    def shell(self) -> psutil.Process | None:
        """Return the shell that runs the command; None when it has ended, though another process may have its pid."""
        if not self.pid:
            return None
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)  # where it is our own child, its end must be asked for
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.started) < _SAME_START_S
            if same and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None

    @property
    def started_at(self) -> float:
        """The start of the shell that runs its command."""
        return self.started

    @property
    def runs(self) -> bool:
        """True while its command runs."""
        return self.shell() is not None

    def state(self) -> tuple[State, str]:
        """Return its state now, and words about it."""
        if not self.runs:
            return "stopped", self._ended()
        works, said = self._run_check()
        if works:
            return "running", ""
        return ("stopping", FINISHING) if self._drains() else ("unhealthy", said)

    def _drains(self) -> bool:
        """Return True where a worker finishes what it runs, by the name of its process."""
        with suppress(psutil.NoSuchProcess):
            shell = self.shell()
            return any(one.name() in (DRAINING, DRAINED) for one in (shell.children(recursive=True) if shell else ()))
        return False

    def works(self) -> bool:
        """Return True when its health check succeeds, or without one when it has run for a second."""
        if not self.runs:
            raise NotUp(f"{self.name} {self._ended()}", self.last_lines(10))
        return self._run_check()[0] and (bool(self.app.health) or time.time() - self.started >= schedulers.SETTLED_S)

    def check_output(self) -> str:
        """Run its health check and return the first line that it prints."""
        return self._run_check()[1]

    def last_lines(self, count: int, wanted: Wanted = every_line) -> list[str]:
        """Return the last of the `wanted` lines that it printed."""
        return last(self.log, count, wanted)

    def _ended(self) -> str:
        """Return how its command ended, such as `ended with exit code 3`."""
        code = self.exit_code()
        return "was killed" if code == _KILLED else f"ended with exit code {code}"

    def exit_code(self) -> int:
        """Return the exit code of its command, where it has ended."""
        try:
            return int((self.folder / "exit").read_text())
        except FileNotFoundError:
            return _KILLED

    def ended_ago_s(self) -> float:
        """Return how many seconds ago its command has ended, at the latest."""
        with suppress(FileNotFoundError):
            return 0 if self.runs else time.time() - max(file.stat().st_mtime for file in self.folder.iterdir())
        return 0

    def _run_check(self, timeout_s: float = 10) -> tuple[bool, str]:
        """Run its health check in its environment; return True when it succeeds, and the first line that it prints."""
        if not self.app.health:
            return True, ""
        try:
            code, output = run_to_end(self.app.health.command, self.folder, self.env, timeout_s)
        except subprocess.TimeoutExpired:
            return False, f"no end after {timeout_s:g} s"
        except FileNotFoundError:  # its folder: it was stopped meanwhile
            return False, ""
        return code == 0, (output.strip().splitlines() or [""])[0]

    def ask_to_stop(self) -> None:
        """Send TERM to the command, and to it alone, as Docker does: what it started is its own to end."""
        shell = self.shell()
        if shell:
            with suppress(psutil.NoSuchProcess):
                for command in shell.children() or [shell]:
                    command.terminate()

    def remove(self) -> None:
        """Kill all of its processes and remove its folder."""
        deadline = time.monotonic() + _KILL_S
        while processes := list(self._processes()):
            if time.monotonic() > deadline:
                pids = ", ".join(str(process.pid) for process in processes)
                raise ClusterError(
                    f"{self.name}: process {pids} cannot be killed: is its disk or network file system away?"
                )
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(processes, timeout=POLL_S)
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # others of the app are there
            self.folder.parent.rmdir()

    def _processes(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == str(self.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    yield process


def run_to_end(command: str, folder: Path, env: Mapping[str, str], timeout_s: float) -> tuple[int, str]:
    """Run a shell command and return its exit code and what it printed; raises TimeoutExpired, having killed it."""
    done = subprocess.run(
        ["/bin/sh", "-c", command], env=env, cwd=folder, timeout=timeout_s, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    return done.returncode, done.stdout


def _write(path: Path, content: Any) -> None:
    write_atomically(path, json.dumps(content, indent=2).encode())


def last(log: Path, count: int, wanted: Wanted = every_line) -> list[str]:
    """Return the last `count` of the `wanted` lines of a file; none where there is no file."""
    try:
        with log.open("rb") as file:
            return list(deque(filter(wanted, map(_text, file)), maxlen=count))
    except FileNotFoundError:
        return []


def follow(logs: dict[str, Path], tail: int, is_over: Callable[[], bool], wanted: Wanted = every_line) -> Iterator[str]:
    """Yield the last `tail` of the `wanted` lines of each file and those to come, as they come, until it is over."""
    files = {name: log.open("rb") for name, log in logs.items()}
    try:
        for name, file in files.items():
            yield from (f"{name}: {line}" for line in deque(filter(wanted, _new_lines(file, over=False)), maxlen=tail))
        over = False
        while not over:
            over = is_over()  # asked before the files are read, so that the last lines are not lost
            for name, file in files.items():
                yield from (f"{name}: {line}" for line in filter(wanted, _new_lines(file, over)))
            time.sleep(0 if over else POLL_S)
    finally:
        for file in files.values():
            file.close()


def _new_lines(file: BinaryIO, over: bool) -> Iterator[str]:
    """Yield whole lines; a begun one is left to be read again, unless nothing will come."""
    for line in iter(file.readline, b""):
        if not line.endswith(b"\n") and not over:
            file.seek(-len(line), 1)
            return
        yield _text(line)


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r\n")
