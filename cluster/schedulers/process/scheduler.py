"""Plain processes of this machine as an engine of apps, RabbitMQ among them, for where no Docker Engine can run."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from cluster.apps.app import AppSpec, Image, Port
from cluster.engine import debian
from cluster.files import locked
from cluster.image_ref import ImageRef
from cluster.schedulers import Say, Wanted
from cluster.schedulers.instances import LOCALHOST, choose_ports, data_name, environment, is_rabbitmq, secret_path
from cluster.schedulers.one_machine import OneMachine
from cluster.schedulers.process import instance as process_instance
from cluster.schedulers.process.instance import ProcessInstance
from cluster.settings import ROOT, Settings
from scripts.amqp.broker import SECRET_VARIABLES
from scripts.errors import ClusterError, ServiceAway

SCRIPTS = (ROOT / "scripts", ROOT / "components" / "worker" / "scripts")  # in /usr/local/bin of the worker's image
RUN = ROOT / ".run"


class Process(OneMachine[ProcessInstance]):
    """Runs the commands of apps, without their images.

    There are no limits to memory, CPU and logs. What has ended is not started again, nor is anything after a restart of
    the machine: its state is `stopped`, with the exit code. All is kept under `<folder>/<project>`: `<app>/<n>/` for an
    instance, `data/<name>/` for the data of `/var/lib/cluster/<name>`, whose place a command finds in the environment
    as CLUSTER_DATA_<NAME>.
    """

    name = "process"
    has_images = False
    limits_resources = False
    caveat = "plain processes do not come back when this machine starts anew: run this again then"

    def __init__(self, settings: Settings, folder: Path, say: Say) -> None:
        super().__init__(settings, say)
        self._folder = folder.resolve() / settings.project
        self._data = self._folder / "data"

    @classmethod
    def make(cls, settings: Settings, address: str, say: Say) -> Process:
        """Return the processes of this machine."""
        return cls(settings, RUN, say)

    def image(self, tag: str) -> Image:
        """Return the image by its name, which is for people: it need not be there."""
        return Image(str(ImageRef.parse(tag, self._settings.images)), tag)

    def _alone(self, app_id: str) -> AbstractContextManager[None]:
        taken = f"another deploy of {app_id} is under way: wait for it, or run this again"
        return locked(self._folder / f"{_slug(app_id)}.lock", taken)

    def _found(self, app_id: str = "") -> list[ProcessInstance]:
        folders = self._folder.glob(f"{_slug(app_id) if app_id else '*'}/*/definition.json")
        instances = (definition.parent for definition in folders if definition.parents[1] != self._data)
        found = [ProcessInstance.read(folder, self._project) for folder in instances]
        of_app = [one for one in found if one and app_id in ("", one.app.id)]
        return sorted(of_app, key=lambda one: (one.app.id, one.number))

    def _check(self, app: AppSpec) -> None:
        super()._check(app)
        if not app.command:
            raise ClusterError(f"{app.id}: the command (cmd) is missing: it is what the engine {self.name} runs")

    def _what_to_make(self, app: AppSpec, number: int, host_ports: tuple[int, ...]) -> dict[str, Any]:
        return {"number": number, "cmd": app.command, "ports": list(host_ports)}

    def _refuse_foreign(self, app: AppSpec, prepared: dict[str, dict[str, Any]]) -> None:
        """Refuse an app whose folder is another's: `/a/b` and `/a-b` would share one."""
        for other in self._found():
            if other.app.id != app.id and _slug(other.app.id) == _slug(app.id):
                raise ClusterError(f"deploy {app.id}: {other.app.id} runs here and uses its folder: give it another id")
        if app.id == "/data":
            raise ClusterError(f"deploy {app.id}: the folder of this name is for data: give the app another id")

    def _get_ready(self, app: AppSpec) -> None:
        if is_rabbitmq(app):
            ensure_rabbitmq(self._say)

    def _start(self, app: AppSpec, name: str, what: dict[str, Any], is_followed: bool) -> ProcessInstance:
        folder = self._folder / _slug(app.id) / str(what["number"])
        env = self._environment(app, name, what["ports"], folder)
        return ProcessInstance.start(folder, self._project, app, env, what["ports"])

    def _environment(self, app: AppSpec, name: str, ports: Sequence[int], folder: Path) -> dict[str, str]:
        places = {file.env: str(secret_path(self._project, file)) for file in app.secret_files if file.env}
        # A person's login for brokers comes as the app's own, its password in a file.
        inherited = {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES}
        env = inherited | environment(app, name, ports, places)
        env["PATH"] = ":".join([*map(str, SCRIPTS), env.get("PATH", os.defpath)])
        env["CLUSTER_WORKER_ALIVE_FILE"] = str(folder / "alive")
        data = self._data_folders(app)
        env |= {f"CLUSTER_DATA_{re.sub(r'[^A-Z0-9]', '_', name.upper())}": str(place) for name, place in data.items()}
        if is_rabbitmq(app):
            by_port = {port.container: chosen for port, chosen in zip(app.ports, ports, strict=True)}
            stays = next(iter(data.values()), folder)
            return rabbitmq_environment(env, self._project, app, by_port, stays)
        return env

    def _data_folders(self, app: AppSpec) -> dict[str, Path]:
        """Return the folders of the app's data, made where they are missing; a file beside each says whose it is."""
        names = [name for volume in app.volumes if (name := data_name(volume.host_path))]
        for name in names:
            (self._data / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            (self._data / f"{name}.app").write_text(app.id)
        return {name: self._data / name for name in names}

    def _follow(self, found: Sequence[ProcessInstance], tail: int, wanted: Wanted) -> Iterator[str]:
        logs = {one.name: one.log for one in found}
        return process_instance.follow(logs, tail, lambda: not any(one.runs for one in found), wanted)

    def _delete_data(self, app_id: str) -> list[str]:
        owners = {file.with_suffix(""): file for file in self._data.glob("*.app")}
        deleted = [folder for folder, file in owners.items() if app_id in ("", file.read_text())]
        for folder in deleted:
            shutil.rmtree(folder, ignore_errors=True)
            owners[folder].unlink()
        return sorted(str(folder) for folder in deleted)


def _slug(app_id: str) -> str:
    return app_id.removeprefix("/").replace("/", "-")


# RabbitMQ is Debian's package, with a config, data, ports and Erlang cookie of its own. It works as root and as a plain
# user, with 3.10 (Debian 12) and 4.0 (Debian 13): not by the package's command in /usr/sbin, which becomes the user
# rabbitmq or refuses, but by the script that this command runs in the end.
SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
QUEUE_FILES = ROOT / "components" / "queue"  # the image's settings are good for a process too

AMQP, MANAGEMENT, PROMETHEUS = 5672, 15672, 15692  # the ports as a definition's portMappings name them

_POLICY = Path("/usr/sbin/policy-rc.d")  # asked by Debian's packages before they start a service
_NO_STARTS = """#!/bin/sh
# Made while RabbitMQ is installed, so that its service is not started; not needed after that.
exit 101
"""


def ensure_rabbitmq(say: Say) -> None:
    """Install Debian's package of RabbitMQ if it is not there; its own service is neither started nor left enabled."""
    if SERVER.exists():
        return
    if not debian.is_allowed():
        raise ServiceAway(
            f"RabbitMQ is not installed ({SERVER} is not there): install the package rabbitmq-server, or run this "
            "as root on Debian, or give the address of another broker with -u amqp://HOST:PORT"
        )
    mapper_is_new = not shutil.which("epmd")
    with _no_service_starts():
        debian.install(["rabbitmq-server"], say)
    # Not at the next boot either: it would take the queue's port, and Erlang's port mapper listens to everyone.
    _run("update-rc.d", "rabbitmq-server", "disable")
    if mapper_is_new:
        _run("systemctl", "disable", "epmd.socket", "epmd.service")


@contextmanager
def _no_service_starts() -> Iterator[None]:
    is_ours = not _POLICY.exists() or _POLICY.read_text() == _NO_STARTS  # of a run that was killed halfway
    if is_ours:
        _POLICY.write_text(_NO_STARTS)
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if is_ours:
            _POLICY.unlink()
    if not is_ours:  # it may have let the service start
        _run("invoke-rc.d", "rabbitmq-server", "stop")


def _run(*command: str) -> None:
    """Run a tool of Debian's; what it cannot do here (there may be no init system at all) need not be done."""
    with suppress(OSError):
        subprocess.run(command, env=debian.environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False)


def rabbitmq_environment(
    env: Mapping[str, str], project: str, app: AppSpec, ports: Mapping[int, int], data: Path
) -> dict[str, str]:
    """Add what RabbitMQ needs to the environment of its app, and make the files that it reads in the folder `data`.

    `ports` are the host ports by the ports of the container. By the project, in the node's name, it finds its data.
    """
    named = [Port(container=port, host=ports.get(port, 0)) for port in (AMQP, MANAGEMENT, PROMETHEUS)]
    amqp, management, prometheus, distribution, epmd = choose_ports([*named, Port("distribution"), Port("epmd")])[0]
    with suppress(FileExistsError):
        cookie = os.open(data / ".erlang.cookie", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with os.fdopen(cookie, "w") as file:
            file.write(secrets.token_hex(20))
    config = data / "rabbitmq.conf"
    listeners = (
        f"\nmanagement.tcp.ip = {LOCALHOST}\nmanagement.tcp.port = {management}\n"
        f"prometheus.tcp.ip = {LOCALHOST}\nprometheus.tcp.port = {prometheus}\n"
    )
    config.write_text((QUEUE_FILES / "rabbitmq.conf").read_text() + listeners)
    # Without the settings of another RabbitMQ that this user runs or reaches.
    kept = {key: value for key, value in env.items() if key in app.env or not key.startswith(("RABBITMQ_", "ERL_"))}
    return kept | {
        "HOME": str(data),  # where Erlang looks for its cookie
        "PATH": f"{SERVER.parent}:{env['PATH']}",
        "CLUSTER_MEM_MIB": f"{app.mem_mib:.0f}",
        "RABBITMQ_CONF_ENV_FILE": str(QUEUE_FILES / "rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(config),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(QUEUE_FILES / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(data / "mnesia"),
        "RABBITMQ_LOG_BASE": str(data / "log"),
        "RABBITMQ_NODENAME": f"rabbit-{project}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": LOCALHOST,
        "RABBITMQ_NODE_PORT": str(amqp),
        "RABBITMQ_DIST_PORT": str(distribution),
        # Erlang's port mapper: one of our own on a port of its own, so that nobody else's is used or ended.
        "ERL_EPMD_ADDRESS": LOCALHOST,
        "ERL_EPMD_PORT": str(epmd),
    }
