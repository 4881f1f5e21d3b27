"""The state of a registry: its answer, its certificate's end, the room on its host."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from cryptography import x509

from cluster.apps.app import AppStatus
from cluster.components import REGISTRY
from cluster.hosts import ssh
from cluster.hosts.host import Host
from cluster.hosts.remote import Remote
from cluster.image_ref import is_local
from cluster.images import registry_api, registry_login
from cluster.registry import plan
from cluster.registry.certificates import fingerprint
from cluster.registry.plan import DATA
from cluster.schedulers import selection
from cluster.settings import Settings
from scripts.errors import ClusterError, ServiceAway

_FULL_BYTES = 10_000_000  # with less, hardly an image is taken


@dataclass(frozen=True)
class Room:
    """The file system of a registry's images, in bytes; `taken` is what the images take."""

    taken: int
    free: int
    total: int


@dataclass(frozen=True)
class Status:
    """A registry as it is now; `problem` says why it is of no use, `room` is of its data on its host."""

    address: str
    problem: str = ""
    host: str = ""
    container: str = ""
    certificate_ends: datetime | None = None
    ca: str = ""
    ca_sha256: str = ""
    room: Room | None = None


def of(settings: Settings, host: str, say: Callable[[str], None]) -> Status:
    """Return the state of the settings' registry as this machine sees it; with a `host`, that of the one there."""
    if not host:
        return from_here(settings.registry)
    with ssh.connected(settings, Host.parse(host)) as remote:
        where = selection.on_host(settings, remote, say)
        app = where.present(REGISTRY.app_id)
        address = app.labels.get("address", "") if app else ""
        seen = from_here(address or plan.address(settings, remote.address, ""))
        room = _room(remote)
        full = "answers, but the disk is full where it keeps its images" if room and room.free < _FULL_BYTES else ""
        return replace(
            seen, host=remote.name, container=_state(where.status()), room=room, problem=seen.problem or full
        )


def from_here(registry: str) -> Status:
    """Return the state of a registry as this machine sees it, whether its certificate is trusted or not."""
    problem, ends = "", None
    try:
        registry_api.check(registry)
    except ClusterError as error:
        problem = str(error)
    if not is_local(registry):
        with suppress(ClusterError):
            ends = registry_api.certificate(registry).not_valid_after_utc
    access = registry_login.for_registry(registry)
    if not access or not access.ca:
        return Status(registry, problem, certificate_ends=ends)
    try:
        sha256 = fingerprint(x509.load_pem_x509_certificate(access.ca.read_bytes()))
    except (OSError, ValueError):
        sha256 = "unknown: it is no certificate"
    return Status(registry, problem, certificate_ends=ends, ca=str(access.ca), ca_sha256=sha256)


def as_json(status: Status) -> str:
    """Return the state for programs."""
    return json.dumps(asdict(status), indent=2, default=str)


def as_text(status: Status) -> str:
    """Return the state for people, a line a fact."""
    rows = [("registry", f"{status.address}: {status.problem or 'answers and lets us in'}")]
    if status.host:
        rows.append(("host", f"{status.host}: {status.container or 'no registry of this project is there'}"))
    if status.certificate_ends:
        rows.append(("certificate", _end(status.certificate_ends, datetime.now(UTC))))
    if status.ca:
        rows += [("CA", status.ca), ("", f"SHA-256 {status.ca_sha256}")]
    if room := status.room:
        rows.append(("disk", f"{_gb(room.taken)} of images, {_gb(room.free)} of {_gb(room.total)} are free"))
    return "\n".join(f"{name:<12} {text}" for name, text in rows)


def refuse_useless(status: Status) -> None:
    """End with an error where the registry that was shown is of no use."""
    if status.problem:
        is_here = is_local(status.address) and not status.host
        up = "./inv registry.up" if is_here else f"./inv registry.up --host {status.host or 'HOST'}"
        raise ServiceAway(f"the registry {status.address} is of no use as it is: `{up}` sets one of ours right")


def _end(ends: datetime, now: datetime) -> str:
    if ends < now:
        return f"has ended on {ends:%Y-%m-%d}, {(now - ends).days} days ago"
    return f"ends on {ends:%Y-%m-%d}, in {(ends - now).days} days"


def _state(apps: list[AppStatus]) -> str:
    found = (one for app in apps if app.id == REGISTRY.app_id for one in app.instances)
    return ", ".join(f"{one.name} is {one.state}" + (f" ({one.detail})" if one.detail else "") for one in found)


def _room(remote: Remote) -> Room | None:
    disk = remote.disk(DATA, sudo=True)
    ran = remote.run(f"LC_ALL=C du -sxB1 -- {shlex.quote(DATA)}", sudo=True)
    return None if ran.code or not disk else Room(int(ran.out.split()[0]), disk.free, disk.total)


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:,.1f} GB"
