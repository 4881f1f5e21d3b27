"""The Docker Engines of the agent hosts, over SSH, for what Marathon does not know of its tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import docker

from cluster.hosts import ssh
from cluster.hosts.host import Host, chosen
from cluster.schedulers.marathon.agents import Engines
from cluster.settings import Settings
from scripts.errors import ClusterError

_AT_ONCE = 32


def of(settings: Settings, say: Callable[[str], None]) -> Engines | None:
    """Opens the engines of the hosts in invoke.yaml; None where it names none."""
    if not settings.agents.hosts and not settings.agents.hosts_file:
        return None
    return lambda: _opened(settings, chosen(settings), say)


@contextmanager
def _opened(
    settings: Settings, hosts: Sequence[Host], say: Callable[[str], None]
) -> Iterator[list[docker.DockerClient]]:  # fmt: skip
    """All that can be reached; a host that cannot is said and hides no other.

    Raises:
        ClusterError: none can be reached.
    """

    def open_one(host: Host) -> docker.DockerClient | ClusterError:
        try:
            return opened.enter_context(ssh.connected(settings, host)).engine()
        except ClusterError as error:
            return error

    with ExitStack() as opened:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(open_one, hosts))
        errors = [str(one) for one in found if isinstance(one, ClusterError)]
        for error in errors:
            say(f"left out: {error}")
        if len(errors) == len(found):
            raise ClusterError(f"none of the agent hosts can be reached: {'; '.join(errors)}")
        yield [one for one in found if not isinstance(one, ClusterError)]
