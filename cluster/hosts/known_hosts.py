"""Which keys a host may show: the files of known_hosts, in which ssh-keygen looks, as ssh does.

Paramiko reads neither name patterns nor @revoked or @cert-authority, and stops at a line it cannot decode.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.hosts import openssh

REVOKED, AUTHORITY = "@revoked", "@cert-authority"

_FOUND = re.compile(r"# Host .* found: line (\d+)\b.*")
_STDIN = Path("/dev/stdin")


@dataclass(frozen=True)
class KnownKey:
    """A key that a file has for a host's name; `place` is `FILE line N`, `marker` REVOKED, AUTHORITY or ""."""

    kind: str
    blob: bytes
    place: str
    marker: str = ""


def names_of(hostname: str, port: int, alias: str = "") -> list[str]:
    """What a host may be called there, the best first: HostKeyAlias alone, else with its port, else without."""
    name = hostname.lower()
    if alias:
        return [alias.lower()]
    return [name] if port == 22 else [f"[{name}]:{port}", name]


def known_keys(files: Iterable[Path], names: Iterable[str]) -> list[KnownKey]:
    """The keys of the first of `names` that any of the files has; a file that cannot be read knows nothing."""
    there = [file for file in files if file.is_file()]
    for name in names:
        found = [key for file in there for key in _keys(name, file, str(file))]
        if found:
            return found
    return []


def keys_in(lines: bytes, source: str, names: Iterable[str]) -> list[KnownKey]:
    """The same of lines that a program wrote."""
    for name in names:
        found = list(_keys(name, _STDIN, source, lines))
        if found:
            return found
    return []


def fingerprint(blob: bytes) -> str:
    """A key as ssh shows it, `SHA256:...`."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _keys(name: str, file: Path, called: str, lines: bytes = b"") -> Iterator[KnownKey]:
    shown = openssh.ask(["ssh-keygen", "-F", name, "-f", str(file)], lines).stdout.decode(errors="replace")
    place = called
    for line in shown.splitlines():
        found = _FOUND.fullmatch(line)
        if found:
            place = f"{called} line {found[1]}"
            continue
        *marker, _, kind, key = line.split()[: 4 if line.startswith("@") else 3]
        try:
            yield KnownKey(kind, base64.b64decode(key, validate=True), place, *marker)
        except binascii.Error:
            continue
