"""An address, `host:port`, parsed once at the border."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from scripts.errors import ClusterError

_SHAPE = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\s:/@\[\]]+)):(?P<port>\d{1,5})")


@dataclass(frozen=True)
class HostPort:
    """A host (name, IPv4 or IPv6 address, without brackets) and a TCP port (1 to 65535)."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> HostPort:
        """Read `host:port` or `[v6]:port`."""
        if not (match := _SHAPE.fullmatch(text)):
            raise ClusterError(f"{text!r} is not an address: write it as host:port, for example 10.0.0.10:8080")
        port = int(match["port"])
        if not 1 <= port <= 65535:
            raise ClusterError(f"{text!r} is not an address: a port is a number from 1 to 65535")
        return cls(match["v6"] or match["host"], port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Tell whether a host means this machine and no other; a v6 address may have its brackets."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
