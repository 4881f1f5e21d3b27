"""Which keys a host may show: the files of known_hosts, as sshd(8) describes them under SSH_KNOWN_HOSTS FILE FORMAT.

Paramiko reads neither name patterns nor @revoked, keeps one key a type, and stops at a line it cannot decode.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from re import fullmatch

REVOKED = "@revoked"


@dataclass(frozen=True)
class KnownKey:
    """A host key that a file has for a name; `place` is `FILE line N`."""

    kind: str
    blob: bytes
    place: str
    revoked: bool = False


def names_of(hostname: str, port: int, alias: str = "") -> list[str]:
    """What a host may be called there, the best first: HostKeyAlias alone, else with its port, else without."""
    name = hostname.lower()
    if alias:
        return [alias.lower()]
    return [name] if port == 22 else [f"[{name}]:{port}", name]


def known_keys(files: Iterable[Path], names: Iterable[str]) -> list[KnownKey]:
    """The keys of the first of `names` that any of the files has; a file that cannot be read knows nothing."""
    lines = [line for file in files for line in _lines(file)]
    for name in names:
        found = [key for place, line in lines for key in _keys(place, line, name)]
        if found:
            return found
    return []


def fingerprint(blob: bytes) -> str:
    """A key as ssh shows it, `SHA256:...`."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield f"{file} line {number}", line.strip()


def _keys(place: str, line: str, name: str) -> Iterator[KnownKey]:
    """The line's key if it is for this name; lines of certificate authorities are not understood, so not trusted."""
    marker, rest = line.split(maxsplit=1) if line.startswith("@") and " " in line else ("", line)
    fields = rest.split()
    if len(fields) < 3 or marker not in ("", REVOKED) or not _matches(name, fields[0]):
        return
    try:
        yield KnownKey(fields[1], base64.b64decode(fields[2], validate=True), place, marker == REVOKED)
    except binascii.Error:
        return


def _matches(name: str, patterns: str) -> bool:
    if patterns.startswith("|"):
        return _matches_hash(name, patterns)
    wanted = [pattern.lower() for pattern in patterns.split(",")]
    refused = any(_fits(name, pattern[1:]) for pattern in wanted if pattern.startswith("!"))
    return not refused and any(_fits(name, pattern) for pattern in wanted if not pattern.startswith("!"))


def _fits(name: str, pattern: str) -> bool:
    """Only * and ? are special in ssh's patterns; a bracket is itself."""
    return fullmatch(translate(pattern.replace("[", "[[]")), name) is not None


def _matches_hash(name: str, hashed: str) -> bool:
    """`|1|SALT|HMAC`: the name is hidden with HMAC-SHA1."""
    try:
        _, version, salt, wanted = hashed.split("|")
        made = hmac.new(base64.b64decode(salt), name.encode(), hashlib.sha1).digest()
        return version == "1" and hmac.compare_digest(made, base64.b64decode(wanted))
    except (ValueError, binascii.Error):
        return False
