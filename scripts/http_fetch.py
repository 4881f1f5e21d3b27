"""One HTTP request: within a time, and with credentials for the servers they are meant for.

Importing this costs 8 MiB and 50 ms, which is requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from requests.utils import get_environ_proxies, select_proxy

from scripts.hostport import is_loopback
from scripts.http_failures import WrongServer, http_failures

T = TypeVar("T")

_MOST_REDIRECTS = 5
# For this machine's own addresses, which Docker asks no proxy for either.
_NO_PROXIES = {"http": "", "https": ""}
_MOST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Answer:
    """What a server answered; `url` is the last one after redirects."""

    url: str
    status: int
    content_type: str
    body: bytes

    @property
    def place(self) -> str:
        """Scheme, host and port, without what a URL may have of secrets, and the proxy on the way there."""
        return _place(self.url)

    @property
    def path(self) -> str:
        """The URL's path."""
        return urlsplit(self.url).path


class _Session(requests.Session):
    """Leaves redirects to us: requests would not let us say which server gets the credentials."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class Fetcher:
    """Asks servers; `authorization` (a header's value) goes to the servers of the `trusted` URLs and to no other."""

    def __init__(self, trusted: Sequence[str], authorization: str, ca_file: str, timeout_s: float) -> None:
        self._trusted = {_origin(url) for url in trusted}
        self._authorization = authorization
        self._ca_file = ca_file
        self._timeout_s = timeout_s

    @property
    def has_credentials(self) -> bool:
        """Whether there is anything to send."""
        return bool(self._authorization)

    def sends_credentials(self, url: str) -> bool:
        """Whether there are credentials and this URL's server gets them."""
        return self.has_credentials and _origin(url) in self._trusted

    def get(self, url: str) -> Answer:
        """The answer to a GET for JSON, whatever its status.

        Raises:
            ServiceAway: no answer (AnswerLost when there was a connection), or none within the time.
            WrongServer: a certificate that is not trusted, or redirects that are not followed.
        """
        with http_failures(_place(url), self._timeout_s):
            return _within(self._timeout_s, lambda: self._follow(url))

    def send(self, method: str, url: str, content: bytes = b"") -> Answer:
        """The answer to a request that changes something, with JSON as its content; a redirect is not followed.

        Raises:
            ServiceAway: no connection, so nothing was changed.
            AnswerLost: no answer, or none within the time; whether something was changed is not known.
            WrongServer: a certificate that is not trusted, or a redirect.
        """
        with http_failures(_place(url), self._timeout_s):
            answer, location = _within(self._timeout_s, lambda: self._exchange(url, method, content))
        if location:
            raise WrongServer(f"{_origin(url)}: redirects to {_origin(_redirected(url, location))}: give that address")
        return answer

    def _follow(self, url: str) -> Answer:
        asked = _origin(url)
        place = _place(url)
        for _ in range(_MOST_REDIRECTS):
            with http_failures(place, self._timeout_s):
                answer, location = self._exchange(url)
            if not location:
                return answer
            url = _redirected(url, location)
            place = f"{asked}, which redirects to {_place(url)}"
        raise WrongServer(f"{_origin(url)}: redirects without end")

    def _exchange(self, url: str, method: str = "GET", content: bytes = b"") -> tuple[Answer, str]:
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if content else {})
        with (
            _Session() as session,
            session.request(
                method,
                url,
                data=content or None,
                headers=headers,
                auth=self._authorize(url),
                timeout=self._timeout_s,
                verify=self._ca_file or True,
                proxies=_NO_PROXIES if is_loopback(urlsplit(url).hostname or "") else None,
                stream=True,
            ) as response,
        ):
            location = response.headers.get("Location", "") if response.is_redirect else ""
            content_type = response.headers.get("Content-Type", "")
            return Answer(url, response.status_code, content_type, _body(response)), location

    def _authorize(self, url: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
        """Without a function here requests takes a password of ~/.netrc, even in place of ours."""

        def add(request: requests.PreparedRequest) -> requests.PreparedRequest:
            if self.sends_credentials(url):
                request.headers["Authorization"] = self._authorization
            return request

        return add


def _place(url: str) -> str:
    """What a person is told of where a URL leads."""
    host = urlsplit(url).hostname or ""
    proxy = "" if is_loopback(host) else select_proxy(url, get_environ_proxies(url))
    if not proxy:
        return _origin(url)
    passed = _origin(proxy if "://" in proxy else f"http://{proxy}")
    return f"{_origin(url)} through the proxy {passed} (http_proxy, https_proxy; no_proxy={host} goes past it)"


def _origin(url: str) -> str:
    """Scheme, host and port: what credentials are bound to."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _redirected(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        place = _origin(target)
    except ValueError:
        place = ""
    if not place.startswith(("http://", "https://")):
        raise WrongServer(f"{_origin(url)}: redirects to something that is no http address")
    if url.startswith("https://") and place.startswith("http://"):
        raise WrongServer(f"{_origin(url)}: redirects from https to {place}, which anyone could answer")
    return target


def _body(response: requests.Response) -> bytes:
    response.raw.enforce_content_length = True  # urllib3 1.26 takes half an answer for a whole one
    body = bytearray()
    for chunk in response.iter_content(2**16):
        body += chunk
        if len(body) > _MOST_BYTES:
            raise WrongServer(f"{_origin(response.url)}: answers with more than {_MOST_BYTES // 2**20} MiB")
    return bytes(body)


def _within(timeout_s: float, ask: Callable[[], T]) -> T:
    """The answer within a time for everything: the library's limits hold for each read, and not for finding a name."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(ask())
        except Exception as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future.result(timeout_s)
