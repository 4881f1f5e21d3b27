"""RabbitMQ as a plain process: Debian's package, with a config, data, ports and Erlang cookie of its own.

Works as root and as a plain user, with 3.10 (Debian 12) and 4.0 (Debian 13): not by the package's command in
/usr/sbin, which becomes the user rabbitmq or refuses, but by the script that this command runs in the end.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from cluster.apps.app import AppSpec, Port
from cluster.engine import debian
from cluster.schedulers.instances import LOCALHOST, choose_ports
from cluster.settings import ROOT
from scripts.errors import ServiceAway

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
FILES = ROOT / "components" / "queue"  # the image's settings are good for a process too

AMQP, MANAGEMENT, PROMETHEUS = 5672, 15672, 15692  # the ports as a definition's portMappings name them

_POLICY = Path("/usr/sbin/policy-rc.d")  # asked by Debian's packages before they start a service
_NO_STARTS = """#!/bin/sh
# Made while RabbitMQ is installed, so that its service is not started; not needed after that.
exit 101
"""


def is_run_by(app: AppSpec) -> bool:
    """Return True when the app is RabbitMQ."""
    return bool(re.search(r"\brabbitmq-server\b", app.command))


def ensure_installed(say: Callable[[str], None]) -> None:
    """Install Debian's package if it is not there; its own service is neither started nor left enabled."""
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


def environment(
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
    config.write_text((FILES / "rabbitmq.conf").read_text() + listeners)
    # Without the settings of another RabbitMQ that this user runs or reaches.
    kept = {key: value for key, value in env.items() if key in app.env or not key.startswith(("RABBITMQ_", "ERL_"))}
    return kept | {
        "HOME": str(data),  # where Erlang looks for its cookie
        "PATH": f"{SERVER.parent}:{env['PATH']}",
        "CLUSTER_MEM_MIB": f"{app.mem_mib:.0f}",
        "RABBITMQ_CONF_ENV_FILE": str(FILES / "rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(config),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(FILES / "enabled_plugins"),
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
