"""The check of the agent hosts: a finding for each question, for each red one what to do, and the table of them."""

from __future__ import annotations

import io
import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from docker.errors import DockerException
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster.components import QUEUE
from cluster.engine.errors import words_of
from cluster.hosts.all_hosts import Say, Show, on_all_hosts
from cluster.hosts.host import Host
from cluster.hosts.remote import Remote, engine_errors
from cluster.image_ref import ImageRef, is_local
from cluster.images import registry_login
from cluster.images.registry_errors import Trouble, trouble_in
from cluster.operations.agents.images import changes, explained, mismatch
from cluster.queue import login as queue_login
from cluster.schedulers import Scheduler
from cluster.settings import Settings
from scripts.errors import ClusterError
from scripts.hostport import HostPort
from scripts.one_line import visible
from scripts.streams import has_colors

COLUMNS = ("ssh", "user", "engine", "arch", "disk", "memory", "cores", "clock", "registry", "password")
_WIDE = 10_000  # a table is never wrapped: it may be piped

_MACHINE = """
export LC_ALL=C
echo "clock $(date +%s.%N)"
echo "cores $(getconf _NPROCESSORS_ONLN)"
sed -n "s/^MemAvailable: *//p" /proc/meminfo | { read -r kib rest; echo "memory_kib $kib"; }
"""
# timeout(1) ends a host that drops packets; bash's /dev/tcp needs no program that may be missing.
_CONNECT = "export LC_ALL=C; command -v bash >/dev/null || exit {no_bash}; timeout {seconds} bash -c {command} 2>&1"
_NO_BASH, _TIMED_OUT = 44, 124
_CONNECT_S = 5

# A worker's image with R takes 480 MB: room for a new one beside that which runs, while it is unpacked, and for logs.
LEAST_DISK_MIB = 2048
# From here on etcd warns of its peers' clocks (rafthttp: "clock difference against peer is too high [... > 1s]").
MOST_CLOCK_S = 1.0


@dataclass(frozen=True)
class Finding:
    """The answer to one question; red when it has a remedy."""

    text: str
    remedy: str = ""


@dataclass(frozen=True)
class CheckRequest:
    """Things that the hosts have to hold and to reach: of each service one address is enough, as workers try all."""

    registry: str
    image: ImageRef
    mem_mib: int
    login: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    services: Mapping[str, Sequence[HostPort]] = field(default_factory=dict)


Row = dict[str, Finding]
Probe = Callable[[Remote, CheckRequest], Row]


def request(
    settings: Settings, services: Mapping[str, Sequence[HostPort]], engine: Scheduler | None = None
) -> CheckRequest:  # fmt: skip
    """Gather what is asked of the hosts: by the settings, that they reach these services, and what an engine needs."""
    files = queue_login.workers_files(settings)
    if files and engine:
        files = (*files, *engine.broker_for(QUEUE.app_id).secret_files)
    return CheckRequest(
        registry=settings.registry,
        image=ImageRef.parse(settings.worker.tag, settings.images),
        mem_mib=settings.worker.mem_mib,
        login=registry_login.auth_config(settings.registry) if settings.registry else {},
        secrets={file.path_on_hosts(settings.project): file.content for file in files},
        services=services,
    )


def check(settings: Settings, hosts: Sequence[Host], asked: CheckRequest, timeout_s: float, say: Say) -> dict[str, Row]:
    """Ask every host everything and return the findings by host; a host out of reach has one finding."""
    outcomes = on_all_hosts(
        settings, hosts, partial(_row, asked), doing="check the agent hosts", timeout_s=timeout_s, say=say,
        describe=lambda row: f"red: {', '.join(red_in(row))}" if red_in(row) else "ready",
    )  # fmt: skip
    return {str(one.host): _failed("ssh", one.host, one.error) if one.error else one.value or {} for one in outcomes}


def refuse_red(rows: Mapping[str, Row]) -> None:
    """Raise ClusterError when a finding is red."""
    red = [host for host, row in rows.items() if red_in(row)]
    if red:
        raise ClusterError(f"{len(red)} of {len(rows)} hosts are not ready: {', '.join(red)}: see above what to do")


def red_in(row: Row) -> list[str]:
    """List the questions whose findings are red."""
    return [name for name, finding in row.items() if finding.remedy]


def as_json(rows: Mapping[str, Row]) -> str:
    """Return a list of hosts, each with its findings."""
    found = [
        {"host": host, "ok": not red_in(row)}
        | {name: {"text": one.text, "ok": not one.remedy, "remedy": one.remedy} for name, one in row.items()}
        for host, row in rows.items()
    ]
    return json.dumps(found, indent=2)


def as_table(rows: Mapping[str, Row], *, in_color: bool | None = None) -> str:
    """Return a line a host, red findings marked with !, and below what to do about each of them."""
    in_color = has_colors(sys.stdout) if in_color is None else in_color
    found = dict.fromkeys(name for row in rows.values() for name in row)
    asked = [name for name in dict.fromkeys([*COLUMNS, *found]) if name in found]
    table = Table(box=None, pad_edge=False)
    for name in ("host", *asked):
        table.add_column(name.upper(), no_wrap=True)
    for host, row in rows.items():
        table.add_row(visible(host), *(_shown(row.get(name)) for name in asked))
    red = [(host, name, one.remedy) for host, row in rows.items() for name, one in row.items() if one.remedy]
    steps = [visible(": ".join(each)) for each in red]
    out = io.StringIO()
    Console(file=out, width=_WIDE, force_terminal=in_color, no_color=not in_color).print(table)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    return "\n".join([*lines, *([""] if steps else []), *steps])


def _shown(finding: Finding | None) -> Text:
    if finding is None:
        return Text("-")
    text = visible(finding.text)
    return Text(f"! {text}", "red") if finding.remedy else Text(text)


def _failed(name: str, host: object, error: ClusterError) -> Row:
    return {name: Finding("no", str(error).removeprefix(f"{host}: "))}


def _row(asked: CheckRequest, remote: Remote, show: Show) -> Row:
    row = {"ssh": Finding("yes")}
    for name, probe in (_PROBES | {name: partial(_service, name) for name in asked.services}).items():
        if name in _THROUGH_THE_ENGINE and row["engine"].remedy:
            continue
        show(f"asks: {name}")
        try:
            row |= probe(remote, asked)
        except ClusterError as error:
            row |= _failed(name, remote.name, error)
    return row


def _user(remote: Remote, asked: CheckRequest) -> Row:
    if remote.is_root:
        return {"user": Finding("root")}
    refusal = remote.sudo_refusal
    return {"user": Finding(f"{remote.user}, no sudo" if refusal else f"{remote.user}, sudo", refusal)}


def _engine(remote: Remote, asked: CheckRequest) -> Row:
    with engine_errors(remote, "ask the Docker Engine"):
        said = remote.engine().version()
    return {"engine": Finding(str(said["Version"])), "arch": Finding(str(said.get("Arch", "")))}


def disk(remote: Remote, asked: CheckRequest) -> Row:
    """Judge the room for images."""
    with engine_errors(remote, "ask where it keeps its data"):
        folder = str(remote.engine().info()["DockerRootDir"])
    found = remote.disk(folder)
    if not found:
        raise ClusterError(f"df says nothing of {folder}: see `df {folder}` there")
    free_mib = found.free // 2**20
    remedy = f"{folder} has room for no more images: docker system prune there, or give it more room"
    return {"disk": Finding(f"{free_mib / 1024:,.1f} GiB free", remedy if free_mib < LEAST_DISK_MIB else "")}


def _machine(remote: Remote, asked: CheckRequest) -> Row:
    before = time.time()
    said = remote.step("ask about the machine", _MACHINE).decode(errors="replace")
    return machine(remote.name, said, before, time.time(), asked.mem_mib)


def machine(name: str, said: str, before: float, after: float, mem_mib: int) -> Row:
    """Judge what a host said of itself between two times of our clock: the room for a worker, its cores, its clock.

    The clock is red when it is wrong even if the doubt of the measurement is taken off.
    """
    facts = dict(line.split(maxsplit=1) for line in said.splitlines() if " " in line)
    try:
        unknown_s = 0.5 if "%N" in facts["clock"] else 0  # busybox's date knows whole seconds alone
        ahead_s = float(facts["clock"].replace("%N", "0")) + unknown_s - (before + after) / 2
        cores, free_mib = int(facts["cores"]), int(facts["memory_kib"]) // 1024
    except (KeyError, ValueError) as error:
        raise ClusterError(f"{name}: not a Linux host as we know it: it says {said.split()}") from error
    is_wrong = abs(ahead_s) - unknown_s - (after - before) / 2 > MOST_CLOCK_S
    no_room = f"not one worker fits (worker.mem_mib is {mem_mib}): see what takes the memory there (top)"
    set_clock = "certificates and logs go by the time: let NTP set the clock there and here (timedatectl set-ntp true)"
    return {
        "memory": Finding(f"{free_mib / 1024:,.1f} GiB free", no_room if free_mib < mem_mib else ""),
        "cores": Finding(str(cores)),
        "clock": Finding(f"{ahead_s:+,.1f} s", set_clock if is_wrong else ""),
    }


def _registry(remote: Remote, asked: CheckRequest) -> Row:
    """Ask through the host's own engine, with the login that agents.trust writes there; no image is moved."""
    registry = asked.registry
    if is_local(registry):
        step = "no host can reach a registry on this machine alone: ./inv registry.up --host HOST sets up one"
        return {"registry": Finding("no", step)}
    access = registry_login.for_registry(registry)
    missing = [change.name for change in changes(remote, registry, access)] if access else []
    if missing:
        return {"registry": Finding("no trust", f"not as it should be: {', '.join(missing)}: ./inv agents.trust")}
    with engine_errors(remote, f"ask {registry}"):
        try:
            found = remote.engine().images.get_registry_data(str(asked.image), auth_config=asked.login)
        except DockerException as error:
            words = words_of(error)
            if trouble_in(words) is Trouble.ABSENT:
                return {"registry": Finding(f"yes, no {asked.image.name}:{asked.image.tag} yet")}
            return {"registry": Finding("no", explained(registry, words))}
    platforms = found.attrs.get("Platforms") or []
    return {"registry": Finding("yes"), **_foreign(remote, asked, {one.get("architecture", "") for one in platforms})}


def _foreign(remote: Remote, asked: CheckRequest, architectures: set[str]) -> Row:
    """Replace the finding on the architecture where the host cannot run the workers' image."""
    why = mismatch(remote, architectures - {"", "unknown"})
    remedy = f"{asked.image} {why}: build it on a machine like this host, or keep workers away from it (--constraint)"
    return {"arch": Finding(_engine(remote, asked)["arch"].text, remedy)} if why else {}


def password(remote: Remote, asked: CheckRequest) -> Row:
    """Judge the files by which workers log in, which worker.deploy puts there: a host that joined later lacks them."""
    found = {path: remote.read(path, sudo=True) for path in asked.secrets}
    wrong = next((path for path, content in asked.secrets.items() if found[path] != content), "")
    if not wrong:
        return {"password": Finding("yes")} if found else {}
    text, why = ("no", "is not there") if found[wrong] is None else ("another", "has another than .secrets/ here")
    remedy = f"{wrong}, with which workers log in, {why}: ./inv worker.deploy puts it on all of agents.hosts"
    return {"password": Finding(text, remedy)}


def _service(name: str, remote: Remote, asked: CheckRequest) -> Row:
    refused = []
    for address in asked.services[name]:
        why = _unreachable(remote, address)
        if not why:
            return {name: Finding("yes")}
        refused.append(f"{address}: {why}")
    return {name: Finding("no", f"not reached from there ({'; '.join(refused)}): is it up, a firewall between?")}


def _unreachable(remote: Remote, address: HostPort) -> str:
    """Return why the host gets no TCP connection to an address, "" if it does."""
    connect = f"exec 3<>/dev/tcp/{shlex.quote(address.host)}/{address.port}"
    ran = remote.run(_CONNECT.format(no_bash=_NO_BASH, seconds=_CONNECT_S, command=shlex.quote(connect)))
    if ran.code in (0, _TIMED_OUT, _NO_BASH):
        return {0: "", _TIMED_OUT: "timed out", _NO_BASH: "cannot tell, as there is no bash"}[ran.code]
    first, *_ = ran.out.decode(errors="replace").splitlines() or [ran.reason]
    return first.rpartition(": ")[2]  # of `bash: line 1: connect: Connection refused`


_PROBES: dict[str, Probe] = {
    "user": _user,
    "engine": _engine,
    "disk": disk,
    "memory": _machine,
    "registry": _registry,
    "password": password,
}
_THROUGH_THE_ENGINE = ("disk", "registry")
