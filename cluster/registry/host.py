"""A private registry on a host, over SSH: set up, brought up to date, or left as it is where all is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from cluster import engine
from cluster.components import REGISTRY
from cluster.engine import docker_errors
from cluster.hosts import ssh
from cluster.hosts.engine_errors import engine_errors
from cluster.hosts.host import Host
from cluster.hosts.remote import Remote
from cluster.images import build as image_build
from cluster.images import registry_api, registry_errors, registry_login, registry_trust, transfer
from cluster.registry import authority, disk, plan
from cluster.registry.app import CERTIFICATE, DATA, HTPASSWD, KEY, OWNER
from cluster.registry.authority import fingerprint
from cluster.registry.local import IMAGE, START_TIMEOUT_S
from cluster.registry.lock import alone
from cluster.registry.plan import Found, Plan
from cluster.schedulers import DeployOptions, Scheduler, selection
from cluster.settings import Settings
from scripts.errors import ClusterError, ServiceAway

Say = Callable[[str], None]


def up(settings: Settings, host: str, given_address: str, say: Say) -> str:
    """Set up the registry on a host; its address. Done again it changes nothing that is right.

    Raises:
        ClusterError: the host, its engine, its disk, the port or the address does not allow it.
        ServiceAway: the host or the engine here is away, or the registry cannot be reached from here.
    """
    there = Host.parse(host)
    with alone(settings.project), ssh.connected(settings, there) as remote:
        found = look(remote)
        now = datetime.now(UTC)
        plan.refuse_other_authority(found, authority.kept(settings.project, now), remote.name)
        where = plan.address(settings, remote.address, given_address)
        made = plan.for_host(where, found, authority.of(settings.project, now), now)
        if not _bring_about(settings, remote, made, say):
            say(f"the registry on {remote.name} is as it should be: nothing was changed")
        registry_trust.trust(engine.connect(), where, made.ca.file, say)
        check_from_here(remote.name, made)
    ends = f"its certificate ends on {made.certificate.not_valid_after_utc:%Y-%m-%d}"
    say(f"the registry answers at {where}, with TLS and a login; {ends}")
    if where != settings.registry:
        say(f"let everything use it: `registry: {where}` in invoke.yaml")
    return where


def look(remote: Remote) -> Found:
    """What the host has of a registry's files.

    Raises:
        ClusterError: it has no Docker Engine that can run a registry.
    """
    with engine_errors(remote, "ask the Docker Engine what it is"):
        options = remote.engine().info().get("SecurityOptions") or []
    if any("rootless" in option for option in options):
        raise ClusterError(f"{remote.name}: the Docker Engine there is rootless: the registry needs one that root runs")
    return Found(remote.read(CERTIFICATE), remote.read(KEY), remote.read(HTPASSWD))


def _bring_about(settings: Settings, remote: Remote, made: Plan, say: Say) -> bool:
    """Make what is not as it should be; whether anything was not."""
    where = selection.on_host(settings, remote, say)
    where.plan(made.app)  # refuses a port that is taken before anything is built, sent or kept
    refuse_anothers(made)
    registry_login.keep(made.address, made.access)  # before it is used there: who is interrupted has it
    news = _send_image(remote, say)
    news = _write_files(remote, made, say) or news
    return _run(where, remote, made, say) or news


def _send_image(remote: Remote, say: Say) -> bool:
    here, there = engine.connect(), remote.engine()
    image_build.build(here, REGISTRY, IMAGE, say)
    with engine_errors(remote, f"take the image {IMAGE}"):
        if transfer.is_there(here, there, IMAGE):
            return False
        transfer.refuse_other_machine(here, there, remote.name)
        with docker_errors(f"look at {IMAGE}"):
            size = int(here.images.get(str(IMAGE)).attrs["Size"])
        disk.refuse_too_small(remote, str(there.info()["DockerRootDir"]), size)
        transfer.send(here, there, IMAGE, remote.name, say)
    return True


def _write_files(remote: Remote, made: Plan, say: Say) -> bool:
    remote.step(f"make {DATA}", f"install -d -m 750 -o {OWNER.replace(':', ' -g ')} {DATA}", sudo=True)
    news = False
    for path, content in made.files.items():
        if remote.write(path, content, mode=0o600, owner=OWNER):
            why = made.news.get(path, "the same, with the mode and the owner that it needs")
            say(f"{remote.name}: {path} is {why}")
            news = True
    return news


def _run(where: Scheduler, remote: Remote, made: Plan, say: Say) -> bool:
    change = where.plan(made.app)
    if change.kind != "nothing":
        say(f"{'restarting' if change.kind == 'replace' else 'starting'} the registry on {remote.name}")
    with _named(remote):
        where.apply(change, DeployOptions(timeout_s=START_TIMEOUT_S))
    return change.kind != "nothing"


def refuse_anothers(made: Plan) -> None:
    """See, before anything is changed, that the address is not that of a registry that is none of ours.

    Raises:
        ClusterError: it is.
    """
    try:
        shown = registry_api.certificate(made.address)
    except ServiceAway:
        return  # nobody is there yet
    if not authority.is_of(shown, made.ca):
        raise ClusterError(registry_errors.of_another_ca(made.address, made.ca.file))


def check_from_here(host: str, made: Plan) -> None:
    """See that it is this registry, on `host`, that everybody reaches at the address, and that it lets us in.

    Raises:
        ClusterError: another one is there, or it refuses us.
        ServiceAway: nobody is.
    """
    try:
        shown = registry_api.certificate(made.address)
    except ServiceAway as error:
        raise ServiceAway(
            f"the registry runs on {host}, but this machine does not reach it at {made.address}: let its "
            "firewall pass this port, or give the address at which everybody reaches it, --address HOST:PORT"
        ) from error
    if fingerprint(shown) != fingerprint(made.certificate):
        raise ClusterError(
            f"the registry runs on {host}, but another one of ours answers at {made.address}: give the address "
            "at which everybody reaches this one, --address HOST:PORT"
        )
    registry_api.check(made.address)


@contextmanager
def _named(remote: Remote) -> Iterator[None]:
    """Begin what a scheduler says with the host's name."""
    try:
        yield
    except ClusterError as error:
        if str(error).startswith(f"{remote.name}: "):
            raise
        raise type(error)(f"{remote.name}: {error}") from error
