"""The registry's images on the hosts: pulls before they are needed, and trust in the registry.

Its CA and login are put where Docker and Mesos look for them:

/etc/docker/certs.d/REGISTRY/ca.crt    the CA, for the Docker Engine, which reads it for each pull
~/.docker/config.json                  the login, for root and for the SSH user; what else is there stays
/etc/cluster/docker.tar.gz             the login for Mesos, which unpacks it beside each task (root alone may read it):
                                       "fetch": [{"uri": "file:///etc/cluster/docker.tar.gz"}]
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import shlex
import tarfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from docker.errors import ImageNotFound

from cluster.engine import pulls
from cluster.hosts.all_hosts import Say, Show, on_all_hosts, values
from cluster.hosts.files import LOGIN_ARCHIVE
from cluster.hosts.host import Host
from cluster.hosts.remote import Remote, engine_errors
from cluster.image_ref import ImageRef
from cluster.images import build as image_build
from cluster.images import registry_login
from cluster.images.registry_api import in_registry, refuse_local
from cluster.images.registry_errors import remedy_on_a_host
from cluster.images.registry_login import Access
from cluster.settings import Settings
from scripts.errors import ClusterError

CERTIFICATES = "/etc/docker/certs.d"

_RUNS_S = 60.0
_HELPER_TIMEOUT_S = 30.0
_IN_ARCHIVE = ".docker/config.json"


def pull(settings: Settings, hosts: Sequence[Host], tag: str, *, timeout_s: float, dry_run: bool, say: Say) -> ImageRef:
    """Pull an image to all hosts and return its name by content; no host is asked where the registry lacks it."""
    ref, architectures = in_registry(ImageRef.parse(tag, settings.images))
    doing = f"pull {tag}"
    login = registry_login.auth_config(ref.registry)

    def act(remote: Remote, show: Show) -> str:
        if why := mismatch(remote, architectures):
            raise ClusterError(f"{remote.name}: {ref} {why}: build it on a machine like this host, or leave it out")
        with engine_errors(remote, f"look for {ref}"), suppress(ImageNotFound):
            remote.engine().images.get(str(ref))
            return "has it already"
        if dry_run:
            return f"would pull {ref}"
        with engine_errors(remote, f"pull {ref}"):
            try:
                return f"pulled {pulls.pull(remote.engine(), str(ref), login, show=show) / 1e6:,.0f} MB"
            except pulls.NotPulled as error:
                raise ClusterError(f"pull {ref}: {explained(ref.registry, str(error))}") from error

    outcomes = on_all_hosts(settings, hosts, act, doing=doing, timeout_s=timeout_s, say=say, describe=str)
    values(outcomes, doing, say)
    return ref


def mismatch(remote: Remote, architectures: Collection[str]) -> str:
    """Return why a host cannot run an image of these architectures; "" if it can, or nobody knows."""
    with engine_errors(remote, "ask the Docker Engine"):
        machine = str(remote.engine().version().get("Arch", ""))
    if not image_build.mismatch(architectures, machine, ()):
        return ""
    emulators = remote.run(f"LC_ALL=C ls {image_build.EMULATORS}").out.decode(errors="replace").split()
    return image_build.mismatch(architectures, machine, emulators)


def refuse_foreign(
    settings: Settings, hosts: Sequence[Host], image: str, architectures: Collection[str], say: Say
) -> None:
    """Refuse an image that none of the hosts can run, and say which cannot; hosts out of reach do not count."""
    outcomes = on_all_hosts(
        settings, hosts, lambda remote, show: mismatch(remote, architectures), doing="ask the agents what they run",
        timeout_s=_RUNS_S, say=lambda line: None, describe=lambda why: "cannot run it" if why else "runs it",
    )  # fmt: skip
    foreign = {str(one.host): one.value for one in outcomes if one.value}
    if foreign and not any(one.value == "" for one in outcomes):
        raise ClusterError(
            f"the image {image} {next(iter(foreign.values()))}, as {', '.join(foreign)} is: build it on a machine like "
            "that"
        )
    for host, why in foreign.items():
        say(f"{host}: the image {image} {why}: keep its instances away from this host with --constraint")


def explained(registry: str, problem: str) -> str:
    """Return the engine's words, with the next step where it is known."""
    words = " ".join(problem.split())
    step = remedy_on_a_host(registry, words)
    return f"{step} ({words})" if step else words


@dataclass(frozen=True)
class Change:
    """Something to write on a host, by the name that people are told."""

    name: str
    make: Callable[[], object] = field(repr=False)


def trust(settings: Settings, hosts: Sequence[Host], *, timeout_s: float, dry_run: bool, say: Say) -> None:
    """Make every host trust the registry and log in to it; leave what is right as it is."""
    registry, doing = settings.registry, f"trust {settings.registry}"
    refuse_local(registry)
    access = registry_login.for_registry(registry)
    if access is None:
        raise ClusterError(
            f"no login is kept for {registry}: ./inv registry.up --host HOST makes one, and registry: in invoke.yaml "
            "has to name that registry"
        )

    def act(remote: Remote, show: Show) -> str:
        made = ", ".join(_make(changes(remote, registry, access), dry_run, show))
        return f"{'would write' if dry_run else 'wrote'} {made}" if made else f"trusts {registry} already"

    outcomes = on_all_hosts(settings, hosts, act, doing=doing, timeout_s=timeout_s, say=say, describe=str)
    values(outcomes, doing, say)


def _make(wanted: Iterator[Change], dry_run: bool, show: Show) -> list[str]:
    """Make the changes, or only name them; a failure says what was written before."""
    made: list[str] = []
    try:
        for change in wanted:
            show(f"{'would write' if dry_run else 'writes'} {change.name}")
            if not dry_run:
                change.make()
            made.append(change.name)
    except ClusterError as error:
        raise type(error)(f"{error}; written before: {', '.join(made) or 'nothing'}") from error
    return made


def changes(remote: Remote, registry: str, access: Access) -> Iterator[Change]:
    """Find what is missing on a host, in the order in which it is best written."""
    if access.ca:
        path = f"{CERTIFICATES}/{registry}/ca.crt"
        yield from _file(remote, path, remote.read(path, sudo=True), access.ca.read_bytes(), 0o644)
    for folder, sudo in _docker_folders(remote):
        yield from _login(remote, folder, registry, access, sudo)
    before = remote.read(LOGIN_ARCHIVE, sudo=True)
    yield from _file(remote, LOGIN_ARCHIVE, before, archive(before, registry, access))


def _file(
    remote: Remote, path: str, before: bytes | None, content: bytes, mode: int = 0o600, sudo: bool = True
) -> Iterator[Change]:
    if content != before:
        yield Change(path, partial(remote.write, path, content, mode=mode, sudo=sudo))


def _docker_folders(remote: Remote) -> Iterator[tuple[str, bool]]:
    """Yield root's .docker and the user's, and whether it takes root to write there."""
    home = 'printf %s "$HOME"'
    yield remote.step("ask for root's home", home, sudo=True).decode() + "/.docker", True
    if not remote.is_root:
        yield remote.step("ask for the user's home", home).decode() + "/.docker", False


def _login(remote: Remote, folder: str, registry: str, access: Access, sudo: bool) -> Iterator[Change]:
    path = f"{folder}/config.json"
    before = remote.read(path, sudo=sudo)
    try:
        config = parsed(before)
    except ValueError as error:
        raise ClusterError(f"{remote.name}: {path} is not what docker writes ({error}): mend or move it") from None
    if store := store_of(config, registry):
        if not _is_stored(remote, store, registry, access, sudo):
            log_in = partial(_log_in, remote, folder, store, registry, access, sudo)
            yield Change(f"the credential store {store} of {path}", log_in)
    elif (after := with_login(config, registry, access)) != config:
        yield from _file(remote, path, before, json.dumps(after, indent="\t").encode() + b"\n", sudo=sudo)


def _log_in(remote: Remote, folder: str, store: str, registry: str, access: Access, sudo: bool) -> None:
    """Let docker keep the login, as it alone can write to the store; the password travels on STDIN."""
    words = ["docker", "--config", folder, "login", "-u", access.user, "--password-stdin", registry]
    ran = remote.run(shlex.join(words), input=access.password.encode(), sudo=sudo)
    if ran.code:
        raise ClusterError(f"{remote.name}: docker login with the store {store}: {ran.reason}")


def _is_stored(remote: Remote, store: str, registry: str, access: Access, sudo: bool) -> bool:
    """Tell whether the credential store there has this login already."""
    helper = shlex.quote(f"docker-credential-{store}")
    ran = remote.run(f"{helper} get", input=registry.encode(), sudo=sudo, timeout_s=_HELPER_TIMEOUT_S)
    try:
        kept = parsed(ran.out)
    except ValueError:
        return False
    return not ran.code and (kept.get("Username"), kept.get("Secret")) == (access.user, access.password)


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
