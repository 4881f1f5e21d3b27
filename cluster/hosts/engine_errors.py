"""The errors of a host's Docker Engine in one line, and the programs that listen there, so that one can name them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from requests import exceptions
from urllib3.exceptions import ProtocolError

from cluster.engine.errors import ENGINE_ERRORS, explained, is_silence
from cluster.engine.ports import published
from cluster.hosts.remote import Remote
from scripts.errors import ServiceAway

_BROKEN = (exceptions.ConnectionError, exceptions.ChunkedEncodingError, ProtocolError)
_LISTENS = "0A"  # the state in /proc/net/tcp
_PROGRAM = re.compile(r'users:\(\("([^"]+)",pid=(\d+)')


@contextmanager
def engine_errors(remote: Remote, doing: str) -> Iterator[None]:
    """Turn what the SDK raises about a host's engine into one-line errors that begin with the host and `doing`."""

    def data_folder() -> str:
        with suppress(KeyError, *ENGINE_ERRORS):
            return str(remote.engine().info()["DockerRootDir"])
        return ""

    try:
        yield
    except ENGINE_ERRORS as error:
        if isinstance(error, _BROKEN) and not is_silence(error):
            raise ServiceAway(
                f"{remote.name}: {doing}: the connection to its Docker Engine broke in the middle: is the host up? "
                "run this again, it goes on from what is there"
            ) from error
        holder = partial(listener, remote)
        raise explained(f"{remote.name}: {doing}", error, holder, data_folder, remote.name) from error


def listener(remote: Remote, port: int, containers: Iterable[Any] = ()) -> str:
    """Name who listens on a port: `the container NAME`, `PROGRAM (process 123)`; "" for nobody.

    `containers` are the SDK's; one that publishes the port is named before the program that does it for the engine.
    """
    holder = next((one for one in containers if port in published(one)), None)
    if holder is not None:
        return f"the container {holder.name}"
    sockets = remote.run("cat /proc/net/tcp /proc/net/tcp6 2>/dev/null").out.decode()
    if port not in ports_of(sockets):
        return ""
    found = _PROGRAM.search(remote.run(f"ss -Hltnp 'sport = :{port}'", sudo=True).out.decode(errors="replace"))
    return f"{found[1]} (process {found[2]})" if found else "another program"


def ports_of(sockets: str) -> set[int]:
    """Return the ports that /proc/net/tcp says are listened on."""
    rows = (line.split() for line in sockets.splitlines())
    return {int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == _LISTENS}
