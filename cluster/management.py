"""What RabbitMQ's management API says of the queues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

from scripts.errors import ClusterError, ServiceAway

TIMEOUT_S = 10


@dataclass(frozen=True)
class QueueCount:
    """How many messages of a queue wait and are being worked on, and how many consumers it has.

    The broker refreshes these figures every 5 seconds.
    """

    name: str
    ready: int
    unacknowledged: int
    consumers: int

    @property
    def messages(self) -> int:
        """All that is in the queue."""
        return self.ready + self.unacknowledged


def queues(url: str, user: str = "guest", password: str = "guest", vhost: str = "/") -> list[QueueCount]:
    """All queues of a virtual host, by name.

    Raises:
        ServiceAway: the API does not answer.
        ClusterError: it refuses.
    """
    try:
        answer = requests.get(f"{url}/api/queues/{quote(vhost, safe='')}", auth=(user, password), timeout=TIMEOUT_S)
    except requests.RequestException as error:
        raise ServiceAway(f"no management API of RabbitMQ at {url}: is the queue running? (`./inv status`)") from error
    if answer.status_code != 200:
        raise ClusterError(f"RabbitMQ's management API at {url} refused: {answer.status_code} {answer.reason}")
    return sorted((_count(queue) for queue in answer.json()), key=lambda queue: queue.name)


def _count(queue: dict[str, Any]) -> QueueCount:
    # A queue that was just made has no figures yet.
    return QueueCount(
        queue["name"],
        int(queue.get("messages_ready", 0)),
        int(queue.get("messages_unacknowledged", 0)),
        int(queue.get("consumers", 0)),
    )
