"""Instances of apps on one machine: the steps of a deploy to them, their names and their environment."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cluster.apps import definitions
from cluster.apps.app import AppSpec, Instance, Kind, State
from cluster.schedulers.host_ports import LOCALHOST, addresses
from cluster.schedulers.waiting import NotUp
from scripts.errors import ClusterError

_DATA = re.compile(r"/var/lib/cluster/([A-Za-z0-9][A-Za-z0-9_.-]*)")


class MachineInstance(ABC):
    """A copy of an app that is started and ended by itself: a container or a process, as it was when it was found."""

    app: AppSpec
    name: str
    number: int
    host_ports: tuple[int, ...]
    image = ""

    @property
    @abstractmethod
    def runs(self) -> bool:
        """True while its program runs."""

    def still_runs(self) -> bool:
        """Return True while its program runs, having looked anew."""
        return self.runs

    def made_from(self) -> AppSpec:
        """Return its app, the image by content where the name may mean another."""
        return self.app

    def is_made_from(self, app: AppSpec) -> bool:
        """Return True when it is as this app wants it, however many there are."""
        return replace(self.app, image="").digest == replace(app, image="").digest

    def seen(self) -> Instance:
        """Return it as people see it."""
        state, detail = self.state()
        return Instance(self.name, state, self.image, addresses(self.app.ports, self.host_ports), detail)

    @abstractmethod
    def state(self) -> tuple[State, str]:
        """Return its state now, and words about it."""

    @abstractmethod
    def works(self) -> bool:
        """Return True when its health check succeeds, or without one when it has run for a second.

        Raises:
            NotUp: its program has ended.
        """

    def late(self, timeout_s: float) -> NotUp:
        """Return the error of one that does not work in time; it is left running."""
        said = self.check_output()
        says = f" (its health check says: {said})" if said else ""
        return NotUp(f"{self.name} does not work after {timeout_s:g} s{says} and is left running", self.last_lines(10))

    @abstractmethod
    def check_output(self) -> str:
        """Return the first line that its health check printed."""

    @abstractmethod
    def last_lines(self, count: int) -> list[str]:
        """Return the last lines that it printed."""

    @abstractmethod
    def ask_to_stop(self) -> None:
        """Ask its program to come to an end."""

    @abstractmethod
    def remove(self) -> None:
        """End it and forget it; its data stays."""


@dataclass(frozen=True)
class Steps:
    """The numbers of the instances that a deploy stops, makes and keeps."""

    stop: tuple[int, ...]
    create: tuple[int, ...]
    keep: tuple[int, ...]

    @property
    def kind(self) -> Kind:
        """The kind of change that they are."""
        if not self.stop and not self.create:
            return "nothing"
        if not self.stop and not self.keep:
            return "create"
        return "replace" if set(self.stop) & set(self.create) else "scale"


def decide(app: AppSpec, found: Mapping[int, bool]) -> Steps:
    """Keep the instances of an app that are as wanted (by their numbers), and make the others anew."""
    if app.instances < 1:
        raise ClusterError(f"{app.id}: instances is {app.instances}: give 1 or more; stopping an app is a command")
    fixed = [port.host for port in app.ports if port.host]
    if app.instances > 1 and fixed:
        raise ClusterError(
            f"{app.id}: {app.instances} instances cannot share port {fixed[0]} of this machine; "
            "run 1, or set its hostPort to 0 for any free port"
        )
    wanted = range(1, app.instances + 1)
    keep = tuple(number for number in wanted if found.get(number))
    return Steps(
        stop=tuple(number for number in sorted(found) if number not in keep),
        create=tuple(number for number in wanted if number not in keep),
        keep=keep,
    )


def kept_app(text: str) -> AppSpec:
    """Read the app that an instance was made from, as JSON; earlier versions of this project kept Marathon's."""
    found = json.loads(text)
    return AppSpec.from_json(found) if "mem_mib" in found else definitions.read(found)


def instance_name(project: str, app_id: str, number: int) -> str:
    """Return `cluster-group-amqp-1` for instance 1 of /group/amqp: the name of a container."""
    return f"{project}{app_id.replace('/', '-')}-{number}"


def data_name(host_path: str) -> str:
    """Return `amqp` for `/var/lib/cluster/amqp`, the data of an app; empty for any other folder."""
    match = _DATA.fullmatch(host_path)
    return match[1] if match else ""


def environment(
    app: AppSpec, name: str, host_ports: Sequence[int], secret_places: Mapping[str, str]
) -> dict[str, str]:  # fmt: skip
    """Return the environment of an instance, as Marathon makes it; what the app says wins over that.

    Of Marathon's variables these: where the app can be reached (HOST, PORT*), which app and image it is, and the
    name of the instance as MESOS_TASK_ID, since on the host's own network a hostname does not tell instances apart.
    The others are about Mesos' sandbox, offers and roles, which one machine has not.
    """
    env = {"HOST": LOCALHOST, "MARATHON_APP_ID": app.id, "MESOS_TASK_ID": name}
    if app.image:
        env["MARATHON_APP_DOCKER_IMAGE"] = app.image
    for index, (port, chosen) in enumerate(zip(app.ports, host_ports, strict=True)):
        env[f"PORT{index}"] = env[f"PORT_{port.container or port.host or chosen}"] = str(chosen)
        if port.name:
            env[f"PORT_{port.name.upper()}"] = str(chosen)
    if app.ports:
        env |= {"PORT": env["PORT0"], "PORTS": ",".join(map(str, host_ports))}
    return {**env, **app.env, **secret_places}
