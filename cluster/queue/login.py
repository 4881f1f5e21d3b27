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
        """RabbitMQ's definitions of the user, with the password's salted hash (its SHA-256 form) in place of it."""
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
    """What an app has to do with secrets: `env` and `volumes` for its definition, `files` for the hosts it runs on."""

    env: dict[str, str]
    volumes: tuple[dict[str, str], ...]
    files: tuple[HostFile, ...]

    def added_to(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        """The definition with the environment and the volumes."""
        container = definition.get("container") or {}
        volumes = [*(container.get("volumes") or []), *self.volumes]
        return {
            **definition,
            "env": {**(definition.get("env") or {}), **self.env},
            "container": {**container, "volumes": volumes},
        }


def ensure(settings: Settings, environ: Mapping[str, str] = os.environ) -> QueueLogin:
    """The login of this project's queue on a cluster: AMQP_USER and AMQP_PASSWORD(_FILE), else the one kept, else new

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
    """Which login the queue of a definition has; empty without a definition, and for a queue that lets guest in."""
    return str(((definition or {}).get("env") or {}).get(LOGIN_ID, ""))


def refuse_to_replace(
    settings: Settings, present: Mapping[str, Any] | None, *, force: bool, environ: Mapping[str, str] = os.environ
) -> None:
    """Shut nobody out of a queue by a new login, only because the one that it has is not on this machine.

    Raises:
        ClusterError: it is not, and nobody says which one to take.
    """
    used = id_in(present)
    if not used or force or known(settings) or broker_credentials("", environ)[1]:
        return
    raise ClusterError(
        f"{place(settings)}: the login of the queue ({used}) is not here, since it was deployed from elsewhere: copy "
        "this file from there, or set AMQP_USER and AMQP_PASSWORD_FILE; --force makes a new login, and workers are "
        "shut out until they are deployed again"
    )


def told_of_change(present: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> list[str]:
    """What a person has to do after a deploy of the queue with another login; nothing where it has none or the same."""
    before = id_in(present)
    if not before or before == id_in(wanted):
        return []
    return ["the queue has another login now: deploy the workers again, which brings it to the agents"]


def known(settings: Settings) -> QueueLogin | None:
    """The login that is kept; None before the first deploy.

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
    """Where the login is kept."""
    return credentials.SECRETS / f"{settings.project}-queue.json"


def for_queue(settings: Settings, login: QueueLogin) -> Secrets:
    """RabbitMQ reads its user when it starts, and makes no guest on an empty disk; an old one may come from nowhere."""
    folder = f"{HOST_FOLDER}/{settings.project}/queue"
    conf = f"load_definitions = {_CONF_FOLDER}/users.json\n"
    files = (
        HostFile(f"{folder}/90-users.conf", conf.encode(), QUEUE_UID),
        HostFile(f"{folder}/users.json", login.users_json.encode(), QUEUE_UID),
    )
    return Secrets({LOGIN_ID: login.id}, (_read_only(folder, _CONF_FOLDER),), files)


def for_workers(settings: Settings, login: QueueLogin, environ: Mapping[str, str] = os.environ) -> Secrets:
    """Workers read the password from a file, and what opens Marathon, where that asks for something, from others."""
    return _for_workers(settings, login, "worker", environ)


def _for_workers(settings: Settings, login: QueueLogin, name: str, environ: Mapping[str, str]) -> Secrets:
    folder = f"{HOST_FOLDER}/{settings.project}/{name}"
    found = {"AMQP_PASSWORD_FILE": login.password.encode() + b"\n", **_marathon_files(environ)}
    env = {name: f"{folder}/{name.lower().replace('_', '-')}" for name in found}
    plain = {"AMQP_USER": login.user, LOGIN_ID: login.id}
    if environ.get("MARATHON_USER"):
        plain["MARATHON_USER"] = environ["MARATHON_USER"]
    files = tuple(HostFile(env[name], content, credentials.WORKER_UID) for name, content in found.items())
    return Secrets({**plain, **env}, (_read_only(folder, folder),), files)


def workers_files(settings: Settings, environ: Mapping[str, str] = os.environ) -> tuple[HostFile, ...]:
    """What every agent needs so that workers there can log in; nothing where the queue has no login of its own."""
    kept = known(settings)
    if kept is None:
        return ()
    user, password = broker_credentials("", environ)
    login = QueueLogin(user or USER, password, salt="", id="") if password else kept
    return for_workers(settings, login, environ).files


def given(broker: str, environ: Mapping[str, str] = os.environ) -> QueueLogin | None:
    """The login for a broker that is not the cluster's queue: its URL's, else AMQP_USER and AMQP_PASSWORD(_FILE).

    None where there is neither, which means guest.

    Raises:
        ClusterError: no broker's URL; a user without a password.
    """
    parameters(broker, environ)
    user, password = broker_credentials(broker, environ)
    if user and not password:
        raise ClusterError(f"-u {redacted(broker)}: user {user} without a password: set AMQP_PASSWORD_FILE")
    return QueueLogin(user or "guest", password, salt="", id="") if password else None


def for_workers_elsewhere(settings: Settings, login: QueueLogin, broker: str) -> Secrets:
    """As `for_workers`, for a broker (its URL without credentials) that is not the cluster's queue.

    Its files have a folder of their own: other workers of the project go on with theirs.
    """
    name = hashlib.sha256(f"{login.user} {broker}".encode()).hexdigest()[:12]
    return _for_workers(settings, login, f"worker-{name}", {})


def url(address: HostPort, login: QueueLogin | None) -> str:
    """The queue with its login, for the standard tools; without one as guest."""
    user = f"{quote(login.user, safe='')}:{quote(login.password, safe='')}@" if login else ""
    return f"amqp://{user}{address}"


def _marathon_files(environ: Mapping[str, str]) -> dict[str, bytes]:
    """What this machine opens Marathon with, by the variable that names a worker's file of it."""
    found = {}
    for name in ("MARATHON_PASSWORD", "DCOS_ACS_TOKEN"):
        if environ.get(name):
            found[f"{name}_FILE"] = environ[name].encode() + b"\n"
        elif environ.get(f"{name}_FILE"):
            found[f"{name}_FILE"] = password_in(environ[f"{name}_FILE"], f"{name}_FILE").encode() + b"\n"
    if environ.get("MARATHON_CA_FILE"):
        found["MARATHON_CA_FILE"] = _content("MARATHON_CA_FILE", environ)
    return found


def _content(name: str, environ: Mapping[str, str]) -> bytes:
    try:
        return Path(environ[name]).read_bytes()
    except OSError as error:
        raise ClusterError(f"{name}: {environ[name]}: {error.strerror}") from None


def _read_only(host_path: str, container_path: str) -> dict[str, str]:
    return {"containerPath": container_path, "hostPath": host_path, "mode": "RO"}
