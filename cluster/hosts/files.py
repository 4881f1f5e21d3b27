"""Files with secrets, put over SSH on the hosts that run an app, before it is deployed."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.credentials import HostFile
from cluster.hosts import ssh_config
from cluster.hosts.all_hosts import Say, Show, on_all_hosts, values
from cluster.hosts.host import Host, chosen
from cluster.hosts.remote import Remote
from cluster.settings import Settings
from scripts.errors import ClusterError

# The registry's login for Mesos, which unpacks it beside each task.
LOGIN_ARCHIVE = "/etc/cluster/docker.tar.gz"

_MODE = 0o400  # for the plain user of the image that mounts them
_HOST_S = 60.0


def put(settings: Settings, hosts: Sequence[Host], files: Sequence[HostFile], doing: str, say: Say) -> None:
    """Put the files on all hosts; what is there just so stays.

    Raises:
        ClusterError: a host failed; the others have the files.
    """

    def act(remote: Remote, show: Show) -> bool:
        show("writes")
        new = [remote.write(file.path, file.content, mode=_MODE, owner=_owner(file)) for file in files]
        return any(new)

    outcomes = on_all_hosts(
        settings, hosts, act, doing=doing, timeout_s=_HOST_S, say=lambda line: None, describe=lambda new: "put"
    )  # fmt: skip
    new = sum(values(outcomes, doing, say))
    if new:
        say(f"{doing}: done on {new} of {len(hosts)} hosts")


def agents(settings: Settings) -> list[Host]:
    """The hosts that may run workers.

    Raises:
        ClusterError: nobody says which.
    """
    if not settings.agents.hosts and not settings.agents.hosts_file:
        raise ClusterError(
            "the workers' password has to be on every agent: name the hosts in agents.hosts of invoke.yaml, to be "
            "reached over SSH; or open the queue to everyone with `./inv queue.deploy --guest`"
        )
    return chosen(settings)


def host_of(settings: Settings, agent: str) -> Host:
    """What ssh calls the host that Marathon calls `agent`: one of agents.hosts of this name or address, else as is."""
    if settings.agents.hosts or settings.agents.hosts_file:
        for host in chosen(settings):
            if agent in (host.name, ssh_config.way_to(settings.agents.ssh_config, host).hostname):
                return host
    return Host.parse(agent)


def _owner(file: HostFile) -> str:
    return f"{file.owner}:{file.owner}"
