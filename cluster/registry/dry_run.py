"""What setting up a registry on a host would do, nothing secret in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from cluster import engine
from cluster.hosts import ssh
from cluster.hosts.engine_errors import engine_errors
from cluster.hosts.host import Host
from cluster.hosts.remote import Remote
from cluster.images import build as image_build
from cluster.images import transfer
from cluster.registry import authority, plan
from cluster.registry.host import Say, look, refuse_anothers
from cluster.registry.local import IMAGE
from cluster.schedulers import selection
from cluster.settings import Settings


def dry_run(settings: Settings, host: str, given_address: str, say: Say) -> str:
    """What `up` would do now, as JSON; changes nothing, neither there nor here. Raises as `up`."""
    now = datetime.now(UTC)
    with ssh.connected(settings, Host.parse(host)) as remote:
        found, ca = look(remote), authority.kept(settings.project, now)
        plan.refuse_other_authority(found, ca, remote.name)
        where = plan.address(settings, remote.address, given_address)
        made = plan.for_host(where, found, ca or authority.new(settings.project, now), now)
        change = selection.on_host(settings, remote, say).plan(made.app)
        refuse_anothers(made)
        told: dict[str, Any] = {
            "host": remote.name,
            "address": where,
            "ca": str(made.ca.file) if ca else f"new: {made.ca.file}",
            "image": {"name": str(IMAGE), "send": _would_send(remote)},
            "files": {path: made.news.get(path, "stays") for path in made.files},
            "container": {"change": change.kind, "sent": change.sent},
        }
    return json.dumps(told, indent=2)


def _would_send(remote: Remote) -> bool:
    here = engine.connect()
    if image_build.local_image(here, IMAGE) is None:
        return True
    with engine_errors(remote, f"look for {IMAGE}"):
        return not transfer.is_there(here, remote.engine(), IMAGE)
