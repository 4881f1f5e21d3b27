"""Requests to Marathon: to each of its addresses until one answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.client import responses
from typing import Any
from urllib.parse import urlencode, urlsplit

from scripts.errors import ClusterError, ServiceAway
from scripts.http_fetch import Answer, AnswerLost, Fetcher, WrongServer
from scripts.marathon.access import addresses, authorization, ca_file
from scripts.marathon.answers import mapping, mappings
from scripts.one_line import one_line

# What a proxy, or a Marathon that knows no leader, answers; another address may do better.
_AWAY = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)


class NotFound(ClusterError):
    """Marathon answers, and has no such app."""


class Refused(ClusterError):
    """Marathon will not do it: `status` is HTTP's, `content` what it says, with details for programs."""

    def __init__(self, reason: str, status: int, content: Mapping[str, Any]) -> None:
        super().__init__(reason)
        self.status, self.content = status, content


class Marathon:
    """A Marathon by its addresses, `a:8080,b:8080`; any of them answers for all."""

    def __init__(self, hosts: str, ca: str, timeout_s: float, environ: Mapping[str, str]) -> None:
        """Nothing is asked yet; `timeout_s` is for one address."""
        self._urls = addresses(hosts)
        self._fetcher = Fetcher(self._urls, authorization(environ), ca_file(ca, environ), timeout_s)

    @property
    def place(self) -> str:
        """The addresses, for people."""
        return ", ".join(sorted(self._urls))

    def app(self, app_id: str) -> Mapping[str, Any]:
        """Return an app with its tasks."""
        return mapping(self.get(f"/v2/apps{app_id}", "app"))

    def ids_with(self, text: str) -> list[str]:
        """Return the ids of the apps that have the text in their id."""
        apps = mappings(self.get(f"/v2/apps?{urlencode({'id': text})}", "apps", list))
        return sorted(str(app.get("id")) for app in apps)

    def queue(self) -> list[Mapping[str, Any]]:
        """Return Marathon's launch queue: what it has yet to start, and why it has not."""
        return mappings(self.get("/v2/queue", "queue", list))

    def get(self, path: str, wrapper: str = "", kind: type = dict) -> Any:
        """Return what stands under `wrapper` (empty: all) in the answer of the first address that answers.

        Raises:
            NotFound: there is no such thing.
            ServiceAway: no address answers.
            ClusterError: it refuses (Refused), or what answers is not Marathon.
        """
        return self._first(lambda url: self._read(self._fetcher.get(url + path), wrapper, kind))

    def send(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Send a change to the first address that a connection can be made to; return the answer.

        Raises:
            AnswerLost: Marathon may have obeyed: look before you send it again.
            NotFound, ServiceAway, ClusterError: as `get` does; nothing was changed.
        """
        body = json.dumps(content).encode() if content is not None else b""
        ask = self._fetcher.send
        return mapping(self._first(lambda url: self._read(ask(method, url + path, body), "", dict), changes=True))

    def _first(self, ask: Callable[[str], Any], changes: bool = False) -> Any:
        """Return the first answer of an address; a change that may have been made is not asked for again."""
        failures: list[ClusterError] = []
        for url in self._urls:
            try:
                found = ask(url)
            except (ServiceAway, WrongServer) as failure:
                if changes and isinstance(failure, AnswerLost):
                    raise
                failures.append(failure)
                continue
            # Who answers now is asked first the next time.
            self._urls = sorted(self._urls, key=url.__ne__)
            return found
        raise _unanswered(failures)

    def _read(self, answer: Answer, wrapper: str, kind: type) -> Any:
        content = _json(answer)
        message = one_line(mapping(content).get("message") or "")
        if answer.status in _AWAY:
            raise AnswerLost(f"{answer.place}: {message or _status(answer)}")
        if _wants_credentials(answer, message):
            raise self._refused(answer, message)
        if answer.status == HTTPStatus.NOT_FOUND and "does not exist" in message:
            raise NotFound(message)
        if "URI not found" in message:
            raise WrongServer(f"{answer.place}: there is a Marathon, but its API is not at {urlsplit(answer.url).path}")
        if answer.status >= 400 and message and answer.status != HTTPStatus.NOT_FOUND:
            raise Refused(f"{answer.place}: {_status(answer)}: {message}", answer.status, mapping(content))
        found = mapping(content).get(wrapper) if wrapper else content
        if answer.status >= 300 or not isinstance(found, kind):
            raise WrongServer(f"{answer.place} is not Marathon: it answers {_status(answer)} with {_what(answer)}")
        return found

    def _refused(self, answer: Answer, message: str) -> ClusterError:
        reason = f"{answer.place}: {message or _status(answer)}"
        if self._fetcher.sends_credentials(answer.url):
            return ClusterError(f"{reason}: it refuses the credentials of the environment")
        if self._fetcher.has_credentials:
            return ClusterError(f"{reason}: a redirect led here; to send credentials here, give this address too")
        return ClusterError(
            f"{reason}: it wants credentials: set MARATHON_USER and MARATHON_PASSWORD_FILE, or DCOS_ACS_TOKEN_FILE"
        )


def _wants_credentials(answer: Answer, message: str) -> bool:
    """Beside wrong credentials, Marathon forbids one thing to everyone: more deployments than it can follow."""
    forbidden = answer.status == HTTPStatus.FORBIDDEN and message and "running deployments" not in message
    return answer.status == HTTPStatus.UNAUTHORIZED or bool(forbidden)


def _unanswered(failures: list[ClusterError]) -> ClusterError:
    """Return the error for all addresses: that Marathon is away if any of them may come back."""
    away = any(isinstance(failure, ServiceAway) for failure in failures)
    reasons = "; ".join(str(failure) for failure in failures)
    return ServiceAway(f"Marathon cannot be reached: {reasons}; check the address") if away else WrongServer(reasons)


def _json(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _status(answer: Answer) -> str:
    return f"{answer.status} {responses.get(answer.status, '')}".rstrip()


def _what(answer: Answer) -> str:
    if "html" in answer.content_type or answer.body.lstrip()[:1] == b"<":
        return "a web page (HTML), as proxies and login pages do"
    return "other JSON" if _json(answer) is not None else "something that is no JSON"
