"""The agent hosts, all at once over SSH: look at them, let them trust the registry, bring images, run commands."""

from __future__ import annotations

from typing import Any

from commands.output import result, results, say, settings_of
from commands.task import task
from scripts.hostport import HostPort

HELP = {
    "hosts": "the hosts, a,b,c, each as you would say it to ssh (default: agents.hosts in invoke.yaml)",
    "hosts_file": "a file with the hosts, one a line (default: agents.hosts_file in invoke.yaml)",
    "timeout": "how many seconds a host may take",
    "registry": "the registry, HOST:PORT (default: registry in invoke.yaml)",
    "json": "print JSON",
    "dry_run": "say what would be done on each host, change nothing",
}
HOSTS = ("hosts", "hosts_file", "timeout")


def _help(*names: str, **own: str) -> dict[str, str]:
    return {name: HELP[name] for name in (*HOSTS, *names)} | own


def _services(url: str, marathon: str) -> dict[str, list[HostPort]]:
    """Read the addresses of what the hosts have to reach, by the name that a check calls it."""
    from urllib.parse import urlsplit

    from scripts.amqp import broker
    from scripts.marathon import access

    queue = [broker.address(url)] if url else []
    urls = access.addresses(marathon) if marathon else []
    found = {"queue": queue, "marathon": [HostPort.parse(urlsplit(each).netloc) for each in urls]}
    return {name: addresses for name, addresses in found.items() if addresses}


@task(
    needs=("command",), help=_help("json", "dry_run", command="what /bin/sh runs on each host", sudo="run it as root")
)
def run(
    c: Any, command: str = "", hosts: str = "", hosts_file: str = "", sudo: bool = False, timeout: float = 600.0,
    json: bool = False, dry_run: bool = False,
) -> None:  # fmt: skip
    """Run a command on the agent hosts; exit code 1 when it failed on one."""
    from cluster.hosts.host import chosen
    from cluster.operations.agents import command as running

    settings = settings_of(c.config)
    running.run(
        settings, chosen(settings, hosts, hosts_file), command, sudo=sudo, timeout_s=timeout, as_json=json,
        dry_run=dry_run, say=say, result=result,
    )  # fmt: skip


@task(
    help=_help(
        "json", "registry", url="the queue that they have to reach, amqp://HOST:PORT",
        marathon="Marathon, which they have to reach, HOST:PORT[,HOST:PORT]",
    )
)  # fmt: skip
def check(
    c: Any, hosts: str = "", hosts_file: str = "", url: str = "", marathon: str = "", registry: str = "",
    timeout: float = 60.0, json: bool = False,
) -> None:  # fmt: skip
    """Ask the agent hosts whether they can do their work, and say what to do where not; exit code 1 then."""
    from cluster.hosts.host import chosen
    from cluster.operations.agents import check as checking
    from cluster.schedulers import selection

    settings = settings_of(c.config, registry)
    engine = selection.connect(settings, selection.chosen(settings, marathon=marathon), say) if marathon else None
    asked = checking.request(settings, _services(url, marathon), engine)
    rows = checking.check(settings, chosen(settings, hosts, hosts_file), asked, timeout, say)
    # A table has colors on a terminal: its cells are visible already.
    results([checking.as_json(rows) if json else checking.as_table(rows)])
    checking.refuse_red(rows)


@task(help=_help("registry", "dry_run"))
def trust(
    c: Any, hosts: str = "", hosts_file: str = "", registry: str = "", timeout: float = 120.0, dry_run: bool = False
) -> None:
    """Let the agent hosts trust the private registry and log in to it; keeps what is there."""
    from cluster.hosts.host import chosen
    from cluster.operations.agents import images

    settings = settings_of(c.config, registry)
    images.trust(settings, chosen(settings, hosts, hosts_file), timeout_s=timeout, dry_run=dry_run, say=say)


@task(help=_help("registry", "dry_run", tag="image name and tag, such as worker:v1 (default: worker.tag)"))
def pull(
    c: Any, tag: str = "", hosts: str = "", hosts_file: str = "", registry: str = "", timeout: float = 1800.0,
    dry_run: bool = False,
) -> None:  # fmt: skip
    """Pull an image to the agent hosts before it is needed; prints its name by content."""
    from cluster.hosts.host import chosen
    from cluster.operations.agents import images

    settings = settings_of(c.config, registry)
    there = chosen(settings, hosts, hosts_file)
    result(str(images.pull(settings, there, tag or settings.worker.tag, timeout_s=timeout, dry_run=dry_run, say=say)))
