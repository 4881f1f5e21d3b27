"""The tokens of registries that want one of another server for each question, as Harbor, GitLab and Docker's own do.

They answer 401 with the place where tokens are made (RFC 6750, and the registry's Token Authentication Specification).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from urllib.request import parse_http_list, parse_keqv_list

import requests

from scripts.errors import ClusterError, ServiceAway
from scripts.hostport import is_loopback

_SCHEME = "bearer "

Auth = Callable[[requests.PreparedRequest], requests.PreparedRequest]


def challenge_of(answer: requests.Response) -> dict[str, str]:
    """Return the realm, service and scope for which a refusal wants a token; empty where it wants none."""
    said = answer.headers.get("WWW-Authenticate", "")
    if answer.status_code != requests.codes.unauthorized or not said.lower().startswith(_SCHEME):
        return {}
    return parse_keqv_list([part for part in parse_http_list(said[len(_SCHEME) :]) if "=" in part])


def fetch(registry: str, challenge: dict[str, str], ask: Any) -> Auth | None:
    """Return the token that a challenge wants, None where the login is not taken; `ask` is `requests.get` with it."""
    realm = challenge.get("realm", "")
    place = f"the registry {registry} wants a token of {realm!r}"
    parts = urlsplit(realm)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise ClusterError(f"{place}, which a password is not sent to: it is no https address")
    wanted = [("service", challenge.get("service", ""))]
    wanted += [("scope", scope) for scope in challenge.get("scope", "").split(" ") if scope]
    try:
        answer = ask(realm, params=wanted)
    except requests.RequestException as error:
        raise ServiceAway(f"{place}, and nothing answers there ({type(error).__name__}): is it up?") from error
    if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
        return None
    try:
        made = answer.json()
        return _bearer(str(made.get("token") or made["access_token"]))
    except (requests.JSONDecodeError, KeyError, AttributeError):
        raise ClusterError(f"{place}, which makes none: it answers {answer.status_code} {answer.reason}") from None


def _bearer(token: str) -> Auth:
    def with_token(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return with_token
