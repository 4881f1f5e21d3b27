"""How a host is reached, by the person's ssh configuration (ssh_config(5)), which ssh itself reads: `ssh -G`."""

from __future__ import annotations

import os
import pwd
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.hosts import openssh
from cluster.hosts.host import Host
from cluster.settings import ROOT
from scripts.errors import ClusterError
from scripts.one_line import one_line

MOST_JUMPS = 8

_Found = dict[str, list[str]]
_UNBRACKETED = re.compile(r"\[([^:\]]+)\]")  # ssh shows a hop's name in brackets, also where it is no v6 address
_OF_THE_KEY = "HIKtf"  # tokens of KnownHostsCommand that are known when the host has shown its key


@dataclass(frozen=True)
class Way:
    """How one host is reached.

    `jumps` are passed in this order; `command` is a ProxyCommand instead of them; `agent` is an ssh-agent's socket, of
    which with `only_named` no keys are used but `keys` and `certificates`; of `known_command` (KnownHostsCommand) the
    tokens that concern the host's key are not filled in.
    """

    said: str
    hostname: str
    port: int
    user: str
    known_as: str = ""
    known_hosts: tuple[Path, ...] = ()
    known_command: tuple[str, ...] = ()
    revoked: Path | None = None
    keys: tuple[Path, ...] = ()
    certificates: tuple[Path, ...] = ()
    only_named: bool = False
    agent: str = ""
    jumps: tuple[Way, ...] = ()
    command: str = ""


def way_to(config: str, host: Host, depth: int = 0) -> Way:
    """How a host is reached, by the configuration in this file alone, else (with "") the person's and the system's.

    Raises:
        ClusterError: the configuration says something impossible about it, or there is no ssh.
    """
    ssh = _Ssh(config, host)
    found = ssh.answer()
    way = _alone(ssh, found)
    jumps = _one(found, "proxyjump")
    if not jumps:
        return replace(way, command=ssh.filled_for_a_shell(_one(found, "proxycommand")))
    if depth >= MOST_JUMPS:
        raise ClusterError(f"{host}: ProxyJump in the ssh configuration goes in circles: {jumps}")
    hops = [Host.parse(_UNBRACKETED.sub(r"\1", hop.strip().removeprefix("ssh://"))) for hop in jumps.split(",")]
    first = way_to(config, hops[0], depth + 1)  # its own jumps come before it
    through = (_Ssh(config, hop, ("-o", "ProxyJump=none")) for hop in hops[1:])
    rest = (_alone(hop, hop.answer()) for hop in through)
    return replace(way, jumps=(*first.jumps, replace(first, jumps=()), *rest))


@dataclass(frozen=True)
class _Ssh:
    """What answers for a host: `ssh -G`."""

    config: str
    host: Host
    options: tuple[str, ...] = ()

    def answer(self, *options: str) -> _Found:
        """What ssh says, by keyword."""
        file = ["-F", str(ROOT / Path(self.config).expanduser())] if self.config else []
        user, port = self.host.user, self.host.port
        said = [*["-l", user] * bool(user), *["-p", str(port)] * bool(port)]
        # -T, as it would remark that there is no terminal.
        done = openssh.ask(["ssh", "-G", "-T", *file, *said, *self.options, *options, "--", self.host.name])
        if done.returncode:
            why = one_line(done.stderr.decode(errors="replace"))
            raise ClusterError(
                f"{self.host}: the ssh configuration cannot be applied to it: {why}: see agents.ssh_config"
            )
        found: _Found = defaultdict(list)
        for line in done.stdout.decode(errors="replace").splitlines():
            keyword, _, value = line.partition(" ")
            found[keyword].append(value)
        return found

    def filled(self, text: str) -> str:
        """A text with its tokens and ${VARIABLES} filled in, which ssh shows of some options alone: of ControlPath."""
        quoted = text.replace("\\", r"\\").replace('"', r"\"")
        return self._in("ControlPath", f'"{quoted}"') if "%" in text or "${" in text else text

    def filled_for_a_shell(self, command: str) -> str:
        """The same of tokens alone: RemoteCommand leaves the variables to the shell, too."""
        return self._in("RemoteCommand", command) if "%" in command else command

    def files(self, texts: Iterable[str]) -> tuple[Path, ...]:
        """Keys or certificates, which ssh shows as they were written."""
        return tuple(_expanded(self.filled(text)) for text in texts if text.lower() != "none")

    def _in(self, option: str, text: str) -> str:
        return self.answer("-o", f"{option}={text}")[option.lower()][0]


def _one(found: _Found, keyword: str) -> str:
    """A value, "" where there is none."""
    value = found.get(keyword, ["none"])[0]
    return "" if value.lower() == "none" else value


def _alone(ssh: _Ssh, found: _Found) -> Way:
    """The host itself, without what stands in between."""
    if _one(found, "proxyusefdpass") == "yes":
        raise ClusterError(f"{ssh.host}: ProxyUseFdpass of the ssh configuration is not possible here: use ProxyJump")
    revoked = _one(found, "revokedhostkeys")
    return Way(
        said=str(ssh.host),
        hostname=_one(found, "hostname"),
        port=int(_one(found, "port")),
        user=_one(found, "user"),
        known_as=_one(found, "hostkeyalias"),
        known_hosts=(*_split(_one(found, "userknownhostsfile")), *_split(_one(found, "globalknownhostsfile"))),
        known_command=_known_command(ssh, _one(found, "knownhostscommand")),
        revoked=_expanded(revoked) if revoked else None,
        # As ssh does, which passes over those that are not there; the public half is enough for an agent's key.
        keys=tuple(key for key in ssh.files(found["identityfile"]) if key.is_file() or public_half(key).is_file()),
        certificates=ssh.files(found["certificatefile"]),
        only_named=_one(found, "identitiesonly") == "yes",
        agent=_agent(found),
    )


def public_half(key: Path) -> Path:
    """Where the public half of a private key lies."""
    return key.with_name(f"{key.name}.pub")


def _expanded(text: str) -> Path:
    """A file as ssh means it: the home of ~ is the account's, whatever HOME says."""
    home = pwd.getpwuid(os.getuid()).pw_dir
    return Path(f"{home}/{text[2:]}" if text.startswith("~/") else text).expanduser()


def _split(files: str) -> list[Path]:
    """The files in a line, in which ssh puts no quotes: a blank may belong to a name."""
    pieces = re.split(r" (?=/)", files) if files else []
    return [Path(file) for piece in pieces for file in ([piece] if Path(piece).exists() else piece.split())]


def _known_command(ssh: _Ssh, command: str) -> tuple[str, ...]:
    kept = re.sub("%(.)", lambda token: "%" * (token[1] in _OF_THE_KEY) + token[0], command)
    return tuple(ssh.filled(word) for word in shlex.split(kept))


def _agent(found: _Found) -> str:
    """Where the ssh-agent listens, "" for none."""
    said = found.get("identityagent", ["SSH_AUTH_SOCK"])[0]
    if said.lower() == "none":
        return ""
    if said == "SSH_AUTH_SOCK" or said.startswith("$"):
        return os.environ.get(said.strip("${}"), "")
    return said
