"""Whether the agent hosts can do their work: a cell a question, and for each red one what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

from docker.errors import DockerException

from cluster.credentials import folder_on_hosts
from cluster.hosts.host import Host
from cluster.hosts.remote import Remote
from cluster.hosts.together import Outcome, Say, Show, together
from cluster.image_ref import ImageRef, is_local
from cluster.images import registry_login
from cluster.images.remote_errors import says_absent
from cluster.operations.agents import facts, trust
from cluster.operations.agents.cells import Cell, clock_cell, disk_cell, memory_cell, password_cell
from cluster.operations.agents.pull import ENGINE_ERRORS, explained, failure, mismatch
from cluster.queue import login as queue_login
from cluster.settings import Settings
from scripts.amqp import broker
from scripts.errors import ClusterError
from scripts.hostport import HostPort
from scripts.marathon import access as marathon_access

COLUMNS = (
    "ssh",
    "user",
    "engine",
    "arch",
    "disk",
    "memory",
    "cores",
    "clock",
    "registry",
    "password",
    "queue",
    "marathon",
)


@dataclass(frozen=True)
class Wish:
    """What the hosts have to reach and to hold. No queue, no Marathon, no secrets: not asked for."""

    registry: str
    image: ImageRef
    mem_mib: int
    login: Mapping[str, str] = field(default_factory=dict, repr=False)
    queue: HostPort | None = None
    marathon: tuple[HostPort, ...] = ()
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)


Row = dict[str, Cell]
Probe = Callable[[Remote, Wish], Row]


def wish(settings: Settings, url: str, marathon: str) -> Wish:
    """What is asked of the hosts, from the settings and from -u and -m.

    Raises:
        ClusterError: one of them is no address.
    """
    return Wish(
        registry=settings.registry,
        image=ImageRef.parse(settings.worker.tag, settings.images),
        mem_mib=settings.worker.mem_mib,
        login=registry_login.auth_config(settings.registry) if settings.registry else {},
        queue=broker.address(url) if url else None,
        marathon=tuple(_address(one) for one in marathon_access.addresses(marathon)) if marathon else (),
        secrets={
            f"{folder_on_hosts(settings.project, file.group)}/{file.name}": file.content
            for file in queue_login.workers_files(settings)
        },
    )


def check(settings: Settings, hosts: Sequence[Host], wished: Wish, timeout_s: float, say: Say) -> dict[str, Row]:
    """Ask every host everything; its row by its name. A host that is not reached has one cell."""
    outcomes = together(
        settings, hosts, partial(_row, wished), doing="check the agent hosts", timeout_s=timeout_s,
        say=say, told=_told,
    )  # fmt: skip
    return {str(outcome.host): _outcome_row(outcome) for outcome in outcomes}


def refuse_red(rows: dict[str, Row]) -> None:
    """Raise ClusterError when a cell is red."""
    red = [host for host, row in rows.items() if any(cell.remedy for cell in row.values())]
    if red:
        raise ClusterError(f"{len(red)} of {len(rows)} hosts are not ready: {', '.join(red)}: see above what to do")


def _outcome_row(outcome: Outcome[Row]) -> Row:
    if outcome.error:
        return {"ssh": Cell("no", str(outcome.error).removeprefix(f"{outcome.host}: "))}
    return outcome.value or {}


def _told(row: Row) -> str:
    red = [name for name, cell in row.items() if cell.remedy]
    return f"red: {', '.join(red)}" if red else "ready"


def _row(wished: Wish, remote: Remote, show: Show) -> Row:
    row = {"ssh": Cell("yes")}
    for name, probe in _PROBES.items():
        if name in _THROUGH_THE_ENGINE and row["engine"].remedy:
            continue
        show(f"asks: {name}")
        try:
            row |= probe(remote, wished)
        except ClusterError as error:
            row[name] = Cell("no", str(error).removeprefix(f"{remote.name}: "))
    return row


def _user(remote: Remote, wished: Wish) -> Row:
    if remote.is_root:
        return {"user": Cell("root")}
    refusal = remote.sudo_refusal
    return {"user": Cell(f"{remote.user}, no sudo" if refusal else f"{remote.user}, sudo", refusal)}


def _engine(remote: Remote, wished: Wish) -> Row:
    try:
        said = remote.engine().version()
        return {"engine": Cell(str(said["Version"])), "arch": Cell(str(said.get("Arch", "")))}
    except ENGINE_ERRORS as error:
        raise failure(remote, "ask the Docker Engine", error) from error


def _disk(remote: Remote, wished: Wish) -> Row:
    try:
        folder = str(remote.engine().info()["DockerRootDir"])
    except ENGINE_ERRORS as error:
        raise failure(remote, "ask where it keeps its data", error) from error
    return {"disk": disk_cell(facts.disk(remote, folder))}


def _machine(remote: Remote, wished: Wish) -> Row:
    machine = facts.machine(remote)
    return {
        "memory": memory_cell(machine, wished.mem_mib),
        "cores": Cell(str(machine.cores)),
        "clock": clock_cell(machine),
    }


def _registry(remote: Remote, wished: Wish) -> Row:
    """Through the host's own engine, with the login that agents.trust writes there; no image is moved."""
    registry = wished.registry
    if is_local(registry):
        step = "no host can reach a registry on this machine alone: ./inv registry.up --host HOST sets up one"
        return {"registry": Cell("no", step)}
    access = registry_login.for_registry(registry)
    missing = list(map(str, trust.changes(remote, registry, access))) if access else []
    if missing:
        return {"registry": Cell("no trust", f"not as it should be: {', '.join(missing)}: ./inv agents.trust")}
    try:
        found = remote.engine().images.get_registry_data(str(wished.image), auth_config=wished.login)
    except DockerException as error:
        words = str(getattr(error, "explanation", "") or error)
        if says_absent(words):
            return {"registry": Cell(f"yes, no {wished.image.name}:{wished.image.tag} yet")}
        return {"registry": Cell("no", explained(registry, words))}
    except ENGINE_ERRORS as error:
        raise failure(remote, f"ask {registry}", error) from error
    platforms = found.attrs.get("Platforms") or []
    return {"registry": Cell("yes"), **_foreign(remote, wished, {one.get("architecture", "") for one in platforms})}


def _foreign(remote: Remote, wished: Wish, architectures: set[str]) -> Row:
    """Another cell where the host cannot run the workers' image."""
    why = mismatch(remote, architectures - {"", "unknown"})
    remedy = f"{wished.image} {why}: build it on a machine like this host, or keep workers away from it (--constraint)"
    return {"arch": Cell(_engine(remote, wished)["arch"].text, remedy)} if why else {}


def _password(remote: Remote, wished: Wish) -> Row:
    """What worker.deploy puts there: a host that joined later has it not."""
    if not wished.secrets:
        return {}
    return {"password": password_cell(wished.secrets, {path: remote.read(path) for path in wished.secrets})}


def _queue(remote: Remote, wished: Wish) -> Row:
    return {"queue": _reach(remote, (wished.queue,), "the queue")} if wished.queue else {}


def _marathon(remote: Remote, wished: Wish) -> Row:
    return {"marathon": _reach(remote, wished.marathon, "Marathon")} if wished.marathon else {}


def _reach(remote: Remote, addresses: Sequence[HostPort], what: str) -> Cell:
    """Green when one of them is reached: workers take the first that answers."""
    refused = []
    for address in addresses:
        why = facts.unreachable(remote, address)
        if not why:
            return Cell("yes")
        refused.append(f"{address}: {why}")
    return Cell("no", f"{what} is not reached from there ({'; '.join(refused)}): is it up, a firewall between?")


_PROBES: dict[str, Probe] = {
    "user": _user,
    "engine": _engine,
    "disk": _disk,
    "memory": _machine,
    "registry": _registry,
    "password": _password,
    "queue": _queue,
    "marathon": _marathon,
}
_THROUGH_THE_ENGINE = ("disk", "registry")


def _address(url: str) -> HostPort:
    """Marathon's, which always has a port here."""
    return HostPort.parse(urlsplit(url).netloc)
