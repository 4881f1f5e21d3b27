"""RabbitMQ's management API, for what AMQP does not tell: how many messages other consumers have in hand."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlsplit

from scripts.errors import ClusterError, ServiceAway

DEFAULT_PORT = 15672

_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Management:
    """Where the API is, and who asks; blocks, so it is asked in a thread."""

    url: str
    user: str
    password: str
    virtual_host: str

    def messages(self, queue: str) -> tuple[int, int] | None:
        """Messages of a queue that are ready and that are unacknowledged; None when there is no such queue.

        RabbitMQ renews these numbers every five seconds.

        Raises:
            ServiceAway: the API does not answer.
            ClusterError: it refuses, or its answer makes no sense.
        """
        status, body = self._get(f"/api/queues/{quote(self.virtual_host, safe='')}/{quote(queue, safe='')}")
        if status == 404:
            return None
        if status != 200:
            raise ClusterError(f"the management API at {self.url} answers with status {status}")
        try:
            queue_now = json.loads(body)
        except ValueError as error:
            raise ClusterError(f"the management API at {self.url} does not answer in JSON") from error
        return int(queue_now.get("messages_ready") or 0), int(queue_now.get("messages_unacknowledged") or 0)

    def _get(self, path: str) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
        token = b64encode(f"{self.user}:{self.password}".encode()).decode()
        try:
            connection.request("GET", parts.path.rstrip("/") + path, headers={"Authorization": f"Basic {token}"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException) as error:
            raise ServiceAway(f"no management API at {self.url}: {error}") from error
        finally:
            connection.close()


def management_of(parameters: Any, url: str | None) -> Management:
    """The API of the broker with these connection parameters: at `url`, else on its host at the usual port."""
    host = f"[{parameters.host}]" if ":" in parameters.host else parameters.host
    credentials = parameters.credentials
    return Management(
        url or f"http://{host}:{DEFAULT_PORT}", credentials.username, credentials.password, parameters.virtual_host
    )
