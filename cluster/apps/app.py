"""Apps in no engine's words: what is to run, what a deploy would change, and what runs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from cluster.credentials import SecretFile
from scripts.errors import ClusterError
from scripts.hostport import HostPort
from scripts.one_line import one_line

# Of these `unhealthy` runs and does not work, and `stopping` was told to end and finishes its work.
State = Literal["starting", "waiting", "running", "unhealthy", "stopping", "stopped"]
Kind = Literal["create", "replace", "scale", "restart", "nothing"]

# The label that says how many seconds our own stop waits for an instance. What an engine ends by itself has less:
# nothing may wait a week for an action, and its message comes back.
DRAIN = "drain"
TAG = "tag"  # the label with what a person called the image


@dataclass(frozen=True)
class Image:
    """An image as an engine's apps name it: by its content where a registry holds it.

    `tag` is what the person said. Without `architectures` nobody knows for which it is built, and without `sources`,
    a digest, of which files.
    """

    name: str
    tag: str
    architectures: tuple[str, ...] = ()
    sources: str = ""


@dataclass(frozen=True)
class Port:
    """A port of an app; `host` 0 means any free one, `container` 0 the same as on the host."""

    name: str = ""
    container: int = 0
    host: int = 0
    protocol: str = "tcp"


@dataclass(frozen=True)
class Volume:
    """A folder or file of the host that an app sees; a host path under /var/lib/cluster/ means the app's data."""

    host_path: str
    path: str
    read_only: bool = False


@dataclass(frozen=True)
class HealthCheck:
    """A shell command that succeeds where an instance works; times in seconds, `failures` in a row make it ill."""

    command: str
    grace_s: float = 300
    interval_s: float = 60
    timeout_s: float = 20
    failures: int = 3


@dataclass(frozen=True)
class AppSpec:
    """An app as any engine can run it.

    `command` is for the shell (empty: the image's own), `image` is empty where none is needed. `kill_grace_s` is how
    long the engine waits for an instance that it ends by itself; `time_limit_s` is how long an instance may run (0: for
    ever); with `max_instances` there are as many as the queue needs, `instances` at least and so many at most;
    `pinned_to` is the host that it has to run on. `container_options` are options of `docker run` of the definition,
    which engines without containers leave out; `engine_options` are those that a person gave to the engine. `native` is
    the definition that the app was read from, and `unheld` what is in it that an AppSpec cannot hold, by its place.
    """

    id: str
    command: str = ""
    image: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[Port, ...] = ()
    on_host_network: bool = True
    volumes: tuple[Volume, ...] = ()
    health: HealthCheck | None = None
    cpus: float = 1
    mem_mib: float = 128
    instances: int = 1
    kill_grace_s: int = 10
    time_limit_s: float = 0
    max_instances: int = 0
    pinned_to: str = ""
    secret_files: tuple[SecretFile, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    container_options: tuple[tuple[str, str], ...] = ()
    engine_options: tuple[tuple[str, str], ...] = ()
    native: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    unheld: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def stop_grace_s(self) -> int:
        """Seconds that our own stop waits for an instance: the label `drain`, else as long as the engine's own."""
        drain = self.labels.get(DRAIN, "")
        return int(drain) if drain.isdecimal() else self.kill_grace_s

    @property
    def number(self) -> str:
        """The number of its instances for people: `3`, `0 to 40`."""
        return f"{self.instances} to {self.max_instances}" if self.max_instances else str(self.instances)

    @property
    def digest(self) -> str:
        """SHA-256 in hex of all but the number of instances: scaling makes no other app."""
        kept = replace(self, instances=1, max_instances=0).as_json()
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` reads, for a label or a file; the content of secret files is left out."""
        kept = asdict(replace(self, native={}, unheld={}))
        del kept["native"], kept["unheld"]
        if not self.max_instances:
            del kept["max_instances"]  # apps that are kept from before have none
        for file in kept["secret_files"]:
            del file["content"]
        return kept

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> AppSpec:
        """Return the app that was kept as JSON."""
        health = found.get("health")
        return cls(**{
            **found,
            "ports": tuple(Port(**port) for port in found.get("ports", ())),
            "volumes": tuple(Volume(**volume) for volume in found.get("volumes", ())),
            "health": HealthCheck(**health) if health else None,
            "secret_files": tuple(SecretFile(content=b"", **file) for file in found.get("secret_files", ())),
            **{key: tuple(map(tuple, found.get(key, ()))) for key in ("container_options", "engine_options")},
        })  # fmt: skip

    def with_env(self, env: Mapping[str, str]) -> AppSpec:
        """Return the app with more variables; those given win."""
        return replace(self, env={**self.env, **env})

    def with_labels(self, labels: Mapping[str, str]) -> AppSpec:
        """Return the app with more labels; those given win."""
        return replace(self, labels={**self.labels, **labels})

    def with_host_ports(self, fixed: Mapping[str, int]) -> AppSpec:
        """Return the app with fixed ports of the host for the ports of these names."""
        return replace(self, ports=tuple(replace(port, host=fixed.get(port.name, port.host)) for port in self.ports))

    def refuse_elastic(self, engine: str) -> None:
        """Refuse an app whose number of instances is for its engine to choose, which this engine does not."""
        if self.max_instances:
            raise ClusterError(
                f"{self.id}: max_instances (--max-instances) is {self.max_instances}: {engine} runs as many as it is "
                "told: leave it out, and say --instances"
            )

    def refuse_wrong_number(self) -> None:
        """Refuse more instances than may be at most."""
        if 0 < self.max_instances < self.instances:
            raise ClusterError(
                f"{self.id}: --instances {self.instances} is more than --max-instances {self.max_instances}: raise the "
                "most that there may be, or lower the least"
            )

    def refuse_unheld(self, engine: str) -> None:
        """Refuse what an engine would leave out though it changes what the app does."""
        for place, value in self.unheld.items():
            shown = json.dumps(value, ensure_ascii=False)[:100]
            raise ClusterError(f"{self.id}: {place} is {shown}, which {engine} cannot run: leave it out")


@dataclass(frozen=True)
class Change:
    """A change that a deploy would make, and what would be sent, as JSON for --dry-run: as its engine could take it.

    `scale` leaves what runs in peace and makes or stops further instances; `restart` starts the same anew.
    `differences` are those to what runs, a line each.
    """

    app: AppSpec
    kind: Kind
    sent: Mapping[str, Any]
    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Instance:
    """A running copy of an app; `detail` is for people (an exit code, a health check's words).

    `started_at` is the start of its present life, in seconds since 1970; None where it does not run. `sources` is the
    digest of the files that its image was built from, or of the copy that it runs; empty where the engine does not say.
    """

    name: str
    state: State
    image: str = ""
    ports: Mapping[str, HostPort] = field(default_factory=dict)
    detail: str = ""
    started_at: float | None = None
    sources: str = ""


@dataclass(frozen=True)
class AppStatus:
    """An app and its instances as they are now.

    `spec` is the app as `Scheduler.present` has it, but for its image, which each instance names for itself.
    """

    spec: AppSpec
    instances: tuple[Instance, ...]

    @property
    def id(self) -> str:
        """The app's id."""
        return self.spec.id

    @property
    def tag(self) -> str:
        """The name that a person gave the image; empty where it is not known."""
        return self.spec.labels.get(TAG, "")

    @property
    def running(self) -> int:
        """The number of instances that run and, where they have a health check, are healthy."""
        return sum(instance.state == "running" for instance in self.instances)

    @property
    def waiting(self) -> int:
        """The number of instances that wait for their engine to have room for them."""
        return sum(instance.state == "waiting" for instance in self.instances)

    @property
    def reasons(self) -> str:
        """The reasons for which instances wait: `Priority`, or where these differ `15 Priority, 2 Resources`."""
        counts = Counter(instance.detail for instance in self.instances if instance.state == "waiting")
        if len(counts) == 1:
            return next(iter(counts))
        return ", ".join(f"{count} {detail or 'for unknown reasons'}" for detail, count in counts.most_common())

    @property
    def shortage(self) -> str:
        """The instances that wait, for people: `17 wait: Priority`; empty where none does."""
        if not self.waiting:
            return ""
        wait = "waits" if self.waiting == 1 else "wait"
        return f"{self.waiting} {wait}{f': {self.reasons}' if self.reasons else ''}"

    def as_json(self) -> dict[str, Any]:
        """Return what programs may know; an app's environment is its own."""
        instances = [asdict(one) for one in self.instances]
        for one in instances:
            del one["sources"]
        return {"id": self.id, "tag": self.tag, "instances": instances}


Path = tuple[str | int, ...]

_LONGEST = 100
_BEFORE_DIFFERENCE = 20


def dotted(path: Sequence[str | int]) -> str:
    """Return a place in a definition for people: `container.portMappings[0].hostPort`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def differences(
    present: Any, wanted: Any, is_equal: Callable[[Any, Any, Path], bool] | None = None, path: Path = ()
) -> Iterator[str]:
    """Yield what is not as wanted, a line each: `mem_mib: 512 -> 1024`; `is_equal` knows values that mean the same."""
    if _are(dict, present, wanted):
        old, new = present or {}, wanted or {}
        for key in sorted({**old, **new}):
            yield from differences(old.get(key), new.get(key), is_equal, (*path, key))
    elif isinstance(present, list | tuple) and isinstance(wanted, list | tuple) and len(present) == len(wanted):
        for index, (old, new) in enumerate(zip(present, wanted, strict=True)):
            yield from differences(old, new, is_equal, (*path, index))
    elif not (is_equal(present, wanted, path) if is_equal else present == wanted):
        yield f"{dotted(path)}: {' -> '.join(map(_shown, _from_first_difference(present, wanted)))}"


def _are(kind: type, one: Any, other: Any) -> bool:
    """Return True when one is of this kind, and the other too or missing."""
    return all(value is None or isinstance(value, kind) for value in (one, other)) and not (one is other is None)


def _from_first_difference(present: Any, wanted: Any) -> tuple[Any, Any]:
    """Return two values; of long texts that begin alike no more than the part in which they differ."""
    if not (isinstance(present, str) and isinstance(wanted, str)) or max(len(present), len(wanted)) <= _LONGEST:
        return present, wanted
    pairs = enumerate(zip(present, wanted, strict=False))
    first = next((place for place, (one, other) in pairs if one != other), min(len(present), len(wanted)))
    cut = max(0, first - _BEFORE_DIFFERENCE)
    return (f"... {present[cut:]}", f"... {wanted[cut:]}") if cut else (present, wanted)


def _shown(value: Any) -> str:
    return "nothing" if value is None else one_line(json.dumps(value, ensure_ascii=False), _LONGEST)
