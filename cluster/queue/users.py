"""The users of a cluster's queue: who was made by an earlier deploy is removed, who was made by people stays."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from cluster.queue.login import MADE_BY_DEPLOY
from scripts.amqp.management import Management


def remove_earlier(management: Management) -> list[str]:
    """Remove all users that deploys have made, except the one who asks; their names. Their connections end.

    RabbitMQ takes in the user of each deploy when it starts, and forgets none by itself.

    Raises:
        ServiceAway: the API does not answer.
        ClusterError: it refuses.
    """
    users = json.loads(_ask(management, "GET", ""))
    earlier = [user["name"] for user in users if _is_ours(user) and user["name"] != management.user]
    for name in earlier:
        _ask(management, "DELETE", f"/{quote(name, safe='')}")
    return earlier


def _is_ours(user: dict[str, Any]) -> bool:
    tags = user.get("tags") or []
    return MADE_BY_DEPLOY in (tags if isinstance(tags, list) else tags.split(","))  # text before RabbitMQ 3.9


def _ask(management: Management, method: str, path: str) -> bytes:
    status, body = management.ask(method, f"/api/users{path}")
    if status >= 300:
        raise management.refused(status)
    return body
