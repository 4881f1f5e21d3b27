"""The address and login of a cluster's queue: made on first use, kept in .secrets/, given to apps as secret files."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cluster import credentials
from cluster.apps.app import AppSpec
from cluster.credentials import SecretFile
from cluster.files import write_atomically
from cluster.settings import Settings
from scripts.amqp.broker import credentials as broker_credentials
from scripts.amqp.broker import parameters, redacted
from scripts.amqp.management import Management
from scripts.errors import ClusterError
from scripts.hostport import HostPort

USER = "cluster"

# In the environment of an app, so that another password is another definition, and people know which login it has.
LOGIN_ID = "CLUSTER_LOGIN_ID"

# A tag of the user in the broker, by which a later deploy with another user knows whom it may remove.
_MADE_BY_DEPLOY = "made-by-deploy"

# The plain user of the queue's image (its Dockerfile).
QUEUE_UID = 900

# RabbitMQ reads every *.conf here after its rabbitmq.conf.
_CONF_FOLDER = "/etc/rabbitmq/conf.d"


@dataclass(frozen=True)
class QueueLogin:
    """User and password; `salt` and `id` stay the same as long as these do. The id tells nothing of them."""

    user: str
    password: str = field(repr=False)
    salt: str = field(repr=False)
    id: str


@dataclass(frozen=True)
class QueueAddress:
    """The address of a queue; `login` is None where it is open to guest."""

    amqp: HostPort
    web: HostPort
    login: QueueLogin | None

    @property
    def url(self) -> str:
        """The URL for AMQP, with user and password, for the standard tools; without a login as guest."""
        login = self.login
        user = f"{quote(login.user, safe='')}:{quote(login.password, safe='')}@" if login else ""
        return f"amqp://{user}{self.amqp}"

    @property
    def management(self) -> Management:
        """RabbitMQ's API, to be asked as the same user."""
        user, password = (self.login.user, self.login.password) if self.login else ("guest", "guest")
        return Management(f"http://{self.web}", user, password, "/")


@dataclass(frozen=True)
class Secrets:
    """The variables and secret files with which an app logs in, or lets others in."""

    env: Mapping[str, str]
    files: tuple[SecretFile, ...]

    def added_to(self, app: AppSpec) -> AppSpec:
        """Return the app with the variables and the files."""
        return replace(app.with_env(self.env), secret_files=(*app.secret_files, *self.files))


def ensure(
    settings: Settings, environ: Mapping[str, str] = os.environ, *, queue: AppSpec | None = None, force: bool = False,
    for_show: bool = False,
) -> QueueLogin:  # fmt: skip
    """Return the login to deploy with: AMQP_USER and AMQP_PASSWORD(_FILE), else the one kept, else a new one.

    A new one is not kept before it is `used`.

    Args:
        queue: what runs now; without `force` it gets no new login only because the one it has is not here.
        for_show: a new one is made by the deploy, and not by its dry run.

    Raises:
        ClusterError: a file that cannot be read or holds no login; a user without a password; no login of `queue`.
    """
    kept = known(settings, id_in(queue)) or known(settings)
    user, password = broker_credentials("", environ)
    if user and not password:
        raise ClusterError("AMQP_USER: set AMQP_PASSWORD_FILE or AMQP_PASSWORD too")
    if kept and (not password or (user or USER, password) == (kept.user, kept.password)):
        return kept
    if id_in(queue) and not (kept or password or force):
        raise ClusterError(
            f"{_not_here(settings, queue)}; --force makes a new login, and workers are shut out until they are "
            "deployed again"
        )
    if for_show:
        return QueueLogin(user or USER, "", salt="", id="made-when-deployed")
    return QueueLogin(
        user or USER, password or secrets.token_urlsafe(24), salt=secrets.token_hex(4), id=secrets.token_hex(4)
    )


@contextmanager
def used(settings: Settings, login: QueueLogin | None) -> Iterator[None]:
    """Keep the login of a deploy: from the beginning by its id, and when it has come to its end as the project's.

    One that is refused or undone leaves the project's as it is. No id is ever another login's, so that whatever runs
    can be opened: a queue that went back to an earlier version, or one whose deploy was interrupted.
    """
    if login is None or login == (before := known(settings)):
        yield
        return
    for one in filter(None, (before, login)):
        _write(place(settings, one.id), one)
    yield
    _write(place(settings), login)


def _write(path: Path, login: QueueLogin) -> None:
    write_atomically(path, (json.dumps(asdict(login), indent=2) + "\n").encode())


def login_of(settings: Settings, queue: AppSpec | None, environ: Mapping[str, str] = os.environ) -> QueueLogin | None:
    """Return the login of a queue that runs: AMQP_USER and AMQP_PASSWORD(_FILE), else the one kept; None for guest.

    Raises:
        ClusterError: the one kept is another, or there is none.
    """
    if login := _given("", USER, environ):
        return login
    if not id_in(queue):
        return None
    if kept := known(settings, id_in(queue)):
        return kept
    raise ClusterError(_not_here(settings, queue))


def _not_here(settings: Settings, queue: AppSpec | None) -> str:
    return (
        f"{place(settings)}: the login of the queue ({id_in(queue)}) is not here, since it was deployed from "
        "elsewhere: copy this file from there, or set AMQP_USER and AMQP_PASSWORD_FILE"
    )


def id_in(queue: AppSpec | None) -> str:
    """Return the id of the login that a queue has; empty without a queue, and for one that lets guest in."""
    return queue.env.get(LOGIN_ID, "") if queue else ""


def known(settings: Settings, login_id: str = "") -> QueueLogin | None:
    """Return the login of this id that is kept, without an id the project's; None where there is none.

    Raises:
        ClusterError: the file cannot be read or holds no login.
    """
    remedy = "delete it, then deploy the queue and the workers again, which makes a new one"
    for path in (place(settings, login_id), place(settings)):
        login = credentials.kept(path, lambda found: QueueLogin(**found), "the cluster's queue", remedy)
        if login and login_id in ("", login.id):
            return login
    return None


def place(settings: Settings, login_id: str = "") -> Path:
    """Return the file in which the project's login is kept, or that of an id."""
    return credentials.SECRETS / f"{settings.project}-queue{login_id and f'-{login_id}'}.json"


def for_queue(login: QueueLogin) -> Secrets:
    """Return what lets this user alone into the queue, whose files have the password's salted hash (its SHA-256 form).

    RabbitMQ reads its user when it starts, and makes no guest on an empty disk. The files of each login have a folder
    of their own, so that an earlier version of the app finds its own.
    """
    salt = bytes.fromhex(login.salt)
    user = {
        "name": login.user,
        "password_hash": b64encode(salt + hashlib.sha256(salt + login.password.encode()).digest()).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": ["administrator", _MADE_BY_DEPLOY],
    }
    permission = {"user": login.user, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
    users = json.dumps({"vhosts": [{"name": "/"}], "users": [user], "permissions": [permission]}, indent=2) + "\n"
    contents = {"90-users.conf": f"load_definitions = {_CONF_FOLDER}/users.json\n", "users.json": users}
    files = (
        SecretFile(f"queue-{login.id}", name, content.encode(), QUEUE_UID, "", _CONF_FOLDER)
        for name, content in contents.items()
    )
    return Secrets({LOGIN_ID: login.id}, tuple(files))


def for_workers(login: QueueLogin, broker: str = "") -> Secrets:
    """Return what lets workers into the queue, or another `broker` (its URL without credentials).

    They read the password from a file, which has a folder of its own for another broker: other workers of the project
    go on with theirs.
    """
    name = hashlib.sha256(f"{login.user} {broker}".encode()).hexdigest()[:12]
    group = f"worker-{name}" if broker else "worker"
    password = login.password.encode() + b"\n"
    file = SecretFile(group, "amqp-password-file", password, credentials.WORKER_UID, "AMQP_PASSWORD_FILE")
    return Secrets({"AMQP_USER": login.user, LOGIN_ID: login.id}, (file,))


def workers_files(settings: Settings, environ: Mapping[str, str] = os.environ) -> tuple[SecretFile, ...]:
    """Return the files with which workers log in on any agent; nothing where the queue has no login."""
    kept = known(settings)
    return for_workers(_given("", USER, environ) or kept).files if kept else ()


def given(broker: str, environ: Mapping[str, str] = os.environ) -> QueueLogin | None:
    """Return the login for a broker that a URL names: the URL's, else AMQP_USER and AMQP_PASSWORD(_FILE).

    None where there is neither, which means guest.

    Raises:
        ClusterError: no broker's URL; a user without a password.
    """
    parameters(broker, environ)
    login = _given(broker, "guest", environ)
    if login is None and (user := broker_credentials(broker, environ)[0]):
        raise ClusterError(f"-u {redacted(broker)}: user {user} without a password: set AMQP_PASSWORD_FILE")
    return login


def _given(broker: str, usual_user: str, environ: Mapping[str, str]) -> QueueLogin | None:
    user, password = broker_credentials(broker, environ)
    return QueueLogin(user or usual_user, password, salt="", id="") if password else None


def remove_earlier(management: Management) -> list[str]:
    """Remove all users that deploys have made, except the one who asks; return their names. Their connections end.

    RabbitMQ takes in the user of each deploy when it starts, and forgets none by itself.

    Raises:
        ServiceAway: the API does not answer.
        ClusterError: it refuses.
    """
    users = management.read("/api/users")
    earlier = [user["name"] for user in users if _is_made(user) and user["name"] != management.user]
    for name in earlier:
        management.change("DELETE", f"/api/users/{quote(name, safe='')}")
    return earlier


def _is_made(user: Mapping[str, Any]) -> bool:
    tags = user.get("tags") or []
    return _MADE_BY_DEPLOY in (tags if isinstance(tags, list) else tags.split(","))  # text before RabbitMQ 3.9
