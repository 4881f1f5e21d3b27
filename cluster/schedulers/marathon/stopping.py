"""After an app was deleted: Marathon answers before its instances have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from cluster.schedulers import waiting
from cluster.schedulers.marathon import following
from cluster.schedulers.marathon.api import Accepted, Api
from scripts.errors import ClusterError

# From the end of a task's grace until Marathon has heard of its end.
_AFTER_GRACE_S = 30


def wait_until_gone(
    api: Api, app: Mapping[str, Any], accepted: Accepted, task_ids: Collection[str], say: Callable[[str], None]
) -> None:  # fmt: skip
    """Wait until the deployment is over that ends the tasks: Marathon lists the tasks of a deleted app no longer.

    Raises:
        ClusterError: they take longer than they were promised.
    """
    grace_s = int(app.get("taskKillGracePeriodSeconds") or 0)
    begun, is_told = time.monotonic(), False
    while any(each.get("id") == accepted.deployment for each in api.deployments()):
        waited_s = time.monotonic() - begun
        if waited_s > waiting.SILENCE_S and not is_told:
            say(f"waiting for {', '.join(sorted(task_ids))} to finish, {grace_s} s at most (--now does not wait)")
            is_told = True
        if waited_s > grace_s + _AFTER_GRACE_S:
            raise ClusterError(f"stop {app.get('id')}: deleted, but Marathon still waits for its instances to end")
        time.sleep(following.POLL_S)
