"""Who listens on a TCP port of a host, so that an error can name them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from cluster.hosts.remote import Remote

_LISTENS = "0A"  # the state in /proc/net/tcp
_PROGRAM = re.compile(r'users:\(\("([^"]+)",pid=(\d+)')


def listener(remote: Remote, port: int, containers: Iterable[Any]) -> str:
    """The listener in words: `the container NAME`, `PROGRAM (process 123)`; "" when there is none.

    `containers` are the SDK's; one that publishes the port is named before the program that does it for the engine.
    """
    holder = next((one for one in containers if port in _published(one)), None)
    if holder is not None:
        return f"the container {holder.name}"
    sockets = remote.run("cat /proc/net/tcp /proc/net/tcp6 2>/dev/null").out.decode()
    if port not in ports_of(sockets):
        return ""
    found = _PROGRAM.search(remote.run(f"ss -Hltnp 'sport = :{port}'", sudo=True).out.decode(errors="replace"))
    return f"{found[1]} (process {found[2]})" if found else "another program"


def ports_of(sockets: str) -> set[int]:
    """The ports that /proc/net/tcp says are listened on."""
    rows = (line.split() for line in sockets.splitlines())
    return {int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == _LISTENS}


def _published(container: Any) -> set[int]:
    return {int(binding["HostPort"]) for bound in container.ports.values() for binding in bound or ()}
