"""The private registry of a host, over SSH: set up, brought up to date, or left as it is where all is right."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import docker
from docker.errors import DockerException, ImageNotFound

from cluster import engine
from cluster.components import REGISTRY
from cluster.engine.errors import problem_of
from cluster.files import locked
from cluster.hosts import ssh
from cluster.hosts.host import Host
from cluster.hosts.remote import Remote, engine_errors
from cluster.images import build as image_build
from cluster.images import registry_api, registry_errors, registry_login
from cluster.registry import certificates, plan
from cluster.registry.plan import CERTIFICATE, DATA, HTPASSWD, IMAGE, KEY, OWNER, START_TIMEOUT_S, Plan
from cluster.schedulers import DeployOptions, Scheduler, selection
from cluster.settings import ROOT, Settings
from cluster.terminal import live_line
from scripts.errors import ClusterError, ServiceAway

Say = Callable[[str], None]

_PIECE = 1 << 20


def up(settings: Settings, host: str, given_address: str, say: Say) -> str:
    """Set up the registry on a host and return its address. Done again it changes nothing that is right.

    Raises:
        ClusterError: the host, its engine, its disk, the port or the address does not allow it; or another run of the
            project sets it up just now.
        ServiceAway: the host or the engine here is away, or the registry cannot be reached from here.
    """
    there, now = Host.parse(host), datetime.now(UTC)
    lock = ROOT / ".run" / f"registry-{settings.project}.lock"
    taken = (
        f"another `./inv registry.up --host` of project {settings.project} is under way: wait for it, then try again"
    )
    with locked(lock, taken), ssh.connected(settings, there) as remote:
        made = _plan(settings, remote, given_address, now)
        if not _bring_about(settings, remote, made, say):
            say(f"the registry on {remote.name} is as it should be: nothing was changed")
        registry_errors.trust(engine.connect(), made.address, made.ca.file, say)
        check_from_here(remote.name, made)
    ends = f"its certificate ends on {made.certificate.not_valid_after_utc:%Y-%m-%d}"
    say(f"the registry answers at {made.address}, with TLS and a login; {ends}")
    if made.address != settings.registry:
        say(f"let everything use it: `registry: {made.address}` in invoke.yaml")
    return made.address


def dry_run(settings: Settings, host: str, given_address: str, say: Say) -> str:
    """Return what `up` would do now, as JSON without secrets; changes nothing, and raises as `up`."""
    now = datetime.now(UTC)
    with ssh.connected(settings, Host.parse(host)) as remote:
        made = _plan(settings, remote, given_address, now)
        change = selection.on_host(settings, remote, say).plan(made.app)
        refuse_anothers(made)
        with engine_errors(remote, f"look for {IMAGE}"):
            is_there = _is_there(engine.connect(), remote.engine())
        steps: dict[str, Any] = {
            "host": remote.name,
            "address": made.address,
            "ca": str(made.ca.file) if made.ca.file.exists() else f"new: {made.ca.file}",
            "image": {"name": str(IMAGE), "send": not is_there},
            "files": {path: made.news.get(path, "stays") for path in made.files},
            "container": {"change": change.kind, "sent": change.sent},
        }
    return json.dumps(steps, indent=2)


def _plan(settings: Settings, remote: Remote, given_address: str, now: datetime) -> Plan:
    """Return what the host should have, from what it has; a CA that is new is not kept yet."""
    with engine_errors(remote, "ask the Docker Engine what it is"):
        options = remote.engine().info().get("SecurityOptions") or []
    if any("rootless" in option for option in options):
        raise ClusterError(f"{remote.name}: the Docker Engine there is rootless: the registry needs one that root runs")
    found = {path: remote.read(path, sudo=True) for path in (CERTIFICATE, KEY, HTPASSWD)}
    ca = certificates.of(settings.project, now)
    plan.refuse_other_authority(found, ca, remote.name)
    return plan.for_host(plan.address(settings, remote.address, given_address), found, ca, now)


def _bring_about(settings: Settings, remote: Remote, made: Plan, say: Say) -> bool:
    """Make what is not as it should be; return whether anything was not."""
    where = selection.on_host(settings, remote, say)
    where.plan(made.app)  # refuses a port that is taken before anything is built, sent or kept
    refuse_anothers(made)
    made.ca.keep()
    registry_login.keep(made.address, made.access)  # before it is used there, so that an interrupted run has it
    news = _send_image(remote, say)
    news = _write_files(remote, made, say) or news
    return _run(where, remote, made, say) or news


def _send_image(remote: Remote, say: Say) -> bool:
    """Send the image from this machine's engine to the host's over SSH: the host need not reach anything."""
    here, there = engine.connect(), remote.engine()
    image_build.build(here, REGISTRY, IMAGE, say)
    with engine_errors(remote, f"take the image {IMAGE}"):
        if _is_there(here, there):
            return False
        ours, theirs = here.version()["Arch"], there.version()["Arch"]
        if ours != theirs:
            raise ClusterError(
                f"{remote.name} is {theirs}, and images built on this machine are for {ours}: choose another host"
            )
        image = here.images.get(str(IMAGE))
        size = int(image.attrs["Size"])
        folder = str(there.info()["DockerRootDir"])
        disk = remote.disk(folder, sudo=True)
        if disk and disk.free < size:
            raise ClusterError(
                f"{remote.name}: the disk is full where the Docker Engine keeps its data, {folder}: "
                f"{disk.free / 1e6:,.0f} MB are free, and the image needs {size / 1e6:,.0f} MB: docker system df "
                "there shows what takes the room"
            )
        say(f"sending {IMAGE} to {remote.name} ({size / 1e6:,.0f} MB)")
        with live_line(f"send {IMAGE} to {remote.name}") as show:
            pieces = image.save(chunk_size=_PIECE, named=str(IMAGE))
            sent = _counted(pieces, lambda count: show(f"{count / 1e6:.0f} of {size / 1e6:.0f} MB"))
            problems = [problem_of(event) for event in there.api.load_image(sent)]  # to the end of the stream
        if problem := next(filter(None, problems), ""):
            raise DockerException(problem)
    return True


def _is_there(here: docker.DockerClient, there: docker.DockerClient) -> bool:
    """Return whether the other engine has the very image that has this name here, where there is one."""
    try:
        wanted, found = here.images.get(str(IMAGE)), there.images.get(str(IMAGE))
    except ImageNotFound:
        return False
    return found.id == wanted.id or _content(found) == _content(wanted)


def _content(image: Any) -> tuple[Any, ...]:
    """Return what tells images apart even where ids do not: containerd's store computes them in a way of its own."""
    return image.attrs["Created"], image.attrs["RootFS"].get("Layers"), image.attrs["Config"].get("Labels")


def _counted(pieces: Iterable[bytes], show: Callable[[int], None]) -> Iterator[bytes]:
    sent = 0
    for piece in pieces:
        sent += len(piece)
        show(sent)
        yield piece


def _write_files(remote: Remote, made: Plan, say: Say) -> bool:
    remote.step(f"make {DATA}", f"install -d -m 750 -o {OWNER.replace(':', ' -g ')} {DATA}", sudo=True)
    news = False
    for path, content in made.files.items():
        if remote.write(path, content, mode=0o600, owner=OWNER, sudo=True):
            why = made.news.get(path, "the same, with the mode and the owner that it needs")
            say(f"{remote.name}: {path} is {why}")
            news = True
    return news


def _run(where: Scheduler, remote: Remote, made: Plan, say: Say) -> bool:
    change = where.plan(made.app)
    if change.kind != "nothing":
        say(f"{'restarting' if change.kind == 'replace' else 'starting'} the registry on {remote.name}")
    try:
        where.apply(change, DeployOptions(timeout_s=START_TIMEOUT_S))
    except ClusterError as error:
        if str(error).startswith(f"{remote.name}: "):
            raise
        raise type(error)(f"{remote.name}: {error}") from error
    return change.kind != "nothing"


def refuse_anothers(made: Plan) -> None:
    """Refuse, before anything is changed, the address of somebody else's registry."""
    try:
        shown = registry_api.certificate(made.address)
    except ServiceAway:
        return  # nobody is there yet
    if not certificates.is_of(shown, made.ca):
        raise ClusterError(registry_errors.of_another_ca(made.address, made.ca.file))


def check_from_here(host: str, made: Plan) -> None:
    """Refuse an address at which this registry, on `host`, is not reached, or does not let us in."""
    try:
        shown = registry_api.certificate(made.address)
    except ServiceAway as error:
        raise ServiceAway(
            f"the registry runs on {host}, but this machine does not reach it at {made.address}: let its "
            "firewall pass this port, or give the address at which everybody reaches it, --address HOST:PORT"
        ) from error
    if shown != made.certificate:
        raise ClusterError(
            f"the registry runs on {host}, but another one of ours answers at {made.address}: give the address "
            "at which everybody reaches this one, --address HOST:PORT"
        )
    registry_api.check(made.address)
