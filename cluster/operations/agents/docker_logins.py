"""Logins as the docker command keeps them, in its config.json, and as Mesos unpacks them, in an archive of one."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
from typing import Any

from cluster.images.registry_login import Access

_IN_ARCHIVE = ".docker/config.json"


def parsed(content: bytes | None) -> dict[str, Any]:
    """Read a docker configuration, which may be absent or empty. Raises ValueError for what docker did not write."""
    found = json.loads(content) if content and content.strip() else {}
    if not isinstance(found, dict) or not isinstance(found.get("auths") or {}, dict):
        raise ValueError("no JSON object")
    return found


def store_of(config: dict[str, Any], registry: str) -> str:
    """Name the credential store that docker uses for a registry, "" for none."""
    return (config.get("credHelpers") or {}).get(registry) or config.get("credsStore") or ""


def with_login(config: dict[str, Any], registry: str, access: Access) -> dict[str, Any]:
    """Return the configuration with this login added; all else is kept."""
    secret = base64.b64encode(f"{access.user}:{access.password}".encode()).decode()
    return config | {"auths": (config.get("auths") or {}) | {registry: {"auth": secret}}}


def archive(before: bytes | None, registry: str, access: Access) -> bytes:
    """Pack the login for Mesos, as plain `auths`, since no task has a credential store.

    Logins of other registries in the archive from `before` are kept. The same logins make the same bytes.
    """
    config = with_login({"auths": _logins_in(before)}, registry, access)
    content = json.dumps(config, indent=2, sort_keys=True).encode() + b"\n"
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo(_IN_ARCHIVE)
        entry.size, entry.mode = len(content), 0o600
        tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


def _logins_in(content: bytes | None) -> dict[str, Any]:
    """Return the logins of an archive of ours, none of a broken one."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content or b""), mode="r:gz") as tar:
            found = tar.extractfile(_IN_ARCHIVE)
            logins = parsed(found.read() if found else b"").get("auths") or {}
    except (tarfile.TarError, OSError, EOFError, KeyError, ValueError):
        return {}
    return dict(logins)
