"""One host of the tests: a container with sshd and, where it has one, a Docker Engine."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException
from docker.types import EndpointConfig

from tests.hosts import access
from tests.hosts.access import Key
from tests.hosts.network import CGROUPS, IMAGE, LABEL, owner
from tests.waiting import until

UP_TIMEOUT_S = 60

# What an engine needs in a container where --privileged is refused.
_MAY_RUN_AN_ENGINE = {
    "cap_add": ["ALL"],
    "cap_drop": ["SYS_RESOURCE"],
    "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
    "device_cgroup_rules": ["a *:* rwm"],
    "cgroupns": "host",
}
# The docker command makes this of systempaths=unconfined; the SDK has no word for it.
_ALL_OF_PROC = {"MaskedPaths": [], "ReadonlyPaths": []}
# Now and then a busy engine loses what a short command prints. So it is kept, and read again when its end is missing.
_KEEPING = 'sh -c "$1" >"$2" 2>&1; code=$?; cat "$2"; echo; echo end; exit $code'
_READING = 'cat "$1"; echo; echo end'
_END = b"\nend\n"
_READINGS = 10
_VOLUMES = ["/var/lib/docker", "/var/lib/containerd"]


class TestHost:
    """A host: made at once, started when it is first used. `address` is its own as long as the run lasts."""

    __test__ = False  # pytest would take it for tests
    image = IMAGE

    def __init__(self, client: Any, network: Any, name: str, address: str, client_key: Key, has_engine: bool) -> None:
        self._client, self._network, self._client_key = client, network, client_key
        self.name, self.ip, self.has_engine = name, address, has_engine
        self.key = Key()
        self.was_up = False
        self._lock = threading.Lock()
        self._container: Any = None

    @property
    def container(self) -> Any:
        """The SDK's container that this host is."""
        with self._lock:
            if self._container is None:
                self._container = self._create()
                self._container.start()
        return self._container

    def wait(self) -> None:
        """Start it if it does not run, and return when its sshd and its engine answer.

        Raises:
            TimeoutError: they do not; with the end of the log.
        """
        container = self.container
        try:
            until(self._greets, f"an sshd of {self.name} at {self.ip}", UP_TIMEOUT_S)
            if self.has_engine:
                until(self._engine_answers, f"an engine of {self.name} at {self.ip}", UP_TIMEOUT_S)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {container.logs(tail=5)!r} {self._log()}") from error
        self.was_up = True

    def run(self, command: str, timeout_s: float = 60) -> str:
        """What a shell command prints there, as root and not by ssh; it must succeed."""
        kept = f"/run/test-{secrets.token_hex(8)}"
        code, output = self.container.exec_run(["timeout", str(timeout_s), "sh", "-c", _KEEPING, "sh", command, kept])
        for _ in range(_READINGS):
            if output.endswith(_END):
                break
            output = self.container.exec_run(["sh", "-c", _READING, "sh", kept]).output
        text = output.removesuffix(_END).decode()
        assert code == 0, f"{self.name}: {command}: exit {code}: {text}"
        return str(text)

    @contextmanager
    def engine(self) -> Iterator[Any]:
        """Its Docker Engine, for tests that look at it themselves."""
        with closing(docker.DockerClient(base_url=self.engine_url, timeout=60)) as client:
            yield client

    @property
    def hostname(self) -> str:
        """The name that it has for itself; its engine's control groups are named so."""
        return f"{self._network.name}-{self.name}"

    def files(self) -> list[access.File]:
        """What makes it this host and lets the client in."""
        return access.files_of_a_host(self.key, self._client_key)

    @property
    def engine_url(self) -> str:
        """Where its engine answers without ssh; within the hosts' network alone."""
        return f"tcp://{self.ip}:2375"

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let it hang for a while: it takes connections and says nothing."""
        self.container.pause()
        try:
            yield
        finally:
            self.container.unpause()

    def kill(self) -> None:
        """Switch it off without warning; `restart` switches it on."""
        self.container.kill()

    def restart(self) -> None:
        """Switch it off, if it is on, and on; return when all answers. Its disk and its address stay."""
        self.container.restart(timeout=0)
        self.wait()

    def stop_engine(self) -> None:
        """End its engine and what runs there."""
        self.run("stop-engine")

    def start_engine(self) -> None:
        """Start its engine again; return when it answers."""
        self.run("start-engine")
        self.wait()

    @contextmanager
    def full(self, folder: str) -> Iterator[None]:
        """Put a disk without room at a folder for a while; what is there cannot be seen meanwhile."""
        self.run(f"mkdir -p {folder} && mount -t tmpfs -o size=64k full {folder}")
        self.run(f"dd if=/dev/zero of={folder}/full bs=4k 2>/dev/null; true")
        try:
            yield
        finally:
            self.run(f"umount {folder}")

    def make_image(self, name: str) -> None:
        """Give its engine an image to try things with, of 12 MB: with sh, cat, sleep and socat."""
        self.run(f"make-small-image {name}")

    def clear(self) -> None:
        """Take away what a test left there: containers, the project's files, what it trusts, logins. Images stay."""
        self.run("docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes")
        self.run("rm -rf /etc/cluster /var/lib/cluster /etc/docker/certs.d /root/.docker /home/ops/.docker")

    def remove(self) -> None:
        """End it, with all that it keeps."""
        if self._container is not None:
            self._container.remove(v=True, force=True)

    def _create(self) -> Any:
        api = self._client.api
        endpoint = EndpointConfig(api._version, aliases=[self.name], ipv4_address=self.ip)
        created = api.create_container(
            self.image,
            hostname=self.hostname,
            name=f"{self._network.name}-{self.name}",
            environment={"ENGINE": "yes" if self.has_engine else "no"},
            volumes=[CGROUPS, *_VOLUMES] if self.has_engine else [],
            labels={LABEL: owner()},
            networking_config=api.create_networking_config({self._network.name: endpoint}),
            host_config=self._host_config(api),
        )
        container = self._client.containers.get(created["Id"])
        container.put_archive("/", access.archive(self.files()))
        return container

    def _host_config(self, api: Any) -> Any:
        # As on any host, no file in /run outlives a restart. A name that no host has is unknown after a second.
        always: dict[str, Any] = {"tmpfs": {"/run": ""}, "dns_opt": ["timeout:1", "attempts:1"]}
        if not self.has_engine:
            return api.create_host_config(**always)
        return api.create_host_config(binds=[f"{CGROUPS}:{CGROUPS}:rw"], **_MAY_RUN_AN_ENGINE, **always) | (
            _ALL_OF_PROC
        )

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.ip, 22), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _engine_answers(self) -> bool:
        try:
            with self.engine() as client:
                return bool(client.ping())
        except (DockerException, APIError, requests.RequestException):
            return False

    def _log(self) -> str:
        return self.container.exec_run(["tail", "-n", "5", "/var/log/dockerd.log"]).output.decode()
