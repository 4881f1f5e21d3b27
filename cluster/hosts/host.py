"""Hosts as a person names them, parsed once at the border."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cluster.settings import ROOT, Settings
from scripts.errors import ClusterError

_USER = r"(?:(?P<user>[^\s,:/]+)@)?"  # the last @ counts: a user may be me@corp.example
_V6 = r"(?P<v6>[0-9A-Fa-f]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?)"
# No name with * ? or !, which are patterns in ssh's configuration, or with - in front, which would be an option of ssh.
_SHAPE = re.compile(rf"{_USER}(?:\[{_V6}\]|(?P<name>[\w.][\w.-]*))(?::(?P<port>\d{{1,5}}))?", re.ASCII)
_BARE_V6 = re.compile(_USER + _V6, re.ASCII)


@dataclass(frozen=True)
class Host:
    """`[user@]name[:port]` as ssh knows it; user "" and port 0 mean what the ssh configuration says."""

    name: str
    user: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Host:
        """Read a host; a v6 address may stand in brackets, and must where a port follows."""
        match = _BARE_V6.fullmatch(text) or _SHAPE.fullmatch(text)
        parts = match.groupdict() if match else {}
        port = parts.get("port")
        if not match or (port and not 1 <= int(port) <= 65535):
            raise ClusterError(f"{text!r} is not a host: write it as you would to ssh: [user@]name[:port]")
        return cls(parts.get("v6") or parts["name"], parts["user"] or "", int(port or 0))

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return f"{self.user}@{name}"[not self.user :] + (f":{self.port}" if self.port else "")


def chosen(settings: Settings, hosts: str = "", hosts_file: str = "") -> list[Host]:
    """Return the hosts of --hosts or --hosts-file, else of invoke.yaml; each once, in the order given."""
    if hosts and hosts_file:
        raise ClusterError("--hosts and --hosts-file both say which hosts: give one")
    found = _named(hosts, Path(hosts_file) if hosts_file else None) or of_settings(settings)
    if not found:
        raise ClusterError("no hosts: give --hosts a,b,c or --hosts-file FILE, or set agents.hosts in invoke.yaml")
    return found


def of_settings(settings: Settings) -> list[Host]:
    """Return the hosts of invoke.yaml, empty if it names none."""
    file = settings.agents.hosts_file
    return _named(settings.agents.hosts, ROOT / Path(file).expanduser() if file else None)


def _named(hosts: str, file: Path | None) -> list[Host]:
    found = _of_list(hosts) if hosts else _of_file(file) if file else []
    return list(dict.fromkeys(found))


def _of_list(text: str) -> list[Host]:
    found = [Host.parse(part.strip()) for part in text.split(",") if part.strip()]
    if not found:
        raise ClusterError(f"no hosts in {text!r}: write them as a,b,c, each as you would say it to ssh")
    return found


def _of_file(path: Path) -> list[Host]:
    try:
        lines = path.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text in UTF-8"
        raise ClusterError(f"the hosts file {path}: {reason}: give a file with one host a line") from error
    texts = {number: text for number, line in enumerate(lines, 1) if (text := line.partition("#")[0].strip())}
    if not texts:
        raise ClusterError(f"the hosts file {path} names no host: one a line, as you would say it to ssh")
    found = []
    for number, text in texts.items():
        try:
            found.append(Host.parse(text))
        except ClusterError as error:
            raise ClusterError(f"{path}, line {number}: {error}") from None
    return found
