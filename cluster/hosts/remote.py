"""A host over one SSH connection: commands, files and the Docker Engine there, with its errors in one line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from requests import exceptions
from urllib3.exceptions import ProtocolError

from cluster.engine import published
from cluster.engine.errors import explained, is_silence, raised_by_sdk
from cluster.hosts.channels import OnLine, end, engine_client, execute, quoted
from cluster.hosts.forwards import Forwards
from cluster.hosts.shell import COMMAND_TIMEOUT_S, Ran, Shell, reading, writing
from scripts.errors import ClusterError, ServiceAway
from scripts.hostport import HostPort
from scripts.one_line import one_line

_ASK_DOCKER = "export LC_ALL=C; {docker} version --format '{{{{.Server.APIVersion}}}}'"
_BROKEN = (exceptions.ConnectionError, exceptions.ChunkedEncodingError, ProtocolError)
_LISTENS = "0A"  # the state in /proc/net/tcp
_PROGRAM = re.compile(r'users:\(\("([^"]+)",pid=(\d+)')


@dataclass(frozen=True)
class Disk:
    """A file system, in bytes."""

    total: int
    free: int


class Remote(Shell):
    """A host over its SSH connection. Commands run under /bin/sh, whatever the user's login shell is.

    Everything here raises ClusterErrors that begin with the host's name; ServiceAway when the host went away.
    """

    def __init__(self, name: str, address: str, user: str, transport: Any, timeout_s: float) -> None:
        self.name, self.address, self.user = name, address, user
        self._transport, self._timeout_s = transport, timeout_s
        self._engine: Any = None
        self._forwards = Forwards(name, transport, timeout_s)

    def run(
        self, command: str, *, input: bytes = b"", sudo: bool = False,  # noqa: A002 (as subprocess.run calls it)
        timeout_s: float = COMMAND_TIMEOUT_S, on_line: OnLine | None = None,
    ) -> Ran:  # fmt: skip
        """Run a command for /bin/sh and return how it ended, whatever its exit code; `sudo` runs it as root."""
        line = f"sh -c {quoted(command)}"
        if sudo and not self.is_root:
            if self.sudo_refusal:
                raise ClusterError(f"{self.name}: {self.sudo_refusal}")
            line = f"sudo -n -H -- {line}"
        return execute(self.name, self._transport, line, input, timeout_s, on_line)

    def step(self, doing: str, command: str, *, sudo: bool = False) -> bytes:
        """Run a command that must succeed and return its output; the error begins with `doing`."""
        return self._output(doing, self.run(command, sudo=sudo))

    def read(self, path: str, *, sudo: bool = False) -> bytes | None:
        """Return a file's content, None if there is no file."""
        return self._content(path, self.run(reading(path), sudo=sudo))

    def write(self, path: str, content: bytes, *, mode: int, owner: str = "", sudo: bool = False) -> bool:
        """Put a file there at once, with its folders; return False if it was there already, just so.

        The content travels on STDIN. `owner` is `user:group` (names or numbers), which takes `sudo`; without it the
        user owns the file, or root with `sudo`.
        """
        return self._is_new(path, self.run(writing(path, content, mode, owner), input=content, sudo=sudo))

    def disk(self, folder: str, *, sudo: bool = False) -> Disk | None:
        """Ask for the disk under a folder; None if df cannot tell."""
        ran = self.run(f"LC_ALL=C df -PB1 -- {shlex.quote(folder)} | tail -n 1", sudo=sudo)
        fields = ran.out.decode(errors="replace").split()
        return Disk(int(fields[1]), int(fields[3])) if len(fields) > 3 else None

    def reach(self, address: HostPort) -> HostPort:
        """Return a port of 127.0.0.1 whose connections go through this one to an address that the host can reach.

        Raises:
            ServiceAway: the host forwards nothing, or cannot get there.
        """
        return self._forwards.to(address)

    def engine(self) -> Any:
        """Return the host's Docker Engine (docker.DockerClient), which is reached through this connection."""
        if self._engine is None:
            self._engine = engine_client(self._transport, *self._docker(), self._timeout_s)
        return self._engine

    def _docker(self) -> tuple[str, str]:
        """Return the docker command that the user may run there, with sudo if need be, and the engine's API version."""
        user = "root" if self.is_root else self.user  # and it is known then that the login shell is quiet
        for command in ("docker", "sudo -n docker"):
            ran = self.run(_ASK_DOCKER.format(docker=command))
            version = ran.out.decode(errors="replace").strip()
            if not ran.code and version:
                return command, version
            words = (ran.err + ran.out).decode(errors="replace").lower()
            if "permission denied" not in words or self.sudo_refusal:
                break
        raise ClusterError(f"{self.name}: {_why_no_engine(user, ran, words)}")

    @cached_property
    def is_root(self) -> bool:
        """The SSH user is root."""
        said = self.step("ask who the user is", "id -u").decode(errors="replace").strip()
        if not said.isdigit():
            raise ClusterError(
                f"{self.name}: the login shell of {self.user} prints something of its own, {one_line(said, 60)!r}: let "
                "~/.bashrc and the like print for interactive shells alone"
            )
        return said == "0"

    @cached_property
    def sudo_refusal(self) -> str:
        """The reason why the user cannot become root without a password, "" if that works or the user is root."""
        if self.is_root:
            return ""
        ran = self.run("env LC_ALL=C sudo -n -- true")
        if not ran.code:
            return ""
        rule = f"echo '{self.user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{self.user} there, or log in as root"
        if "not found" in ran.reason or "No such file" in ran.reason:
            return f"{self.user} is not root, and sudo is not installed: install it, or log in as root"
        if "password is required" in ran.reason:
            return f"sudo asks {self.user} for a password: {rule}"
        return f"sudo refuses {self.user} ({ran.reason}): {rule}"

    @property
    def is_connected(self) -> bool:
        """The connection stands, as far as is known."""
        return bool(self._transport.is_active())

    def disown(self) -> None:
        """Use the connection and those that it goes through no more, without a word to the other side."""
        transport = self._transport
        while transport is not None:
            transport.active = False
            transport = getattr(transport.sock, "transport", None)  # through a jump host the socket is a channel

    def close(self) -> None:
        """End what was opened through the connection."""
        self._forwards.close()
        if self._engine is not None:
            self._engine.close()

    def abandon(self) -> None:
        """Cut the connection, from any thread: whatever waits for the host ends."""
        end(self._transport)


@contextmanager
def engine_errors(remote: Remote, doing: str) -> Iterator[None]:
    """Turn what the SDK raises about a host's engine into one-line errors that begin with the host and `doing`."""

    def data_folder() -> str:
        with suppress(KeyError, *raised_by_sdk()):
            return str(remote.engine().info()["DockerRootDir"])
        return ""

    try:
        yield
    except raised_by_sdk() as error:
        if isinstance(error, _BROKEN) and not is_silence(error):
            raise ServiceAway(
                f"{remote.name}: {doing}: the connection to its Docker Engine broke in the middle: is the host up? "
                "run this again, it goes on from what is there"
            ) from error
        holder = partial(listener, remote)
        raise explained(f"{remote.name}: {doing}", error, holder, data_folder, remote.name) from error


def listener(remote: Remote, port: int, containers: Iterable[Any] = ()) -> str:
    """Name who listens on a port: `the container NAME`, `PROGRAM (process 123)`; "" for nobody.

    `containers` are the SDK's; one that publishes the port is named before the program that does it for the engine.
    """
    holder = next((one for one in containers if port in published(one)), None)
    if holder is not None:
        return f"the container {holder.name}"
    sockets = remote.run("cat /proc/net/tcp /proc/net/tcp6 2>/dev/null").out.decode()
    if port not in ports_of(sockets):
        return ""
    found = _PROGRAM.search(remote.run(f"ss -Hltnp 'sport = :{port}'", sudo=True).out.decode(errors="replace"))
    return f"{found[1]} (process {found[2]})" if found else "another program"


def ports_of(sockets: str) -> set[int]:
    """Return the ports that /proc/net/tcp says are listened on."""
    rows = (line.split() for line in sockets.splitlines())
    return {int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == _LISTENS}


def _why_no_engine(user: str, ran: Ran, words: str) -> str:
    if ran.code == 127 or "not found" in words:
        return "there is no docker command: install Docker there (Debian: apt-get install docker.io docker-cli)"
    if "permission denied" in words:
        return f"{user} may not use the Docker Engine: usermod -aG docker {user} there, or let {user} use sudo"
    if "connect" in words:
        return "the Docker Engine does not run: systemctl start docker there"
    return f"the Docker Engine does not answer: {ran.reason}"
