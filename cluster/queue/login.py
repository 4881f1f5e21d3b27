"""The login of a cluster's queue: made on first use, kept in .secrets/, and put on the hosts as files.

An app definition, which everyone who can ask Marathon may read, has the paths of these files and nothing of what is in
them.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cluster import credentials
from cluster.atomic_file import write_atomically
from cluster.credentials import HostFile
from cluster.settings import Settings
from scripts.amqp.broker import credentials as broker_credentials
from scripts.amqp.broker import parameters, redacted
from scripts.errors import ClusterError
from scripts.hostport import HostPort
from scripts.password_file import password_in

USER = "cluster"

# In the environment of an app, so that another password is another definition, and people know which login it has.
LOGIN_ID = "CLUSTER_LOGIN_ID"

# A tag of the user in the broker, by which a later deploy with another user knows whom it may remove.
MADE_BY_DEPLOY = "made-by-deploy"

# Of the files, in a folder a project.
HOST_FOLDER = "/etc/cluster/secrets"

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

    @property
    def users_json(self) -> str:
        """RabbitMQ's definitions of the user, with the password's salted hash (its SHA-256 form) in its place."""
        salt = bytes.fromhex(self.salt)
        digest = b64encode(salt + hashlib.sha256(salt + self.password.encode()).digest()).decode()
        user = {
            "name": self.user,
            "password_hash": digest,
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": ["administrator", MADE_BY_DEPLOY],
        }
        permission = {"user": self.user, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
        content = {"vhosts": [{"name": "/"}], "users": [user], "permissions": [permission]}
        return json.dumps(content, indent=2) + "\n"


@dataclass(frozen=True)
class Secrets:
    """The secrets of an app: `env` and `volumes` for its definition, `files` for the hosts it runs on."""

    env: dict[str, str]
    volumes: tuple[dict[str, str], ...]
    files: tuple[HostFile, ...]

    def added_to(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        """Return the definition with the environment and the volumes."""
        container = definition.get("container") or {}
        volumes = [*(container.get("volumes") or []), *self.volumes]
        return {
            **definition,
            "env": {**(definition.get("env") or {}), **self.env},
            "container": {**container, "volumes": volumes},
        }


def ensure(settings: Settings, environ: Mapping[str, str] = os.environ) -> QueueLogin:
    """Return the login for a cluster's queue: AMQP_USER and AMQP_PASSWORD(_FILE), else the one kept, else a new one.

    Raises:
        ClusterError: a file that cannot be read or holds no login; a user without a password.
    """
    kept = known(settings)
    user, password = broker_credentials("", environ)
    if user and not password:
        raise ClusterError("AMQP_USER: set AMQP_PASSWORD_FILE or AMQP_PASSWORD too")
    if kept and (not password or (user or USER, password) == (kept.user, kept.password)):
        return kept
    login = QueueLogin(
        user or USER, password or secrets.token_urlsafe(24), salt=secrets.token_hex(4), id=secrets.token_hex(4)
    )
    content = {"user": login.user, "password": login.password, "salt": login.salt, "id": login.id}
    write_atomically(place(settings), (json.dumps(content, indent=2) + "\n").encode())
    return login


def id_in(definition: Mapping[str, Any] | None) -> str:
    """Return the id of the login that the queue of a definition has; empty where there is none, or guest is let in."""
    return str(((definition or {}).get("env") or {}).get(LOGIN_ID, ""))


def refuse_to_replace(
    settings: Settings, present: Mapping[str, Any] | None, *, force: bool, environ: Mapping[str, str] = os.environ
) -> None:
    """Refuse to shut everybody out of a queue by a new login, only because its own is not on this machine.

    Raises:
        ClusterError: it is not, and nobody says which one to take.
    """
    used = id_in(present)
    if used and not (force or known(settings) or broker_credentials("", environ)[1]):
        hint = "; --force makes a new login, and workers are shut out until they are deployed again"
        raise ClusterError(f"{_not_here(settings, used)}{hint}")


def of_queue(
    settings: Settings, definition: Mapping[str, Any], environ: Mapping[str, str] = os.environ
) -> QueueLogin | None:
    """Return the login of the queue that runs: AMQP_USER and AMQP_PASSWORD(_FILE), else the one kept; None for guest.

    Raises:
        ClusterError: the one kept is another, or there is none.
    """
    user, password = broker_credentials("", environ)
    if password:
        return _given(user or USER, password)
    used = id_in(definition)
    kept = known(settings) if used else None
    if used and (kept is None or kept.id != used):
        raise ClusterError(_not_here(settings, used))
    return kept


def describe_change(present: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> list[str]:
    """Say what a person has to do after a deploy of the queue, where its login is another one than before."""
    before = id_in(present)
    if not before or before == id_in(wanted):
        return []
    return ["the queue has another login now: deploy the workers again, which brings it to the agents"]


def known(settings: Settings) -> QueueLogin | None:
    """Return the login that is kept; None before the first deploy.

    Raises:
        ClusterError: the file cannot be read or holds no login.
    """
    path = place(settings)
    try:
        return QueueLogin(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClusterError(f"{path}: {error.strerror}: it holds the login of the cluster's queue") from None
    except (ValueError, TypeError):
        raise ClusterError(
            f"{path} holds no login: delete it, then deploy the queue and the workers again, which makes a new one"
        ) from None


def place(settings: Settings) -> Path:
    """Return the path of the login."""
    return credentials.SECRETS / f"{settings.project}-queue.json"


def for_queue(settings: Settings, login: QueueLogin) -> Secrets:
    """Return the secrets of the queue: RabbitMQ reads its user from them when it starts, and makes no guest."""
    folder = f"{HOST_FOLDER}/{settings.project}/queue"
    conf = f"load_definitions = {_CONF_FOLDER}/users.json\n"
    files = (
        HostFile(f"{folder}/90-users.conf", conf.encode(), QUEUE_UID),
        HostFile(f"{folder}/users.json", login.users_json.encode(), QUEUE_UID),
    )
    return Secrets({LOGIN_ID: login.id}, (_read_only(folder, _CONF_FOLDER),), files)


def for_workers(
    settings: Settings, login: QueueLogin, environ: Mapping[str, str] = os.environ, broker: str = ""
) -> Secrets:
    """Return the secrets of workers: the password, and what opens Marathon, where that asks for something.

    With a `broker` (its URL without credentials), which is not the cluster's queue, Marathon is not asked; the files
    have a folder of their own, so that other workers of the project go on with theirs.
    """
    other = hashlib.sha256(f"{login.user} {broker}".encode()).hexdigest()[:12]
    folder = f"{HOST_FOLDER}/{settings.project}/worker" + (f"-{other}" if broker else "")
    opens = {} if broker else environ
    found = {"AMQP_PASSWORD_FILE": login.password.encode() + b"\n", **_marathon_files(opens)}
    env = {name: f"{folder}/{name.lower().replace('_', '-')}" for name in found}
    plain = {"AMQP_USER": login.user, LOGIN_ID: login.id}
    if opens.get("MARATHON_USER"):
        plain["MARATHON_USER"] = opens["MARATHON_USER"]
    files = tuple(HostFile(env[name], content, credentials.WORKER_UID) for name, content in found.items())
    return Secrets({**plain, **env}, (_read_only(folder, folder),), files)


def workers_files(settings: Settings, environ: Mapping[str, str] = os.environ) -> tuple[HostFile, ...]:
    """Return the files that every agent needs, so that workers there can log in; none where the queue has no login."""
    kept = known(settings)
    if kept is None:
        return ()
    user, password = broker_credentials("", environ)
    return for_workers(settings, _given(user or USER, password) if password else kept, environ).files


def given(broker: str, environ: Mapping[str, str] = os.environ) -> QueueLogin | None:
    """Return the login for another broker: its URL's, else AMQP_USER and AMQP_PASSWORD(_FILE), else None for guest.

    Raises:
        ClusterError: no broker's URL; a user without a password.
    """
    parameters(broker, environ)
    user, password = broker_credentials(broker, environ)
    if user and not password:
        raise ClusterError(f"-u {redacted(broker)}: user {user} without a password: set AMQP_PASSWORD_FILE")
    return _given(user or "guest", password) if password else None


def url(address: HostPort, login: QueueLogin | None) -> str:
    """Return the URL of the queue with its login, for the standard tools; without one as guest."""
    user = f"{quote(login.user, safe='')}:{quote(login.password, safe='')}@" if login else ""
    return f"amqp://{user}{address}"


def _marathon_files(environ: Mapping[str, str]) -> dict[str, bytes]:
    """Return what this machine opens Marathon with, by the variable that names a worker's file of it."""
    found = {}
    for name in ("MARATHON_PASSWORD", "DCOS_ACS_TOKEN"):
        if environ.get(name):
            found[f"{name}_FILE"] = environ[name].encode() + b"\n"
        elif environ.get(f"{name}_FILE"):
            found[f"{name}_FILE"] = password_in(environ[f"{name}_FILE"], f"{name}_FILE").encode() + b"\n"
    if environ.get("MARATHON_CA_FILE"):
        path = environ["MARATHON_CA_FILE"]
        try:
            found["MARATHON_CA_FILE"] = Path(path).read_bytes()
        except OSError as error:
            raise ClusterError(f"MARATHON_CA_FILE: {path}: {error.strerror}") from None
    return found


def _given(user: str, password: str) -> QueueLogin:
    """Return a login that a person gave: not kept, and of no queue in particular."""
    return QueueLogin(user, password, salt="", id="")


def _not_here(settings: Settings, used: str) -> str:
    return (
        f"{place(settings)}: the login of the queue ({used}) is not here, since it was deployed from elsewhere: copy "
        "this file from there, or set AMQP_USER and AMQP_PASSWORD_FILE"
    )


def _read_only(host_path: str, container_path: str) -> dict[str, str]:
    return {"containerPath": container_path, "hostPath": host_path, "mode": "RO"}
