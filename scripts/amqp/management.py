"""RabbitMQ's management API, for what AMQP does not tell, such as the messages that other consumers have in hand."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import closing
from dataclasses import dataclass, field, fields
from socket import create_connection
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from scripts.address_file import address_in
from scripts.errors import ClusterError, ServiceAway
from scripts.hostport import HostPort

if TYPE_CHECKING:
    from http.client import HTTPConnection

DEFAULT_PORT = 15672
TLS_PORT = 15671

_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class QueueCount:
    """The messages of a queue that wait and are in hand, and its consumers; None is not known.

    `rate_in`: messages a second that were published to it in the last seconds.
    `kind` is the broker's word for what it is: quorum, classic, stream; `exclusive`: it belongs to one connection.
    """

    name: str
    ready: int | None
    unacknowledged: int | None
    consumers: int | None
    rate_in: float | None = field(default=None, kw_only=True)
    kind: str = field(default="", kw_only=True)
    exclusive: bool = field(default=False, kw_only=True)

    @property
    def messages(self) -> int | None:
        """Number of all that is in the queue."""
        return None if self.ready is None or self.unacknowledged is None else self.ready + self.unacknowledged


@dataclass(frozen=True)
class QueueFigures(QueueCount):
    """The figures of one queue, and which moments they are of.

    `all_at_once`: all messages of a quorum queue, also those on their way to another queue, in the same moment in which
    the consumers were counted. The other figures may be of different moments, five seconds apart.
    """

    is_quorum: bool
    all_at_once: int | None


@dataclass(frozen=True)
class Node:
    """A node of the broker: the bytes that its disk has left, where that is known, and what it is short of."""

    name: str
    disk_free: int | None
    disk_free_limit: int | None
    disk_free_alarm: bool
    mem_alarm: bool


@dataclass(frozen=True)
class Management:
    """The API at an address, asked as a user; blocks, so a worker asks it in a thread.

    `tls` are pika's options of an AMQP connection with TLS: an https address is asked with the same CA, client
    certificate and server name; without them the system's CAs count.

    Its numbers are up to ten seconds old: a quorum queue tells its own every five, and the API asks every five. Every
    question raises ServiceAway when the API does not answer, ClusterError when it refuses or makes no sense.
    """

    url: str
    user: str
    password: str
    virtual_host: str
    tls: Any = field(default=None, repr=False)

    def queue(self, name: str) -> QueueFigures | None:
        """Return one queue, which has no figures in the first ten seconds of its life; None when it is not there."""
        found = self.read(self.place("queues", name), absent=404)
        if found is None:
            return None
        counted = _count(found)
        is_quorum = counted.kind == "quorum"
        # All messages of a quorum queue are persistent; by this name it reports them together with its consumers.
        all_at_once = found.get("messages_persistent") if is_quorum else None
        return QueueFigures(**vars(counted), is_quorum=is_quorum, all_at_once=all_at_once)

    def unacknowledged(self, queue: str) -> int | None:
        """Return how many messages of a queue consumers have in hand; None when there is no such queue.

        Raises:
            ClusterError: the API has no number for this queue.
        """
        found = self.queue(queue)
        if found is not None and found.unacknowledged is None:
            raise ClusterError(f"the management API at {self.url} has no numbers for queue {queue!r}")
        return None if found is None else found.unacknowledged

    def queues(self) -> list[QueueCount]:
        """Return all queues of the virtual host, by name."""
        return sorted(map(_count, self.read(self.place("queues"))), key=lambda queue: queue.name)

    def consumers(self, queue: str) -> list[str]:
        """Return the names by which those call themselves that take from a queue, or hold messages of it; each once."""
        found = self.read(f"/api/consumers/{quote(self.virtual_host, safe='')}")
        details = [one["channel_details"] for one in found if one["queue"]["name"] == queue]
        names = [self._name_of(str(one.get("connection_name", ""))) for one in details if isinstance(one, dict)]
        return list(dict.fromkeys(names))

    def _name_of(self, connection: str) -> str:
        found = self.read(f"/api/connections/{quote(connection, safe='')}", absent=404) or {}
        return str((found.get("client_properties") or {}).get("connection_name") or f"the connection {connection}")

    def nodes(self) -> list[Node]:
        """Return the nodes that run."""
        found = self.read(f"/api/nodes?columns=running,{','.join(each.name for each in fields(Node))}")
        return [
            Node(
                str(one.get("name", "")),
                _bytes(one.get("disk_free")),
                _bytes(one.get("disk_free_limit")),
                one.get("disk_free_alarm") is True,
                one.get("mem_alarm") is True,
            )
            for one in found
            if one.get("running")
        ]

    def place(self, kind: str, name: str = "") -> str:
        """Return the path of a kind of thing (`queues`, `policies`) in the virtual host, or of one of them."""
        return f"/api/{kind}/{quote(self.virtual_host, safe='')}" + (f"/{quote(name, safe='')}" if name else "")

    def read(self, path: str, absent: int = 0) -> Any:
        """Return the answer to a GET; None for the status `absent`."""
        status, body = self._ask("GET", path)
        if status == absent:
            return None
        self._refuse(status)
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ClusterError(f"the management API at {self.url} does not answer in JSON") from error

    def change(self, method: str, path: str, content: Any = None) -> None:
        """Send a change, with `content` as JSON."""
        self._refuse(self._ask(method, path, content)[0])

    def _refuse(self, status: int) -> None:
        if not 200 <= status < 300:
            raise ClusterError(f"the management API at {self.url} answers with status {status}")

    def _ask(self, method: str, path: str, content: Any = None) -> tuple[int, bytes]:
        from http.client import HTTPException  # which takes its time, and not all who have an address ask

        body = None if content is None else json.dumps(content)
        token = b64encode(f"{self.user}:{self.password}".encode()).decode()
        try:
            with closing(self._connection()) as connection:
                prefix = urlsplit(self.url).path.rstrip("/")
                connection.request(method, prefix + path, body, {"Authorization": f"Basic {token}"})
                answer = connection.getresponse()
                return answer.status, answer.read()
        except (OSError, HTTPException) as error:
            raise ServiceAway(f"no management API at {self.url}: {error}") from error

    def _connection(self) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection

        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme != "https":
            return HTTPConnection(host, parts.port, timeout=_TIMEOUT_S)
        context = self.tls.context if self.tls else None
        connection = HTTPSConnection(host, parts.port, timeout=_TIMEOUT_S, context=context)
        if self.tls:
            # Connected here, since http.client would check the certificate against the URL's host in any case.
            raw = create_connection((host, connection.port), _TIMEOUT_S)
            connection.sock = self.tls.context.wrap_socket(raw, server_hostname=self.tls.server_hostname or host)
        return connection


def _bytes(value: Any) -> int | None:
    """Return a figure; what a node cannot find out is a word."""
    return value if isinstance(value, int) else None


def _count(queue: dict[str, Any]) -> QueueCount:
    """Read a queue; one that was just made, or whose broker was just started, has no figures yet."""
    figures = (queue.get(name) for name in ("messages_ready", "messages_unacknowledged", "consumers"))
    rate = ((queue.get("message_stats") or {}).get("publish_details") or {}).get("rate")
    rate_in = float(rate) if isinstance(rate, int | float) else None
    kind, exclusive = str(queue.get("type", "")), queue.get("exclusive") is True
    return QueueCount(str(queue.get("name", "")), *figures, rate_in=rate_in, kind=kind, exclusive=exclusive)


def url_of_api(text: str) -> str:
    """Return the URL of an API; a wrong one is not shown, since there may be a password in it.

    Raises:
        ClusterError: it is none.
    """
    try:
        parts = urlsplit(text)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and "@" not in text:
            return text
    except ValueError:
        pass
    raise ClusterError("not a URL such as http://HOST:15672, without user and password")


def locate_management(parameters: Any, given: str | None) -> Management:
    """Do as `management_of` with a URL that may be given as `@FILE`: read anew each time, which may block."""
    if not given or not given.startswith("@"):
        return management_of(parameters, given)
    try:
        return management_of(parameters, url_of_api(address_in(given)))
    except ServiceAway:
        raise
    except ClusterError as error:
        raise ClusterError(f"{given[1:]}: {error}") from error


def management_of(parameters: Any, url: str | None) -> Management:
    """Return the API of the broker with these connection parameters: at `url`, else on its host at the usual port.

    Where AMQP is TLS that is https, and never http: user and password do not cross the network in the clear.
    """
    tls, credentials = parameters.ssl_options, parameters.credentials
    scheme, port = ("https", TLS_PORT) if tls else ("http", DEFAULT_PORT)
    usual = f"{scheme}://{HostPort(parameters.host, port)}"
    return Management(url or usual, credentials.username, credentials.password, parameters.virtual_host, tls)
