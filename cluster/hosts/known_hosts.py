"""Keys that hosts may show, from files of known_hosts, in which ssh-keygen looks, as ssh does.

Paramiko reads neither name patterns nor @revoked or @cert-authority, and stops at a line it cannot decode.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cluster.hosts import openssh

REVOKED, AUTHORITY = "@revoked", "@cert-authority"

_FOUND = re.compile(r"# Host .* found: line (\d+)\b.*")


@dataclass(frozen=True)
class KnownKey:
    """A key that is known for a host's name; `place` is `FILE line N`, `marker` REVOKED, AUTHORITY or ""."""

    kind: str
    blob: bytes
    place: str
    marker: str = ""


def names_of(hostname: str, port: int, alias: str = "") -> list[str]:
    """List the names of a host in known_hosts, the best first: HostKeyAlias alone, else with its port, else without."""
    if alias:
        return [alias.lower()]
    name = hostname.lower()
    return [name] if port == 22 else [f"[{name}]:{port}", name]


def contents(files: Iterable[Path]) -> dict[str, bytes]:
    """Read the files that are there and can be read."""
    found = {}
    for file in files:
        with suppress(OSError):
            found[str(file)] = file.read_bytes()
    return found


def known_keys(sources: Mapping[str, bytes], names: Iterable[str]) -> list[KnownKey]:
    """Return the keys of the first of `names` that any source has: contents of known_hosts, by what they are called."""
    for name in names:
        found = [key for source, lines in sources.items() for key in _keys(name, source, lines)]
        if found:
            return found
    return []


def fingerprint(blob: bytes) -> str:
    """Return a key as ssh shows it, `SHA256:...`."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _keys(name: str, source: str, lines: bytes) -> Iterator[KnownKey]:
    shown = openssh.ask(["ssh-keygen", "-F", name, "-f", "/dev/stdin"], lines).stdout.decode(errors="replace")
    place = source
    for line in shown.splitlines():
        if found := _FOUND.fullmatch(line):
            place = f"{source} line {found[1]}"
            continue
        *marker, _, kind, key = line.split()[: 4 if line.startswith("@") else 3]
        with suppress(binascii.Error):
            yield KnownKey(kind, base64.b64decode(key, validate=True), place, *marker)
