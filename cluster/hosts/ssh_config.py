"""The way to a host by the person's ssh configuration (ssh_config(5)), which ssh itself reads: `ssh -G`.

OpenSSH's own programs are asked for what they know best: configurations, known hosts, fingerprints.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cluster import programs
from cluster.hosts.host import Host
from cluster.settings import ROOT
from scripts.errors import ClusterError
from scripts.one_line import one_line

MOST_JUMPS = 8
TIMEOUT_S = 30  # a `Match exec` or a KnownHostsCommand of the person's may ask other machines

_UNBRACKETED = re.compile(r"\[([^:\]]+)\]")  # ssh shows a hop's name in brackets, also where it is no v6 address
_OF_THE_KEY = "HIKtf"  # tokens of KnownHostsCommand that are known when the host has shown its key


@dataclass(frozen=True)
class Way:
    """The way to one host.

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
    """Find the way to a host by the configuration in this file alone, else (with "") the person's and the system's."""
    ssh = _Ssh(config, host)
    jumps = ssh.one("proxyjump")
    if not jumps:
        return replace(_alone(ssh), command=ssh.filled_for_a_shell(ssh.one("proxycommand")))
    if depth >= MOST_JUMPS:
        raise ClusterError(f"{host}: ProxyJump in the ssh configuration goes in circles: {jumps}")
    hops = [Host.parse(_UNBRACKETED.sub(r"\1", hop.strip().removeprefix("ssh://"))) for hop in jumps.split(",")]
    first = way_to(config, hops[0], depth + 1)  # its own jumps come before it
    rest = (_alone(_Ssh(config, hop, "-o", "ProxyJump=none")) for hop in hops[1:])
    return replace(_alone(ssh), jumps=(*first.jumps, replace(first, jumps=()), *rest))


class _Ssh:
    """The answers of `ssh -G` about a host."""

    def __init__(self, config: str, host: Host, *options: str) -> None:
        self.host = host
        file = ["-F", str(ROOT / Path(config).expanduser())] if config else []
        user_and_port = [*["-l", host.user] * bool(host.user), *["-p", str(host.port)] * bool(host.port)]
        # -T, as it would remark that there is no terminal.
        self._command = ["ssh", "-G", "-T", *file, *user_and_port, *options]
        self.all = self._ask()

    def one(self, keyword: str) -> str:
        """Return the value of a keyword, "" for none."""
        value = (self.all[keyword] or ["none"])[0]
        return "" if value.lower() == "none" else value

    def filled(self, text: str) -> str:
        """Fill in the tokens and ${VARIABLES} of a text; ssh shows only some options filled, such as ControlPath."""
        quoted = text.replace("\\", r"\\").replace('"', r"\"")
        return self._in("ControlPath", f'"{quoted}"') if "%" in text or "${" in text else text

    def filled_for_a_shell(self, command: str) -> str:
        """Fill in the tokens alone: RemoteCommand leaves the variables to the shell, too."""
        return self._in("RemoteCommand", command) if "%" in command else command

    def files(self, texts: Iterable[str]) -> tuple[Path, ...]:
        """Return the files that these values mean; ssh shows keys and certificates as they were written."""
        return tuple(_expanded(self.filled(text)) for text in texts if text.lower() != "none")

    def _in(self, option: str, text: str) -> str:
        return self._ask("-o", f"{option}={text}")[option.lower()][0]

    def _ask(self, *options: str) -> dict[str, list[str]]:
        done = ask([*self._command, *options, "--", self.host.name])
        if done.returncode:
            why = one_line(done.stderr.decode(errors="replace"))
            raise ClusterError(
                f"{self.host}: the ssh configuration cannot be applied to it: {why}: see agents.ssh_config"
            )
        found = defaultdict[str, list[str]](list)
        for line in done.stdout.decode(errors="replace").splitlines():
            keyword, _, value = line.partition(" ")
            found[keyword].append(value)
        return found


def _alone(ssh: _Ssh) -> Way:
    """Find the way to the host itself, without what stands in between."""
    if ssh.one("proxyusefdpass") == "yes":
        raise ClusterError(f"{ssh.host}: ProxyUseFdpass of the ssh configuration is not possible here: use ProxyJump")
    revoked = ssh.one("revokedhostkeys")
    return Way(
        said=str(ssh.host),
        hostname=ssh.one("hostname"),
        port=int(ssh.one("port")),
        user=ssh.one("user"),
        known_as=ssh.one("hostkeyalias"),
        known_hosts=(*_split(ssh.one("userknownhostsfile")), *_split(ssh.one("globalknownhostsfile"))),
        known_command=_known_command(ssh),
        revoked=_expanded(revoked) if revoked else None,
        # As ssh does, which passes over those that are not there; the public half is enough for an agent's key.
        keys=tuple(key for key in ssh.files(ssh.all["identityfile"]) if key.is_file() or public_half(key).is_file()),
        certificates=ssh.files(ssh.all["certificatefile"]),
        only_named=ssh.one("identitiesonly") == "yes",
        agent=_agent(ssh),
    )


def public_half(key: Path) -> Path:
    """Return the file of a private key's public half."""
    return key.with_name(f"{key.name}.pub")


def _expanded(text: str) -> Path:
    """Return a file as ssh means it: the home of ~ is the account's, whatever HOME says."""
    home = pwd.getpwuid(os.getuid()).pw_dir
    return Path(f"{home}/{text[2:]}" if text.startswith("~/") else text).expanduser()


def _split(files: str) -> list[Path]:
    """Split a line of files, in which ssh puts no quotes: a blank may belong to a name."""
    pieces = re.split(r" (?=/)", files) if files else []
    return [Path(file) for piece in pieces for file in ([piece] if Path(piece).exists() else piece.split())]


def _known_command(ssh: _Ssh) -> tuple[str, ...]:
    kept = re.sub("%(.)", lambda token: "%" * (token[1] in _OF_THE_KEY) + token[0], ssh.one("knownhostscommand"))
    return tuple(ssh.filled(word) for word in shlex.split(kept))


def _agent(ssh: _Ssh) -> str:
    """Return the ssh-agent's socket, "" for none."""
    said = (ssh.all["identityagent"] or ["SSH_AUTH_SOCK"])[0]
    if said == "SSH_AUTH_SOCK" or said.startswith("$"):
        return os.environ.get(said.strip("${}"), "")
    return "" if said.lower() == "none" else said


def ask(command: Sequence[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end."""
    try:
        return programs.run(command, stdin, limit_s=TIMEOUT_S)
    except FileNotFoundError as error:
        step = ": apt-get install openssh-client" if command[0].startswith("ssh") else ""
        raise ClusterError(f"there is no {command[0]} on this machine{step}") from error
    except OSError as error:
        raise ClusterError(f"{command[0]} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"`{' '.join(command)}` did not end within {TIMEOUT_S} s: try it by hand") from error


def fingerprints(file: str, stdin: bytes = b"") -> list[str]:
    """Return the keys in a file (`-`: in `stdin`) as ssh shows them, `SHA256:...`; a certificate shows its key.

    A private key needs no passphrase for it, unless it is of an old format.
    """
    shown = ask(["ssh-keygen", "-l", "-E", "sha256", "-f", file], stdin).stdout.decode(errors="replace")
    return [line.split()[1] for line in shown.splitlines() if " SHA256:" in line]
