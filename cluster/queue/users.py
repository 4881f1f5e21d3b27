"""The users of a cluster's queue: those of earlier deploys are removed, those that people made stay."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from cluster.queue.login import MADE_BY_DEPLOY
from scripts.amqp.management import Management


def remove_earlier(management: Management) -> list[str]:
    """Remove all users that deploys have made, except the one who asks; return their names. Their connections end.

    RabbitMQ takes in the user of each deploy when it starts, and forgets none by itself.

    Raises:
        ServiceAway: the API does not answer.
        ClusterError: it refuses.
    """
    users = management.read("/api/users")
    earlier = [user["name"] for user in users if _is_ours(user) and user["name"] != management.user]
    for name in earlier:
        management.change("DELETE", f"/api/users/{quote(name, safe='')}")
    return earlier


def _is_ours(user: dict[str, Any]) -> bool:
    tags = user.get("tags") or []
    return MADE_BY_DEPLOY in (tags if isinstance(tags, list) else tags.split(","))  # text before RabbitMQ 3.9
