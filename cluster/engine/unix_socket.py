"""Questions to the Docker Engine at a socket of this machine, without its SDK, which takes far longer to load."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote, urlencode

_ABSENT = 404  # HTTP
_LOOK_EVERY_S = 0.01


class NoAnswer(Exception):
    """The engine does not answer as it should; the SDK finds out why."""


class EngineSocket:
    """The engine that listens at a path; a step of an answer may take `timeout_s`.

    Raises:
        NoAnswer: it does not listen, does not let this user in, or is no engine.
    """

    def __init__(self, path: str, timeout_s: float) -> None:
        self._path, self._timeout_s = path, timeout_s
        with closing(self._connection()) as connection:
            found = _asked(connection, "GET", "/version")
        if not isinstance(found, dict) or "ApiVersion" not in found:
            raise NoAnswer("it names no version of its API")
        self._prefix = f"/v{found['ApiVersion']}"

    def containers(self, labels: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
        """Return the containers with these labels, also those that have ended, as the engine describes each."""
        query = urlencode({"all": "true", "filters": json.dumps(labels)})
        with closing(self._connection()) as connection:
            listed = _asked(connection, "GET", f"{self._prefix}/containers/json?{query}")
            described = (
                _asked(connection, "GET", f"{self._prefix}/containers/{quote(one['Id'])}/json") for one in listed
            )
            return [one for one in described if one]  # others have been removed meanwhile

    def processes(self, container_id: str, ps_args: str) -> list[list[str]]:
        """Return what `ps` says of the processes of a container, a row each; none where it has ended."""
        path = f"{self._prefix}/containers/{quote(container_id)}/top?{urlencode({'ps_args': ps_args})}"
        with closing(self._connection()) as connection:
            return _asked(connection, "GET", path).get("Processes") or []

    def exit_code(self, container_id: str, command: str, within_s: float) -> int | None:
        """Run a shell command in a container and return its exit code; None where it has not ended in time."""
        wanted = {"Cmd": ["/bin/sh", "-c", command]}
        with closing(self._connection()) as connection:
            run = _asked(connection, "POST", f"{self._prefix}/containers/{quote(container_id)}/exec", wanted).get("Id")
            _asked(connection, "POST", f"{self._prefix}/exec/{run}/start", {"Detach": True})
            deadline = time.monotonic() + within_s
            while time.monotonic() < deadline:
                found = _asked(connection, "GET", f"{self._prefix}/exec/{run}/json")
                if found and not found["Running"] and found["ExitCode"] is not None:
                    return int(found["ExitCode"])
                time.sleep(_LOOK_EVERY_S)
        return None

    def _connection(self) -> _Connection:
        return _Connection(self._path, self._timeout_s)


def _asked(connection: HTTPConnection, method: str, path: str, content: Any = None) -> Any:
    """Return an answer; an empty one for what is not there, or where there is nothing to say."""
    try:
        body = None if content is None else json.dumps(content)
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        said = answer.read()
        if answer.status == _ABSENT:
            return {}
        if not 200 <= answer.status < 300:
            raise NoAnswer(answer.reason)
        return json.loads(said) if said else {}
    except (OSError, HTTPException, ValueError) as error:
        raise NoAnswer(str(error)) from error


class _Connection(HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("docker", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
