"""Containers of this project: what state they are in, whether they work, and how they are ended."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from queue import SimpleQueue
from threading import Thread
from typing import Any

from cluster import schedulers
from cluster.apps.app import AppSpec, State
from cluster.engine import sdk
from cluster.images import sources
from cluster.schedulers import FINISHING, Overtaken, Wanted, every_line
from cluster.schedulers.docker.body import APP, NUMBER, PORTS, RESTARTS, SOURCE
from cluster.schedulers.docker.found import CHECK_S, Found
from cluster.schedulers.instances import MachineInstance, NotUp, kept_app
from scripts.worker.alive import DRAINED, DRAINING

KILLED = 128 + 9  # how a shell and Docker tell of the signal KILL
GONE, CONFLICT, INTERNAL = 404, 409, 500  # HTTP: no such container; not in a state for this; the engine's own error
NEVER = {"Name": "no"}  # a restart policy
_ENDING_S = 10  # how long the engine may take to notice an end

Container = Any  # the SDK's, or a `Found`


class ContainerInstance(MachineInstance):
    """A container; until it is seen to work, Docker does not start its program again."""

    def __init__(self, container: Container) -> None:
        labels = container.labels
        self.container, self.name, self.number = container, container.name, int(labels[NUMBER])
        self.app = replace(kept_app(labels[SOURCE]), id=labels[APP])
        self.host_ports = tuple(int(port) for port in labels[PORTS].split(",") if port)
        self.image = container.attrs["Config"]["Image"]
        self.sources = labels.get(sources.LABEL, "")  # a container has the labels of its image, too

    @property
    def runs(self) -> bool:
        """True while its program runs."""
        return bool(self.container.status == "running")

    @property
    def started_at(self) -> float:
        """The start of its program, as the engine knows it."""
        return seconds(self.container.attrs["State"]["StartedAt"])

    def still_runs(self) -> bool:
        """Return True while its program runs, having looked anew."""
        with ignored(GONE):
            self.container.reload()
            return self.runs
        return False

    def made_from(self) -> AppSpec:
        """Name its image by content where the name is gone, as with containerd's store after the next build."""
        client, image = self.container.client, self.container.attrs["Image"]
        is_gone = image_id(client, self.app.image) != image and image_id(client, image) == image
        return replace(self.app, image=image) if is_gone else self.app

    def is_made_from(self, app: AppSpec) -> bool:
        """Go by the image's content: a name such as amqp:v1 can stand for another than when the container was made."""
        if not super().is_made_from(app):
            return False
        image = image_id(self.container.client, app.image)
        return bool(image == self.container.attrs["Image"]) if image else app.image == self.app.image

    def state(self) -> tuple[State, str]:
        """Return its state now, and words about it."""
        state = self.container.attrs["State"]
        if state["Status"] == "restarting":
            return "unhealthy", f"{self._ended()}, starting again"
        if state["Status"] != "running":
            return "stopped", self._ended() if state["Status"] in ("exited", "dead") else state["Status"]
        health: State = state.get("Health", {}).get("Status", "healthy")
        is_well = health not in ("starting", "unhealthy")
        # What is to end is not to be started again. Docker's own checks find out later that it takes nothing more.
        if (not is_well or self._ends_for_good) and drains(self.container):
            return "stopping", FINISHING
        return ("running", "") if is_well or self._works_now(health) else (health, self.check_output())

    @property
    def _ends_for_good(self) -> bool:
        return bool(self.container.attrs["HostConfig"]["RestartPolicy"]["Name"] == NEVER["Name"])

    def _works_now(self, health: State) -> bool:
        """Look anew: Docker's checks are far apart, and what was paused is unhealthy until the next."""
        if self.app.health:
            return succeeds_in(self.container, self.app.health.command)
        return health != "unhealthy"  # by a check of the image's own

    def exit_code(self) -> int:
        """Return the exit code of its program, having looked anew."""
        self.container.reload()
        return int(self.container.attrs["State"]["ExitCode"])

    def ended_ago_s(self) -> float:
        """Return how many seconds ago its program has ended."""
        state = self.container.attrs["State"]
        if state["Status"] not in ("exited", "dead"):
            return 0
        return time.time() - seconds(state["FinishedAt"])

    def works(self) -> bool:
        """Return True when it works, and let Docker start its program again when it ends from now on.

        A container whose program has ended is stopped and kept, for its logs to be read.
        """
        self._reload()
        if self.container.status in ("exited", "dead", "restarting"):
            raise self._crashed()
        # Docker's own checks are far apart, so that they cost little.
        check, has_settled = self.app.health, time.time() - self.started_at >= schedulers.SETTLED_S
        works = self.runs and (succeeds_in(self.container, check.command) if check else has_settled)
        if works:
            self._supervise()
        return works

    def late(self, timeout_s: float) -> NotUp:
        """Leave it running under Docker's eyes: it may have much data to read."""
        self._supervise()
        return super().late(timeout_s)

    def _supervise(self) -> None:
        if self.container.attrs["HostConfig"]["RestartPolicy"]["Name"] != RESTARTS["Name"]:
            start_again(self.container, RESTARTS)
            self._reload()
            if self.container.status in ("exited", "dead"):  # a moment before
                raise self._crashed()

    def _reload(self) -> None:
        try:
            self.container.reload()
        except sdk.errors.NotFound as error:
            raise Overtaken(
                f"container {self.name} was removed while it started: is another deploy or stop under way?"
            ) from error

    def _crashed(self) -> NotUp:
        how = self._ended()
        with ignored(GONE, CONFLICT):
            start_again(self.container, NEVER)
            self.container.stop(timeout=0)
        return NotUp(f"{self.name} {how} and is stopped", self.last_lines(10))

    def _ended(self) -> str:
        """Return how its program ended, such as `ended with exit code 3`."""
        state = self.container.attrs["State"]
        if state["OOMKilled"]:
            memory_mib = self.container.attrs["HostConfig"]["Memory"] >> 20
            return f"was killed, since it used more memory than its {memory_mib} MiB"
        if state["ExitCode"] == KILLED:
            return f"was killed (exit code {KILLED})"
        return f"ended with exit code {state['ExitCode']}"

    def check_output(self) -> str:
        """Return the first line of what the last health check that Docker ran has printed."""
        checks = self.container.attrs["State"].get("Health", {}).get("Log") or [{}]
        printed = str(checks[-1].get("Output", "")).strip().splitlines()
        return printed[0] if printed else ""

    def last_lines(self, count: int, wanted: Wanted = every_line) -> list[str]:
        """Return the last of the `wanted` lines that it printed."""
        return last_lines(self.container, count, wanted)

    def ask_to_stop(self) -> None:
        """Send the stop signal, and see that Docker does not start it again."""
        with ignored(GONE, CONFLICT):
            start_again(self.container, NEVER)
            self.container.kill(signal=self.container.attrs["Config"].get("StopSignal") or "SIGTERM")

    def remove(self) -> None:
        """End and remove it, and volumes without a name; those with one stay."""
        with ignored(GONE, CONFLICT):  # someone else removed it, or is about to
            self.container.remove(force=True, v=True)


def image_id(client: sdk.DockerClient, name: str) -> str:
    """Return the image that a name stands for now; empty where it is not here."""
    try:
        return str(client.images.get(name).id)
    except sdk.errors.ImageNotFound:
        return ""


def drains(container: Container) -> bool:
    """Return True where a worker in the container finishes what it runs, by the name of its process."""
    try:
        listed = container.top(ps_args="-o pid,comm")["Processes"] or ()
    except sdk.errors.APIError:
        return False  # it ended meanwhile
    return any(name in (DRAINING, DRAINED) for _, name in listed)


def succeeds_in(container: Container, command: str) -> bool:
    """Run a shell command in the container; return True when it succeeds in time."""
    if isinstance(container, Found):
        return container.succeeds(command)
    api, deadline = container.client.api, time.monotonic() + CHECK_S
    try:
        run = api.exec_create(container.id, ["/bin/sh", "-c", command])["Id"]
        api.exec_start(run, detach=True)
        while time.monotonic() < deadline:
            result = api.exec_inspect(run)
            if not result["Running"] and result["ExitCode"] is not None:
                return bool(result["ExitCode"] == 0)
            time.sleep(0.01)
    except sdk.errors.APIError:
        return False  # it ended meanwhile, for which the engine has many words
    return False


def start_again(container: Container, policy: Mapping[str, str]) -> None:
    """Say when Docker starts it again after its program has ended.

    While its program ends the engine refuses this, for which it has many words; a moment later it takes it.
    """
    deadline = time.monotonic() + _ENDING_S
    while True:
        try:
            container.update(restart_policy=policy)
            return
        except sdk.errors.APIError as error:
            if error.status_code != INTERNAL or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


@contextmanager
def ignored(*statuses: int) -> Iterator[None]:
    """Let answers of the engine with these HTTP statuses pass."""
    try:
        yield
    except sdk.errors.APIError as error:
        if error.response is None or error.response.status_code not in statuses:
            raise


# Docker is asked for the lines since a little before the last one, since it takes a time as a rounded number; what came
# already is known by its exact time.
_OVERLAP_S = 0.001


def last_lines(container: Container, count: int, wanted: Wanted = every_line) -> list[str]:
    """Return the last of the `wanted` lines that a container printed; none where it has been removed."""
    read = count if wanted is every_line else "all"
    with ignored(GONE, CONFLICT):
        found = lines(container.logs(stream=True, follow=False, tail=read))
        return list(deque(filter(wanted, found), maxlen=count))
    return []


def follow(containers: Mapping[str, Container], tail: int, wanted: Wanted = every_line) -> Iterator[str]:
    """Yield the last `tail` of the `wanted` lines of containers as `name: line`, and those to come till the end."""
    followers = [_Follower(name, container, tail, wanted) for name, container in containers.items()]
    arriving: SimpleQueue[str | None] = SimpleQueue()
    for follower in followers:
        Thread(target=follower.run, args=[arriving], daemon=True).start()
    try:
        for _ in followers:
            yield from iter(arriving.get, None)
    finally:
        for follower in followers:
            follower.close()


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield chunks of output, cut anywhere, as lines; what is no UTF-8 is replaced."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace").removesuffix("\r") for line in whole)
    if rest:
        yield rest.decode(errors="replace")


class _Follower:
    """Reads one container's output in a thread, also when Docker starts its program again (the stream ends then)."""

    def __init__(self, name: str, container: Container, tail: int, wanted: Wanted) -> None:
        self.name, self.container, self.tail, self.wanted = name, container, tail, wanted
        self.stream: Any = None
        self.last = b""
        self.is_closed = False

    def run(self, arriving: SimpleQueue[str | None]) -> None:
        began_s = time.time()
        try:
            if self.wanted is every_line:
                self._read(arriving, tail=self.tail)
            else:
                self._read_past(arriving)
            while not self.is_closed:
                self.container.reload()
                if self.container.status not in ("running", "restarting"):
                    break
                self._read(arriving, since=seconds(self.last.decode()) - _OVERLAP_S if self.last else began_s)
        except sdk.errors.APIError:
            pass  # the container was removed
        finally:
            arriving.put(None)

    def _read(self, arriving: SimpleQueue[str | None], **which: Any) -> None:
        self.stream = self.container.logs(stream=True, follow=True, timestamps=True, **which)
        for line in filter(self.wanted, lines(self._new_chunks())):
            arriving.put(f"{self.name}: {line}")

    def _read_past(self, arriving: SimpleQueue[str | None]) -> None:
        """Read all that was printed up to now, for the last of the wanted lines."""
        self.stream = self.container.logs(stream=True, follow=False, timestamps=True, tail="all")
        for line in deque(filter(self.wanted, lines(self._new_chunks())), maxlen=self.tail):
            arriving.put(f"{self.name}: {line}")

    def _new_chunks(self) -> Iterator[bytes]:
        """Yield what was not read before; each chunk comes as its time, a space and a line or a part of a long one."""
        before = self.last
        for chunk in self.stream:
            self.last, _, text = chunk.partition(b" ")
            if self.last > before:
                yield text

    def close(self) -> None:
        self.is_closed = True
        if self.stream is not None:
            with suppress(OSError):
                self.stream.close()


def seconds(at: str) -> float:
    """Read a time of Docker's (RFC 3339 in UTC with nine digits of a second, which sorts as text) as seconds."""
    return datetime.fromisoformat(at).timestamp()
