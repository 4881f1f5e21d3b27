"""Plain processes of this machine as a scheduler, for where no engine can run."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.apps.definitions import digest
from cluster.engine.ports import who_listens
from cluster.schedulers import App, Instance
from cluster.schedulers.docker.parts import data_name
from cluster.schedulers.instances import (
    LOCALHOST,
    choose_ports,
    environment,
    health_command,
    instance_name,
    named_ports,
    ports_of,
    refuse_used_ports,
)
from cluster.schedulers.one_machine import OneMachine, to_stderr
from cluster.schedulers.process import instance as process_instance
from cluster.schedulers.process import logs as process_logs
from cluster.schedulers.process import rabbitmq
from cluster.schedulers.process.instance import ProcessInstance
from cluster.schedulers.waiting import SETTLED_S, NotUp, wait
from cluster.settings import ROOT
from scripts.errors import ClusterError
from scripts.hostport import HostPort

SCRIPTS = (ROOT / "scripts", ROOT / "components" / "worker" / "scripts")  # in /usr/local/bin of the worker's image


class Process(OneMachine[ProcessInstance]):
    """Runs the `cmd` of apps, without their images.

    There are no limits to memory, CPU and logs. What has ended is not started again, nor is anything after a restart of
    the machine: its state is `stopped`, with the exit code. All is kept under `<folder>/<project>`: `<app>/<n>/` for an
    instance, `data/<name>/` for the data of `/var/lib/cluster/<name>`, whose place a command finds in the environment
    as CLUSTER_DATA_<NAME>.
    """

    name = "process"

    def __init__(self, project: str, folder: Path = ROOT / ".run", say: Callable[[str], None] = to_stderr) -> None:
        super().__init__(project, say)
        self._folder = folder.resolve() / project

    @contextmanager
    def _alone(self, app_id: str) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"{_slug(app_id)}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ClusterError(f"another deploy of {app_id} is under way: wait for it, or run this again") from None
            yield

    def _found(self, app_id: str = "") -> list[ProcessInstance]:
        folders = self._folder.glob(f"{_slug(app_id) if app_id else '*'}/*/definition.json")
        instances = (definition.parent for definition in folders if definition.parents[1] != self._data)
        found = [ProcessInstance.read(folder, self._project) for folder in instances]
        of_app = [one for one in found if one and app_id in ("", one.app.id)]
        return sorted(of_app, key=lambda one: (one.app.id, one.number))

    def _app(self, one: ProcessInstance) -> App:
        return one.app

    def _number(self, one: ProcessInstance) -> int:
        return one.number

    def _runs(self, one: ProcessInstance) -> bool:
        return one.is_alive()

    def _is_made_from(self, one: ProcessInstance, app: App) -> bool:
        return digest(one.app.definition) == digest(app.definition)

    def _instance(self, one: ProcessInstance) -> Instance:
        ports = named_ports(ports_of(one.app.definition), one.ports)
        addresses = {name: HostPort(LOCALHOST, port) for name, port in ports.items()}
        if not one.is_alive():
            return Instance(one.name, "stopped", "", addresses, one.ended())
        works, said = one.run_check(health_command(one.app.definition))
        return Instance(one.name, "running" if works else "unhealthy", "", addresses, "" if works else said)

    def _prepare(self, app: App, numbers: Sequence[int], found: Sequence[ProcessInstance]) -> dict[str, dict[str, Any]]:
        if not app.definition.get("cmd"):
            raise ClusterError(f"{app.id}: cmd is missing: it is what the scheduler {self.name} runs")
        ports = ports_of(app.definition)
        if numbers:
            self._refuse_other_app(app.id)
            ours = {port for one in found if one.is_alive() for port in one.ports}
            refuse_used_ports(app.id, ports, ours, who_listens)
        return {
            instance_name(self._project, app.id, number): {
                "number": number, "cmd": app.definition["cmd"], "ports": list(chosen)
            }
            for number, chosen in zip(numbers, choose_ports(ports, len(numbers)), strict=True)
        }  # fmt: skip

    def _refuse_other_app(self, app_id: str) -> None:
        """`/a/b` and `/a-b` would share a folder."""
        for other in self._found():
            if other.app.id != app_id and _slug(other.app.id) == _slug(app_id):
                raise ClusterError(f"deploy {app_id}: {other.app.id} runs here and uses its folder: give it another id")
        if app_id == "/data":
            raise ClusterError(f"deploy {app_id}: the folder of this name is for data: give the app another id")

    def _get_ready(self, app: App) -> None:
        if rabbitmq.is_run_by(app.definition):
            rabbitmq.ensure_installed(self._say)

    def _start(self, app: App, name: str, what: dict[str, Any]) -> ProcessInstance:
        folder = self._folder / _slug(app.id) / str(what["number"])
        env = self._environment(app, name, what["ports"], folder)
        return ProcessInstance.start(folder, self._project, app, env, what["ports"])

    def _run_to_end(self, app: App, name: str, what: dict[str, Any], timeout_s: float) -> tuple[int, list[str]]:
        env = self._environment(app, name, what["ports"], self._folder)
        try:
            code, output = process_instance.run_to_end(what["cmd"], self._folder, env, timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"{name} had not ended after {timeout_s:g} s") from error
        return code, output.splitlines()

    def _environment(self, app: App, name: str, ports: Sequence[int], folder: Path) -> dict[str, str]:
        env = dict(os.environ) | environment(app, name, ports)
        env["PATH"] = ":".join([*map(str, SCRIPTS), env.get("PATH", os.defpath)])
        env["CLUSTER_WORKER_ALIVE_FILE"] = str(folder / "alive")
        data = self._data_folders(app)
        env |= {f"CLUSTER_DATA_{_variable(name)}": str(place) for name, place in data.items()}
        if rabbitmq.is_run_by(app.definition):
            by_port = {port.container: chosen for port, chosen in zip(ports_of(app.definition), ports, strict=True)}
            stays = next(iter(data.values()), folder)
            return rabbitmq.environment(env, self._project, app.definition, by_port, stays)
        return env

    def _data_folders(self, app: App) -> dict[str, Path]:
        """The folders of the app's data, made where they are missing; a file beside each says whose it is."""
        volumes = (app.definition.get("container") or {}).get("volumes") or []
        names = [name for volume in volumes if (name := data_name(volume["hostPath"]))]
        for name in names:
            (self._data / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            (self._data / f"{name}.app").write_text(app.id)
        return {name: self._data / name for name in names}

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _wait(self, started: Sequence[ProcessInstance], timeout_s: float) -> None:
        begun = time.monotonic()

        def works(instance: ProcessInstance) -> bool:
            if not instance.is_alive():
                raise NotUp(f"{instance.name} {instance.ended()}", process_logs.last(instance.log, 10))
            check = health_command(instance.app.definition)
            return instance.run_check(check)[0] if check else time.monotonic() - begun >= SETTLED_S

        def late(instance: ProcessInstance) -> NotUp:
            said = instance.run_check(health_command(instance.app.definition))[1]
            return NotUp.late(instance.name, timeout_s, said, process_logs.last(instance.log, 10))

        wait(started, works, late, timeout_s)

    def _end(self, found: Sequence[ProcessInstance], now: bool) -> None:
        process_instance.end(found, now, self._say)

    def _lines(self, found: Sequence[ProcessInstance], tail: int, follow: bool) -> Iterator[str]:
        if follow:
            logs = {one.name: one.log for one in found}
            return process_logs.follow(logs, tail, lambda: not any(one.is_alive() for one in found))
        return (f"{one.name}: {line}" for one in found for line in process_logs.last(one.log, tail))

    def _delete_data(self, app_id: str) -> list[str]:
        owners = {file.with_suffix(""): file for file in self._data.glob("*.app")}
        deleted = [folder for folder, file in owners.items() if app_id in ("", file.read_text())]
        for folder in deleted:
            shutil.rmtree(folder, ignore_errors=True)
            owners[folder].unlink()
        return sorted(str(folder) for folder in deleted)


def _slug(app_id: str) -> str:
    return app_id.removeprefix("/").replace("/", "-")


def _variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())
