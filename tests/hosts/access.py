"""Keys, known_hosts and the ssh configuration of the tests' own."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

OPS_ID = 1000


class File(NamedTuple):
    """A file of a host: its path from the root folder, mode, owner's id and content."""

    name: str
    mode: int
    owner: int
    content: bytes


class Key:
    """An ed25519 key."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    @property
    def private(self) -> bytes:
        """As OpenSSH keeps it."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())

    @property
    def public(self) -> str:
        """The line for authorized_keys and known_hosts."""
        return self._key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def files_of_a_host(host_key: Key, client_key: Key) -> list[File]:
    """What makes a host this one and lets the client in."""
    return [
        File("etc/ssh/ssh_host_ed25519_key", 0o600, 0, host_key.private),
        authorized("root", 0, client_key),
        authorized("home/ops", OPS_ID, client_key),
    ]


def authorized(home: str, user_id: int, client_key: Key) -> File:
    """What lets the client in as a user."""
    return File(f"{home}/.ssh/authorized_keys", 0o600, user_id, client_key.public.encode() + b"\n")


def archive(files: Iterable[File]) -> bytes:
    """A tar archive of files of the root folder; the folders for authorized_keys are made."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, mode, owner, text in files:
            if name.endswith("authorized_keys"):
                tar.addfile(_entry(name.rpartition("/")[0], 0o700, owner, tarfile.DIRTYPE, 0))
            tar.addfile(_entry(name, mode, owner, tarfile.REGTYPE, len(text)), io.BytesIO(text))
    return content.getvalue()


def _entry(name: str, mode: int, owner: int, kind: bytes, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.uid, entry.gid, entry.type, entry.size = mode, owner, owner, kind, size
    return entry


def write_private(path: Path, key: Key) -> Path:
    """Keep a key's private half in a file as ssh wants it."""
    path.write_bytes(key.private)
    path.chmod(0o600)
    return path


def known_hosts(keys: Iterable[tuple[str, str, Key]]) -> str:
    """The lines of known_hosts for (name, address, key)."""
    return "".join(f"{name},{address} {key.public}\n" for name, address, key in keys)


def ssh_config(
    addresses: dict[str, str], inner: dict[str, str], identity: Path, known: Path, user: str = "root"
) -> str:
    """The configuration by which ssh reaches the hosts at their addresses, and those of `inner` through `jump`."""
    entries = [f"Host {name}\n    HostName {address}\n" for name, address in addresses.items()]
    entries += [f"Host {name}\n    HostName {address}\n    ProxyJump jump\n" for name, address in inner.items()]
    everywhere = (
        f"Host *\n    User {user}\n    IdentitiesOnly yes\n"
        f"    IdentityFile {identity}\n    UserKnownHostsFile {known}\n    GlobalKnownHostsFile /dev/null\n"
    )
    return "\n".join([*entries, everywhere])
