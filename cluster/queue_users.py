"""The users of a cluster's queue: who was made by an earlier deploy is removed, who was made by people stays."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import requests

from cluster.queue_login import MADE_BY_DEPLOY
from scripts.amqp.management import Management
from scripts.errors import ClusterError, ServiceAway

_TIMEOUT_S = 10


def remove_earlier(management: Management) -> list[str]:
    """Remove all users that deploys have made, except the one who asks; their names. Their connections end.

    RabbitMQ takes in the user of each deploy when it starts, and forgets none by itself.

    Raises:
        ServiceAway: the API does not answer.
        ClusterError: it refuses.
    """
    users = _ask(management, "GET", "").json()
    earlier = [user["name"] for user in users if _is_ours(user) and user["name"] != management.user]
    for name in earlier:
        _ask(management, "DELETE", f"/{quote(name, safe='')}")
    return earlier


def _is_ours(user: dict[str, Any]) -> bool:
    tags = user.get("tags") or []
    return MADE_BY_DEPLOY in (tags if isinstance(tags, list) else tags.split(","))  # text before RabbitMQ 3.9


def _ask(management: Management, method: str, path: str) -> requests.Response:
    try:
        answer = requests.request(
            method, f"{management.url}/api/users{path}", auth=(management.user, management.password),
            timeout=_TIMEOUT_S,
        )  # fmt: skip
    except requests.RequestException as error:
        raise ServiceAway(f"no management API at {management.url}: {type(error).__name__}") from error
    if not answer.ok:
        raise ClusterError(f"the management API at {management.url} answers with status {answer.status_code}")
    return answer
