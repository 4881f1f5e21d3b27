"""The Slurm cluster of a run."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import secrets
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from docker.errors import APIError

from cluster.settings import ROOT, Settings
from tests.hosts import access
from tests.hosts.access import Key
from tests.hosts.cluster import build
from tests.hosts.host import TestHost
from tests.hosts.network import LABEL, address, make_network, owner, remove_leftovers
from tests.waiting import until

IMAGE = "cluster-test-slurm:latest"
NODES = ("node1", "node2", "node3")
USERS = {"user1": 1000, "user2": 1001}  # with their ids
CHECKOUT = "/home/user1/cluster"
UP_TIMEOUT_S = 60
PACKAGES_TIMEOUT_S = 300
_WHEELS = ROOT / ".run" / "test-wheels"
_PYTHON = "3.13"  # the image's


class Machine(TestHost):
    """A machine of the cluster. `shared` is a folder that all see, as this machine does, under the same path."""

    image = IMAGE

    def __init__(self, cluster: SlurmCluster, name: str, address: str) -> None:
        super().__init__(cluster.client, cluster.network, name, address, cluster.client_key, has_engine=False)
        self._cluster = cluster

    @property
    def hostname(self) -> str:
        """Its name, as Slurm's configuration has it."""
        return self.name

    def files(self) -> list[access.File]:
        """What makes it this machine and lets the users in."""
        return [
            access.File("etc/ssh/ssh_host_ed25519_key", 0o600, 0, self.key.private),
            access.File("etc/munge/munge.key", 0o400, 0, self._cluster.munge_key),
            *(access.authorized(f"home/{user}", number, self._client_key) for user, number in USERS.items()),
        ]

    def _host_config(self, api: Any) -> Any:
        shared = self._cluster.shared
        binds = [f"{self._cluster.home}:/home", f"{shared}:{shared}", f"{self._cluster.wheels}:/opt/wheels:ro"]
        return api.create_host_config(binds=binds, tmpfs={"/run": ""}, dns_opt=["timeout:1", "attempts:1"])


class SlurmCluster:
    """A controller, which is the login node as well, and three compute nodes of four CPUs.

    A test that breaks a machine mends it, and ends its own jobs: the others find the cluster as it is.
    """

    def __init__(self, client: Any, folder: Path, wheels: Path) -> None:
        self.client, self.folder, self.wheels = client, folder, wheels
        self.name = f"test-slurm-{secrets.token_hex(4)}"
        self.network = make_network(client, self.name)
        self.home = client.volumes.create(f"{self.name}-home", labels={LABEL: owner()}).name
        self.shared = folder / "shared"
        self.shared.mkdir()
        self.shared.chmod(0o1777)
        self.munge_key = secrets.token_bytes(1024)
        self.client_key = Key()
        identity = access.write_private(folder / "id_ed25519", self.client_key)
        self.machines = {
            name: Machine(self, name, address(self.network, number))
            for number, name in enumerate(["login", *NODES], start=1)
        }
        self.login = self.machines["login"]
        known = folder / "known_hosts"
        known.write_text(access.known_hosts((one.name, one.ip, one.key) for one in self.machines.values()))
        addresses = {one.name: one.ip for one in self.machines.values()}
        for user in USERS:
            self.ssh_config(user).write_text(access.ssh_config(addresses, {}, identity, known, user))

    def start(self) -> None:
        """Start all machines; return when Slurm has them all."""
        assert self.login.container  # the first one fills the empty /home
        with ThreadPoolExecutor() as threads:
            list(threads.map(TestHost.wait, self.machines.values()))
        self.wait_for_nodes()

    def ssh_config(self, user: str) -> Path:
        """The ssh configuration that knows the machines by name and address, for one of the users."""
        return self.folder / f"ssh_config-{user}"

    def settings(self, settings: Settings, user: str = "user1") -> Settings:
        """The same settings with the way to this cluster."""
        return replace(settings, agents=replace(settings.agents, ssh_config=str(self.ssh_config(user))))

    def run(
        self, command: str, user: str = "user1", node: str = "login", *, stdin: str = "", timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command over SSH in a login shell of a user, from the user's home, and look at what comes."""
        return subprocess.run(
            self._ssh(command, user, node), input=stdin, capture_output=True, text=True, check=False, timeout=timeout_s
        )

    def begin(self, command: str, user: str = "user1") -> subprocess.Popen[str]:
        """Start a command on the login node in the same way, and let it run."""
        return subprocess.Popen(
            self._ssh(command, user, "login"),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, command: str, user: str = "user1", node: str = "login", **how: Any) -> str:
        """Run a command, which must succeed; return what it printed on STDOUT."""
        done = self.run(command, user, node, **how)
        assert done.returncode == 0, f"{user}@{node}: {command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @cached_property
    def checkout(self) -> str:
        """The folder with a copy of this checkout in user1's home, whose `./inv` is ready."""
        self.login.container.put_archive("/", _packed_checkout())
        self(f"{CHECKOUT}/inv --version", timeout_s=PACKAGES_TIMEOUT_S)
        return CHECKOUT

    def kill_node(self, name: str) -> None:
        """Switch a node off without warning."""
        self.machines[name].kill()

    def start_node(self, name: str) -> None:
        """Switch a node on again; return when Slurm gives it jobs."""
        before = self._slurmd_start(name)
        self.machines[name].container.start()
        until(lambda: self._slurmd_start(name) != before, f"the slurmd of {name}", UP_TIMEOUT_S)
        self.wait_for_nodes()

    def restart_controller(self) -> None:
        """End the controller and start it again; return when it answers."""
        self.login.run("start-controller")
        self.wait_for_nodes()

    def wait_for_nodes(self) -> None:
        """Return when Slurm can use all nodes that run."""
        wanted = {name for name in NODES if self._is_on(name)}
        until(lambda: wanted <= self._usable(), f"Slurm with {wanted}: {self.run('sinfo -N -l').stdout}", UP_TIMEOUT_S)

    def remove(self) -> None:
        """End all machines and take away what they had."""
        if self.login.was_up:
            self.login.container.start()
            self.login.run(f"find {self.shared} -mindepth 1 -delete")  # the users' files
        with ThreadPoolExecutor() as threads:
            for end in [threads.submit(one.remove) for one in self.machines.values()]:
                end.result()
        self.network.remove()
        self.client.volumes.get(self.home).remove()

    def _ssh(self, command: str, user: str, node: str) -> list[str]:
        words = ["ssh", "-F", str(self.ssh_config(user)), "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", node]
        return [*words, "bash", "-lc", shlex.quote(command)]

    def _is_on(self, name: str) -> bool:
        container = self.machines[name].container
        container.reload()
        return bool(container.status == "running")

    def _slurmd_start(self, name: str) -> str:
        return self(f"scontrol show node {name} | grep -o SlurmdStartTime=.*")

    def _usable(self) -> set[str]:
        rows = self.run("sinfo -h -N -o '%N %t'").stdout.split("\n")
        return {row.split()[0] for row in rows if row.endswith((" idle", " mix", " alloc", " comp"))}


@contextmanager
def running_slurm(client: Any, folder: Path, missing: Callable[[str], NoReturn]) -> Iterator[SlurmCluster]:
    """A cluster, removed in the end; `missing` is told why there is none."""
    if not shutil.which("ssh"):
        missing("ssh is not installed")
    remove_leftovers(client)
    build(client, IMAGE, Path(__file__).parent / "image")
    cluster = SlurmCluster(client, folder, _wheels(missing))
    try:
        try:
            cluster.start()
        except (APIError, TimeoutError) as error:
            missing(f"this machine runs no Slurm in containers: {error}")
        yield cluster
    finally:
        cluster.remove()


def _wheels(missing: Callable[[str], NoReturn]) -> Path:
    """Return a folder with what requirements.txt needs for the image's Python, fetched once for each content of it."""
    requirements = ROOT / "requirements.txt"
    folder = _WHEELS / hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    if folder.exists():
        return folder
    new = folder.with_name(f"{folder.name}.{os.getpid()}")
    machine = platform.machine()
    words = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:",
        "--python-version", _PYTHON,
        "--platform", f"manylinux2014_{machine}", "--platform", f"manylinux_2_28_{machine}",
        "--dest", str(new), "--requirement", str(requirements),
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PACKAGES_TIMEOUT_S)
    if done.returncode:
        shutil.rmtree(new, ignore_errors=True)
        missing(f"no packages for the machines of a Slurm cluster: {done.stderr}")
    new.rename(folder)
    return folder


def _packed_checkout() -> bytes:
    """Return a tar archive of this checkout, with what is not committed, as user1's."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    files = [Path(name) for name in listed.split("\0") if name and (ROOT / name).exists()]
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name in sorted({*files, *(folder for file in files for folder in file.parents)}):
            tar.add(ROOT / name, f"{CHECKOUT}/{name}", recursive=False, filter=_of_user1)
    return content.getvalue()


def _of_user1(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = USERS["user1"]
    entry.uname = entry.gname = ""
    return entry
