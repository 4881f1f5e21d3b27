"""Questions to the Docker Engine at a socket of this machine, without its SDK, which takes far longer to load."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote, urlencode

_OK, _ABSENT = 200, 404  # HTTP


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
            found = _got(connection, "/version")
        if not isinstance(found, dict) or "ApiVersion" not in found:
            raise NoAnswer("it names no version of its API")
        self._prefix = f"/v{found['ApiVersion']}"

    def containers(self, labels: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
        """Return the containers with these labels, also those that have ended, as the engine describes each."""
        query = urlencode({"all": "true", "filters": json.dumps(labels)})
        with closing(self._connection()) as connection:
            listed = _got(connection, f"{self._prefix}/containers/json?{query}")
            described = (_got(connection, f"{self._prefix}/containers/{quote(one['Id'])}/json") for one in listed)
            return [one for one in described if one]  # others have been removed meanwhile

    def _connection(self) -> _Connection:
        return _Connection(self._path, self._timeout_s)


def _got(connection: HTTPConnection, path: str) -> Any:
    """Return an answer; an empty one for what is not there."""
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status == _ABSENT:
            return {}
        if answer.status != _OK:
            raise NoAnswer(answer.reason)
        return json.loads(content)
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
