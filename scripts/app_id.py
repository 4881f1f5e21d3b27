"""The id of an app, `/amqp` or `/group/amqp`, in Marathon's grammar."""

from __future__ import annotations

import re

from scripts.errors import ClusterError

# PathId in Marathon's RAML (stringTypes.raml), absolute and without `.` and `..`.
_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_APP_ID = re.compile(rf"(?:/{_LABEL}(?:\.{_LABEL})*)+")

# The last part of addresses of Marathon's API: GET /v2/apps/x/tasks is not the app `/x/tasks`.
_RESERVED = ("restart", "tasks", "versions")


def canonical_app_id(text: str) -> str:
    """Return the id with one leading slash and no other slash too many, as Marathon itself reads it.

    Raises:
        ClusterError: Marathon has no such ids; it would answer something else, such as a whole group for `group/*`.
    """
    wanted = "/" + "/".join(part for part in text.split("/") if part)
    if not _APP_ID.fullmatch(wanted) or wanted.rpartition("/")[2] in _RESERVED:
        raise ClusterError(
            f"{text!r} is not an app id: use a-z, 0-9, - and . in parts joined by /, such as amqp or /group/amqp; "
            f"the last part is none of {', '.join(_RESERVED)}"
        )
    return wanted
