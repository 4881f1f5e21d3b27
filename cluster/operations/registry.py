"""The private registry: of this machine, or of a host of the cluster."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import docker
from cryptography import x509

from cluster import engine
from cluster.apps.app import AppSpec, AppStatus
from cluster.components import REGISTRY
from cluster.hosts import ssh
from cluster.hosts.host import Host
from cluster.hosts.remote import Remote
from cluster.image_ref import is_local, registry_address
from cluster.images import build as image_build
from cluster.images import registry_api, registry_login
from cluster.registry import host as host_registry
from cluster.registry import plan
from cluster.registry.certificates import fingerprint
from cluster.registry.plan import DATA, IMAGE, START_TIMEOUT_S, local_app
from cluster.schedulers import DeployOptions, Say, Scheduler, selection
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


def up(settings: Settings, host: str, address: str, *, dry_run: bool, say: Say) -> str:
    """Run the private registry of this machine, or of a host, where it does not run as it should; return its address.

    With `dry_run`, return what would be done, as JSON.
    """
    if host:
        return (host_registry.dry_run if dry_run else host_registry.up)(settings, host, address, say)
    if address:
        raise ClusterError("--address is that of a host's registry: give the host, too, with --host")
    client, here = engine.connect(), selection.local(settings, say)
    if dry_run:
        return dry_run_here(settings, here)
    ensure_up(settings, client, here, say)
    return settings.registry


def ensure_up(settings: Settings, client: docker.DockerClient, here: Scheduler, say: Say) -> None:
    """Run the registry of this machine where none answers; a registry elsewhere is left to who runs it."""
    registry = settings.registry
    app = _missing(registry, here)
    if app is None:
        return
    here.plan(app)  # refuses a port that is taken before anything is built
    image_build.build(client, REGISTRY, IMAGE, say)
    say(f"starting the private registry at {registry}")
    here.apply(here.plan(app), DeployOptions(timeout_s=START_TIMEOUT_S))
    if not registry_api.answers(registry):
        raise ClusterError(f"the registry runs but does not answer at {registry}: see `./inv registry.logs`")


def dry_run_here(settings: Settings, here: Scheduler) -> str:
    """Return what `ensure_up` would start, as JSON."""
    app = _missing(settings.registry, here)
    return json.dumps(here.plan(app).sent if app else {}, indent=2)


def _missing(registry: str, here: Scheduler) -> AppSpec | None:
    """Return the app to deploy; None where the registry is elsewhere, or one answers that is right or not ours."""
    if not is_local(registry):
        return None
    wanted = local_app(registry)
    if registry_api.answers(registry):
        instances = [one for app in here.status() if app.id == REGISTRY.app_id for one in app.instances]
        ports = {address.port for one in instances for address in one.ports.values()}
        if registry_address(registry).port not in ports or here.plan(wanted).kind == "nothing":
            return None
    return wanted


def status(settings: Settings, host: str, say: Say) -> Status:
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


def as_json(seen: Status) -> str:
    """Return the state for programs."""
    return json.dumps(asdict(seen), indent=2, default=str)


def as_text(seen: Status) -> str:
    """Return the state for people, a line a fact."""
    rows = [("registry", f"{seen.address}: {seen.problem or 'answers and lets us in'}")]
    if seen.host:
        rows.append(("host", f"{seen.host}: {seen.container or 'no registry of this project is there'}"))
    if seen.certificate_ends:
        rows.append(("certificate", _end(seen.certificate_ends, datetime.now(UTC))))
    if seen.ca:
        rows += [("CA", seen.ca), ("", f"SHA-256 {seen.ca_sha256}")]
    if room := seen.room:
        rows.append(("disk", f"{_gb(room.taken)} of images, {_gb(room.free)} of {_gb(room.total)} are free"))
    return "\n".join(f"{name:<12} {text}" for name, text in rows)


def refuse_useless(seen: Status) -> None:
    """End with an error where the registry that was shown is of no use."""
    if seen.problem:
        is_here = is_local(seen.address) and not seen.host
        up = "./inv registry.up" if is_here else f"./inv registry.up --host {seen.host or 'HOST'}"
        raise ServiceAway(f"the registry {seen.address} is of no use as it is: `{up}` sets one of ours right")


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


def logs(settings: Settings, host: str, tail: int, follow: bool, say: Say) -> Iterator[str]:
    """Yield the last lines that the registry of this machine, or of a host, printed."""
    with _engine(settings, host, say) as where:
        yield from where.logs(REGISTRY.app_id, tail, follow)


def stop(settings: Settings, host: str, say: Say) -> None:
    """Stop the registry of this machine, or of a host; its images, its certificate and its login stay."""
    with _engine(settings, host, say) as where:
        say(f"stopping the registry on {where.place}; its images stay there")
        where.stop(REGISTRY.app_id)


@contextmanager
def _engine(settings: Settings, host: str, say: Say) -> Iterator[Scheduler]:
    """Yield the engine that runs the registry of this machine, or of a host (ClusterError: none does)."""
    if not host:
        yield selection.running(selection.of_this_machine(settings, say), REGISTRY.app_id)
        return
    with ssh.connected(settings, Host.parse(host)) as remote:
        there = selection.on_host(settings, remote, say)
        if there.present(REGISTRY.app_id) is None:
            raise ClusterError(f"{host}: no registry of this project is there: `./inv registry.up --host {host}`")
        yield there
