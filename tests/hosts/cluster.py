"""All hosts of a run."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from os import environ
from pathlib import Path
from typing import Any, NoReturn

from docker.errors import APIError

from cluster.images import base_image
from cluster.images import build as image_build
from cluster.settings import Settings
from tests.hosts import access
from tests.hosts.access import Key
from tests.hosts.host import TestHost
from tests.hosts.network import IMAGE, address, gateway, make_network, remove_control_groups, remove_leftovers

AGENTS = 3


class Hosts:
    """Three agent hosts, a registry host and a jump host; each starts when a test first asks for it.

    A test that breaks one mends it: the others find the hosts as they are.
    """

    def __init__(self, client: Any, folder: Path, missing: Callable[[str], NoReturn]) -> None:
        self._client, self._missing, self.folder = client, missing, folder
        self.name = f"test-hosts-{secrets.token_hex(4)}"
        self._network = make_network(client, self.name)
        self.gateway = gateway(self._network)  # this machine, as the hosts see it
        client_key = Key()
        self.identity = access.write_private(folder / "id_ed25519", client_key)
        names = [*(f"agent{number}" for number in range(1, AGENTS + 1)), "registry1", "jump"]
        self.all = [
            TestHost(client, self._network, name, address(self._network, number), client_key, name != "jump")
            for number, name in enumerate(names, start=1)
        ]
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.write_text(access.known_hosts((host.name, host.ip, host.key) for host in self.all))
        self.ssh_config = self.write_ssh_config(folder / "ssh_config")

    @property
    def agents(self) -> list[TestHost]:
        """The agent hosts: all are up."""
        return self._up(self.all[:AGENTS])

    @property
    def agent(self) -> TestHost:
        """The first agent host, for a test that needs no more."""
        return self._up(self.all[:1])[0]

    @property
    def registry(self) -> TestHost:
        """The host for a registry."""
        return self._up([self.all[AGENTS]])[0]

    @property
    def jump(self) -> TestHost:
        """The host that `inner-1` to `inner-3` of the ssh configuration go through: agent1 to agent3 from within."""
        return self._up([self.all[-1]])[0]

    def settings(self, settings: Settings, **agents: Any) -> Settings:
        """The same settings with the way to these hosts, and with further ones of the agents."""
        return replace(settings, agents=replace(settings.agents, ssh_config=str(self.ssh_config), **agents))

    def write_ssh_config(self, path: Path, *, identity: Path | None = None, known_hosts: Path | None = None) -> Path:
        """An ssh configuration that knows the hosts; with another key or other known_hosts than the right ones."""
        addresses = {host.name: host.ip for host in self.all}
        inner = {f"inner-{number}": host.ip for number, host in enumerate(self.all[:AGENTS], start=1)}
        path.write_text(access.ssh_config(addresses, inner, identity or self.identity, known_hosts or self.known_hosts))
        return path

    def remove(self) -> None:
        """End all hosts and take away what they had."""
        with ThreadPoolExecutor() as threads:
            ends = [threads.submit(host.remove) for host in self.all]
        self._network.remove()
        for end in ends:
            end.result()
        remove_control_groups(self._client, f"{self.name}-")

    def _up(self, hosts: list[TestHost]) -> list[TestHost]:
        try:
            with ThreadPoolExecutor() as threads:
                list(threads.map(TestHost.wait, [host for host in hosts if not host.was_up]))
        except (APIError, TimeoutError) as error:
            self._missing(f"this machine runs no hosts in containers: {error}")
        return hosts


@contextmanager
def running_hosts(client: Any, folder: Path, missing: Callable[[str], NoReturn]) -> Iterator[Hosts]:
    """Hosts, removed in the end; `missing` is told why there are none."""
    remove_leftovers(client)
    build(client, IMAGE, Path(__file__).parent / "image")
    hosts = Hosts(client, folder, missing)
    try:
        yield hosts
    finally:
        hosts.remove()


def build(client: Any, image: str, folder: Path) -> None:
    """Build the image that hosts run from the folder of its Dockerfile."""
    base_image.ensure_base(client, print)
    events = client.api.build(
        path=str(folder), tag=image, rm=True, forcerm=True, decode=True,
        buildargs=image_build.proxies(environ), use_config_proxy=True,
    )  # fmt: skip
    image_build.follow(f"build {image}", events, print, lambda _: None)
