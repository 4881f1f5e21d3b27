"""Files with secrets on the hosts that run an app, put there over SSH before it is deployed."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.credentials import SecretFile
from cluster.hosts import ssh_config
from cluster.hosts.all_hosts import Say, Show, on_all_hosts, values
from cluster.hosts.host import Host, of_settings
from cluster.hosts.remote import Remote
from cluster.settings import Settings
from scripts.errors import ClusterError

# The registry's login for Mesos, which unpacks it beside each task.
LOGIN_ARCHIVE = "/etc/cluster/docker.tar.gz"

_MODE = 0o400  # for the plain user of the image that mounts them
_HOST_S = 60.0


def put(settings: Settings, hosts: Sequence[Host], files: Sequence[SecretFile], doing: str, say: Say) -> None:
    """Put the files on all hosts; leave those that are the same already. A host that fails stops no other."""

    def act(remote: Remote, show: Show) -> bool:
        show("writes")
        new = [
            remote.write(
                file.path_on_hosts(settings.project),
                file.content,
                mode=_MODE,
                owner=f"{file.owner}:{file.owner}",
                sudo=True,
            )
            for file in files
        ]
        return any(new)

    outcomes = on_all_hosts(
        settings, hosts, act, doing=doing, timeout_s=_HOST_S, say=lambda line: None, describe=lambda new: "put"
    )  # fmt: skip
    new = sum(values(outcomes, doing, say))
    if new:
        say(f"{doing}: done on {new} of {len(hosts)} hosts")


def agents(settings: Settings) -> list[Host]:
    """Return the hosts that may run workers; refuses settings that name none."""
    if hosts := of_settings(settings):
        return hosts
    raise ClusterError(
        "the workers' password has to be on every agent: name the hosts in agents.hosts of invoke.yaml, to be "
        "reached over SSH; or open the queue to everyone with `./inv queue.deploy --guest`"
    )


def host_of(settings: Settings, agent: str) -> Host:
    """Return the host whose name or address the engine gives as `agent`: one of agents.hosts, else the name itself."""
    for host in of_settings(settings):
        if agent in (host.name, ssh_config.way_to(settings.agents.ssh_config, host).hostname):
            return host
    return Host.parse(agent)
