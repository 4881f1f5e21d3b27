"""How a host is reached, by the person's ssh configuration (ssh_config(5)): address, user, keys, jumps, known hosts."""

from __future__ import annotations

import getpass
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paramiko.config import SSHConfig
from paramiko.ssh_exception import ConfigParseError, CouldNotCanonicalize

from cluster.hosts.host import Host
from cluster.settings import ROOT
from scripts.errors import ClusterError

USER_FILE = "~/.ssh/config"
SYSTEM_FILE = "/etc/ssh/ssh_config"
MOST_JUMPS = 8
_INCLUDES_IN_INCLUDES = 16  # as in OpenSSH's readconf.c

_KEYWORD = re.compile(r"\s*(\w+)(?:\s*=\s*|\s+)(.+)")


@dataclass(frozen=True)
class Way:
    """How one host is reached.

    `jumps` are passed in this order; `command` is a ProxyCommand instead of them; `agent` is an ssh-agent's socket.
    """

    said: str
    hostname: str
    port: int
    user: str
    known_as: str = ""
    known_hosts: tuple[Path, ...] = ()
    keys: tuple[Path, ...] = ()
    default_keys: bool = True
    agent: str = ""
    jumps: tuple[Way, ...] = ()
    command: str = ""


def read(path: str) -> str:
    """The configuration in this file alone (as `ssh -F`), else in the person's and the system's.

    Raises:
        ClusterError: a file cannot be read.
    """
    usual = (Path(file).expanduser() for file in (USER_FILE, SYSTEM_FILE))
    files = [ROOT / Path(path).expanduser()] if path else [file for file in usual if file.is_file()]
    lines = (line for file in files for line in [*_with_includes(file, 0), "Host *"])
    return "\n".join(lines)


def way_to(config: str, host: Host, depth: int = 0) -> Way:
    """How a host is reached.

    Raises:
        ClusterError: the configuration says something impossible about it.
    """
    try:
        found = _looked_up(config, host)
        way = _alone(found, host)
    except (ConfigParseError, CouldNotCanonicalize, ValueError, KeyError) as error:
        raise ClusterError(f"{host}: the ssh configuration cannot be applied to it: {error}") from error
    jumps, command = found.get("proxyjump", "none"), found.get("proxycommand") or ""
    if jumps.lower() == "none":
        return replace(way, command=command)
    if depth >= MOST_JUMPS:
        raise ClusterError(f"{host}: ProxyJump in the ssh configuration goes in circles: {jumps}")
    hops = [Host.parse(hop.strip().removeprefix("ssh://")) for hop in jumps.split(",")]
    if any(hop.name in (host.name, way.hostname) for hop in hops):
        return way  # a `Host *` with a ProxyJump names the jump host, too
    return replace(way, jumps=_chain(config, hops, depth))


def _chain(config: str, hops: list[Host], depth: int) -> tuple[Way, ...]:
    """All hosts in between: the first hop's own jumps come before it, the others are reached through the one before."""
    first = way_to(config, hops[0], depth + 1)
    rest = [replace(way_to(config, hop, depth + 1), jumps=(), command="") for hop in hops[1:]]
    return (*first.jumps, replace(first, jumps=()), *rest)


def _looked_up(config: str, host: Host) -> Any:
    """What the configuration says of a host; what the person said goes first, and so also into %p and %r."""
    said = [f"User {host.user}"] * bool(host.user) + [f"Port {host.port}"] * bool(host.port)
    return SSHConfig.from_text("\n".join([*said, "Host *", config])).lookup(host.name)


def _alone(found: Any, host: Host) -> Way:
    """The host itself, without what stands in between."""
    keys = tuple(Path(key).expanduser() for key in found.get("identityfile", []) if key.lower() != "none")
    return Way(
        said=str(host),
        hostname=found["hostname"],
        port=int(found.get("port", 22)),
        user=found.get("user") or getpass.getuser(),
        known_as=found.get("hostkeyalias", ""),
        known_hosts=tuple(_known_hosts(found)),
        keys=tuple(key for key in keys if key.is_file()),  # as ssh does, which passes over those that are not there
        default_keys=not found.get("identityfile"),
        agent=_agent(found),
    )


def _known_hosts(found: Any) -> Iterator[Path]:
    users = found.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")
    systems = found.get("globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2")
    for name in [*shlex.split(users), *shlex.split(systems)]:
        if name.lower() != "none":
            yield Path(name.replace("%d", str(Path.home()))).expanduser()


def _agent(found: Any) -> str:
    """Where the ssh-agent listens, "" for none; IdentitiesOnly with files named means these alone."""
    if found.get("identitiesonly", "no").lower() == "yes" and found.get("identityfile"):
        return ""
    said = found.get("identityagent", "SSH_AUTH_SOCK")
    if said.lower() == "none":
        return ""
    if said == "SSH_AUTH_SOCK" or said.startswith("$"):
        return os.environ.get(said.strip("${}"), "")
    return str(Path(said.replace("%d", str(Path.home()))).expanduser())


def _with_includes(path: Path, depth: int) -> Iterator[str]:
    """The lines of a file and of what it includes, which Paramiko leaves out; a block goes on after an Include."""
    block = "Host *"
    for line in _lines(path):
        match = _KEYWORD.match(line)
        keyword = match[1].lower() if match else ""
        if match and keyword == "include" and depth < _INCLUDES_IN_INCLUDES:
            yield from (inner for file in _included(match[2], path) for inner in _with_includes(file, depth + 1))
            yield block
            continue
        if keyword in ("host", "match"):
            block = line
        yield line


def _included(patterns: str, path: Path) -> Iterator[Path]:
    """A relative pattern starts in ~/.ssh, in the system's file in /etc/ssh."""
    start = Path(SYSTEM_FILE).parent if path.is_relative_to(Path(SYSTEM_FILE).parent) else Path("~/.ssh").expanduser()
    for pattern in shlex.split(patterns):
        whole = start / Path(pattern).expanduser()
        yield from sorted(Path(whole.anchor).glob(str(whole.relative_to(whole.anchor))))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ClusterError(f"the ssh configuration {path}: {error.strerror}: see agents.ssh_config") from error
