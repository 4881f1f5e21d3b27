"""Trust of the hosts in the registry: its CA and login, put where Docker and Mesos look for them.

/etc/docker/certs.d/REGISTRY/ca.crt    the CA, for the Docker Engine, which reads it for each pull
~/.docker/config.json                  the login, for root and for the SSH user; what else is there stays
/etc/cluster/docker.tar.gz             the login for Mesos, which unpacks it beside each task (root alone may read it):
                                       "fetch": [{"uri": "file:///etc/cluster/docker.tar.gz"}]
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cluster.hosts.all_hosts import Say, Show, on_all_hosts, values
from cluster.hosts.files import LOGIN_ARCHIVE
from cluster.hosts.host import Host
from cluster.hosts.remote import Remote
from cluster.images import registry_login
from cluster.images.registry_api import refuse_local
from cluster.images.registry_login import Access
from cluster.operations.agents.docker_logins import archive, parsed, store_of, with_login
from cluster.settings import Settings
from scripts.errors import ClusterError

CERTIFICATES = "/etc/docker/certs.d"

_HELPER_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class FileChange:
    """A file to write, as root or as the SSH user."""

    path: str
    content: bytes = field(repr=False)
    mode: int
    sudo: bool

    def make(self, remote: Remote) -> None:
        """Write the file."""
        remote.write(self.path, self.content, mode=self.mode, sudo=self.sudo)

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class LoginChange:
    """A login for the credential store that a docker configuration names; only docker can write to it."""

    folder: str
    store: str
    registry: str
    access: Access
    sudo: bool

    def make(self, remote: Remote) -> None:
        """Let docker keep it; the password travels on STDIN."""
        words = ["docker", "--config", self.folder, "login", "-u", self.access.user, "--password-stdin", self.registry]
        ran = remote.run(shlex.join(words), input=self.access.password.encode(), sudo=self.sudo)
        if ran.code:
            raise ClusterError(f"{remote.name}: docker login with the store {self.store}: {ran.reason}")

    def __str__(self) -> str:
        return f"the credential store {self.store} of {self.folder}/config.json"


Change = FileChange | LoginChange


def trust(settings: Settings, hosts: Sequence[Host], *, timeout_s: float, dry_run: bool, say: Say) -> None:
    """Make every host trust the registry and log in to it; leave what is right as it is.

    Raises:
        ClusterError: no login is kept for the registry, or hosts failed.
    """
    registry = settings.registry
    access = login_of(registry)
    doing = f"trust {registry}"

    def act(remote: Remote, show: Show) -> str:
        made = ", ".join(_make(remote, changes(remote, registry, access), dry_run, show))
        return f"{'would write' if dry_run else 'wrote'} {made}" if made else f"trusts {registry} already"

    outcomes = on_all_hosts(settings, hosts, act, doing=doing, timeout_s=timeout_s, say=say, describe=str)
    values(outcomes, doing, say)


def _make(remote: Remote, wanted: Iterator[Change], dry_run: bool, show: Show) -> list[str]:
    """Make the changes, or only name them; a failure says what was written before."""
    made: list[str] = []
    try:
        for change in wanted:
            show(f"{'would write' if dry_run else 'writes'} {change}")
            if not dry_run:
                change.make(remote)
            made.append(str(change))
    except ClusterError as error:
        raise type(error)(f"{error}; written before: {', '.join(made) or 'nothing'}") from error
    return made


def login_of(registry: str) -> Access:
    """Return the login to hand to the hosts.

    Raises:
        ClusterError: there is none, or no other machine can reach this registry.
    """
    refuse_local(registry)
    access = registry_login.for_registry(registry)
    if access is None:
        raise ClusterError(
            f"no login is kept for {registry}: ./inv registry.up --host HOST makes one, and registry: in invoke.yaml "
            "has to name that registry"
        )
    return access


def changes(remote: Remote, registry: str, access: Access) -> Iterator[Change]:
    """Find what is missing on a host, in the order in which it is best written."""
    if access.ca:
        yield from _file(remote, f"{CERTIFICATES}/{registry}/ca.crt", access.ca.read_bytes(), 0o644)
    for folder, sudo in _docker_folders(remote):
        yield from _login(remote, folder, registry, access, sudo)
    yield from _file(remote, LOGIN_ARCHIVE, archive(remote.read(LOGIN_ARCHIVE), registry, access), 0o600)


def _file(remote: Remote, path: str, content: bytes, mode: int) -> Iterator[FileChange]:
    if remote.read(path) != content:
        yield FileChange(path, content, mode, sudo=True)


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
    store = store_of(config, registry)
    if store:
        if not _stored(remote, store, registry, access, sudo):
            yield LoginChange(folder, store, registry, access, sudo)
        return
    after = with_login(config, registry, access)
    if after != config:
        yield FileChange(path, json.dumps(after, indent="\t").encode() + b"\n", 0o600, sudo)


def _stored(remote: Remote, store: str, registry: str, access: Access, sudo: bool) -> bool:
    """Tell whether the credential store there has this login already."""
    helper = shlex.quote(f"docker-credential-{store}")
    ran = remote.run(f"{helper} get", input=registry.encode(), sudo=sudo, timeout_s=_HELPER_TIMEOUT_S)
    try:
        kept = parsed(ran.out)
    except ValueError:
        return False
    return not ran.code and (kept.get("Username"), kept.get("Secret")) == (access.user, access.password)
