"""How a registry fares: whether it answers and lets us in, how long its certificate lasts, how much room it has."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from cluster.apps.app import AppSpec, AppStatus
from cluster.components import REGISTRY
from cluster.hosts import ssh
from cluster.hosts.host import Host
from cluster.image_ref import is_local
from cluster.images import registry_api, registry_login
from cluster.registry import disk, plan
from cluster.registry.app import DATA
from cluster.registry.authority import fingerprint
from cluster.registry.disk import Room
from cluster.schedulers import selection
from cluster.settings import Settings
from scripts.errors import ClusterError, ServiceAway

_FULL_BYTES = 10_000_000  # with less, hardly an image is taken


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


def of(settings: Settings, host: str = "") -> Status:
    """The registry of the settings as this machine sees it; or that of a `host`, and how it fares there.

    Raises:
        ClusterError, ServiceAway: the host cannot be asked.
    """
    if not host:
        return from_here(settings.registry)
    with ssh.connected(settings, Host.parse(host)) as remote:
        where = selection.on_host(settings, remote, lambda line: None)
        app = where.present(REGISTRY.app_id)
        seen = from_here(_address(app) or plan.address(settings, remote.address, ""))
        room = disk.room(remote, DATA)
        full = (
            "answers, but the disk is full where it keeps its images" if room and room.disk.free < _FULL_BYTES else ""
        )
        return replace(
            seen, host=remote.name, container=_state(where.status()), room=room, problem=seen.problem or full
        )


def from_here(registry: str) -> Status:
    """What this machine sees of a registry; a certificate that is not trusted is looked at all the same."""
    access = registry_login.for_registry(registry)
    status = Status(registry, _problem(registry), certificate_ends=_ends(registry))
    if not access or not access.ca:
        return status
    return replace(status, ca=str(access.ca), ca_sha256=_fingerprint(access.ca))


def told(status: Status, *, as_json: bool) -> str:
    """The status for people, a line a fact, or as JSON."""
    if as_json:
        return json.dumps(asdict(status), indent=2, default=str)
    rows = [("registry", f"{status.address}: {status.problem or 'answers and lets us in'}")]
    if status.host:
        rows.append(("host", f"{status.host}: {status.container or 'no registry of this project is there'}"))
    if status.certificate_ends:
        rows.append(("certificate", _end(status.certificate_ends, datetime.now(UTC))))
    if status.ca:
        rows += [("CA", status.ca), ("", f"SHA-256 {status.ca_sha256}")]
    if status.room:
        room = status.room
        rows.append(("disk", f"{_gb(room.taken)} of images, {_gb(room.disk.free)} of {_gb(room.disk.total)} are free"))
    return "\n".join(f"{name:<12} {text}" for name, text in rows)


def refuse_useless(status: Status) -> None:
    """End with an error where the registry that was shown is of no use.

    Raises:
        ServiceAway: it is not.
    """
    if status.problem:
        is_here = is_local(status.address) and not status.host
        up = "./inv registry.up" if is_here else f"./inv registry.up --host {status.host or 'HOST'}"
        raise ServiceAway(f"the registry {status.address} is of no use as it is: `{up}` sets one of ours right")


def _end(ends: datetime, now: datetime) -> str:
    days = abs(ends - now).days
    return (
        f"has ended on {ends:%Y-%m-%d}, {days} days ago" if ends < now else f"ends on {ends:%Y-%m-%d}, in {days} days"
    )


def _problem(registry: str) -> str:
    try:
        registry_api.check(registry)
    except ClusterError as error:
        return str(error)
    return ""


def _address(app: AppSpec | None) -> str:
    return app.labels.get("address", "") if app else ""


def _state(apps: list[AppStatus]) -> str:
    found = (one for app in apps if app.id == REGISTRY.app_id for one in app.instances)
    return ", ".join(f"{one.name} is {one.state}" + (f" ({one.detail})" if one.detail else "") for one in found)


def _ends(registry: str) -> datetime | None:
    if is_local(registry):
        return None
    try:
        return registry_api.certificate(registry).not_valid_after_utc
    except ClusterError:
        return None


def _fingerprint(ca: Path) -> str:
    try:
        return fingerprint(x509.load_pem_x509_certificate(ca.read_bytes()))
    except (OSError, ValueError):
        return "unknown: it is no certificate"


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:,.1f} GB"
