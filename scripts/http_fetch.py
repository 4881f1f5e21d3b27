"""HTTP requests: within a time, and with credentials for the servers they are meant for.

Importing this costs 8 MiB and 50 ms, which is requests.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import BadStatusLine, LineTooLong, RemoteDisconnected
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.utils import get_environ_proxies, select_proxy
from urllib3.util.ssl_match_hostname import CertificateError

from scripts.background import in_background
from scripts.errors import ClusterError, ServiceAway
from scripts.hostport import HostPort, is_loopback

_MOST_REDIRECTS = 5
# For this machine's own addresses, which Docker asks no proxy for either.
_NO_PROXIES = {"http": "", "https": ""}
_MOST_BYTES = 64 * 2**20

# What OpenSSL calls an answer that is no TLS.
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")

# Failures of a connection that was never made, so nothing was asked.
_UNSENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.LocationParseError,
    requests.exceptions.InvalidURL,
    socket.gaierror,
)


class WrongServer(ClusterError):
    """Another server than the one that was asked for answers, or it cannot prove who it is."""


class AnswerLost(ServiceAway):
    """The request may have arrived and been obeyed; what came of it is not known."""


@dataclass(frozen=True)
class Answer:
    """A server's answer; `url` is the last one after redirects."""

    url: str
    status: int
    content_type: str
    body: bytes

    @property
    def place(self) -> str:
        """Scheme, host and port, without what a URL may have of secrets, and the proxy on the way there."""
        return _place(self.url)


class _Session(requests.Session):
    """Follows redirects, and gives credentials by our rule alone; `place` is where it asks, for people."""

    def __init__(self, url: str, authorize: Callable[[requests.PreparedRequest], requests.PreparedRequest]) -> None:
        super().__init__()
        self.max_redirects = _MOST_REDIRECTS
        # Without a function here requests takes a password of ~/.netrc, even in place of ours.
        self.auth = authorize
        self.place = _place(url)
        self._first = _origin(url)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Refuse a redirect to what is no http address, and one from https to http."""
        if not resp.is_redirect:
            return None
        try:
            location = super().get_redirect_target(resp) or ""
            target = _origin(urljoin(resp.url, location))
        except ValueError:
            target = ""
        if not target.startswith(("http://", "https://")):
            target = "something that is no http address"
        elif resp.url.startswith("https://") and target.startswith("http://"):
            target = f"{target}, which anyone could answer, away from https"
        else:
            return location
        resp.close()
        raise WrongServer(f"{_origin(resp.url)}: redirects to {target}")

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Give credentials to the server that a redirect leads to, where they are meant for that one, too."""
        self.place = f"{self._first}, which redirects to {_place(str(prepared_request.url))}"
        prepared_request.headers.pop("Authorization", None)
        prepared_request.prepare_auth(self.auth)

    def rebuild_proxies(self, prepared_request: requests.PreparedRequest, proxies: Any) -> dict[str, str]:
        """Return the proxies for the server that a redirect leads to."""
        return _proxies(str(prepared_request.url))


class Fetcher:
    """Asks servers; `authorization` (a header's value) goes to the servers of the `trusted` URLs and to no other."""

    def __init__(self, trusted: Sequence[str], authorization: str, ca_file: str, timeout_s: float) -> None:
        self._trusted = {_origin(url) for url in trusted}
        self._authorization = authorization
        self._ca_file = ca_file
        self._timeout_s = timeout_s

    @property
    def has_credentials(self) -> bool:
        """True where there is anything to send."""
        return bool(self._authorization)

    def sends_credentials(self, url: str) -> bool:
        """Tell whether there are credentials and this URL's server gets them."""
        return self.has_credentials and _origin(url) in self._trusted

    def get(self, url: str) -> Answer:
        """Return the answer to a GET for JSON, whatever its status.

        Raises:
            ServiceAway: no answer (AnswerLost when there was a connection), or none within the time.
            WrongServer: a certificate that is not trusted, or redirects that are not followed.
        """
        return self._ask("GET", url, b"", follow=True)

    def send(self, method: str, url: str, content: bytes = b"") -> Answer:
        """Send a change, with JSON as its content, and return the answer; a redirect is not followed.

        Raises:
            ServiceAway: no connection, so nothing was changed.
            AnswerLost: no answer, or none within the time; whether something was changed is not known.
            WrongServer: a certificate that is not trusted, or a redirect.
        """
        return self._ask(method, url, content, follow=False)

    def _ask(self, method: str, url: str, content: bytes, follow: bool) -> Answer:
        session = _Session(url, self._authorize)
        try:
            # A time for all together: the library's limits hold for each read, and not for finding a name.
            answer = in_background(lambda: self._exchange(session, method, url, content, follow))
            return answer.result(self._timeout_s)
        except (TimeoutError, requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _failure(error, session.place, self._timeout_s) from error

    def _exchange(self, session: _Session, method: str, url: str, content: bytes, follow: bool) -> Answer:
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if content else {})
        with (
            session,
            session.request(
                method,
                url,
                data=content or None,
                headers=headers,
                timeout=self._timeout_s,
                allow_redirects=follow,
                verify=self._ca_file or True,
                proxies=_proxies(url),
                stream=True,
            ) as response,
        ):
            if response.next:
                target = _origin(str(response.next.url))
                raise WrongServer(f"{_origin(url)}: redirects to {target}: give that address")
            content_type = response.headers.get("Content-Type", "")
            return Answer(response.url, response.status_code, content_type, _body(response))

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.sends_credentials(str(request.url)):
            request.headers["Authorization"] = self._authorization
        return request


def _proxies(url: str) -> dict[str, str]:
    return _NO_PROXIES if is_loopback(urlsplit(url).hostname or "") else get_environ_proxies(url)


def _place(url: str) -> str:
    """Return where a URL leads, for people: the server, and the proxy on the way there."""
    host, proxy = urlsplit(url).hostname, select_proxy(url, _proxies(url))
    if not proxy:
        return _origin(url)
    passed = _origin(proxy if "://" in proxy else f"http://{proxy}")
    return f"{_origin(url)} through the proxy {passed} (http_proxy, https_proxy; no_proxy={host} goes past it)"


def _origin(url: str) -> str:
    """Return scheme, host and port, which credentials are bound to."""
    parts = urlsplit(url)
    address = HostPort(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    return f"{parts.scheme}://{address}"


def _body(response: requests.Response) -> bytes:
    response.raw.enforce_content_length = True  # urllib3 1.26 takes half an answer for a whole one
    body = bytearray()
    for chunk in response.iter_content(2**16):
        body += chunk
        if len(body) > _MOST_BYTES:
            raise WrongServer(f"{_origin(response.url)}: answers with more than {_MOST_BYTES // 2**20} MiB")
    return bytes(body)


def _failure(error: Exception, place: str, timeout_s: float) -> ClusterError:
    if isinstance(error, TimeoutError | requests.Timeout):
        kind = ServiceAway if isinstance(error, requests.ConnectTimeout) else AnswerLost
        return kind(f"{place}: no answer within {timeout_s:g} s")
    causes = list(_causes(error))
    if wrong := next(filter(None, map(_wrong, causes)), ""):
        return WrongServer(f"{place}: {wrong}")
    away = next(filter(None, map(_away, causes)), f"the connection broke ({type(error).__name__})")
    return (ServiceAway if any(isinstance(cause, _UNSENT) for cause in causes) else AnswerLost)(f"{place}: {away}")


def _wrong(cause: BaseException) -> str:
    match cause:
        case requests.TooManyRedirects():
            return "redirects without end"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {cause.verify_message}"
        case CertificateError():
            return f"its certificate is not trusted: {cause}"
        case ssl.SSLError() if cause.reason in _NO_TLS:
            return "what answers there does not speak TLS; is it http instead of https?"
        case RemoteDisconnected():
            return ""
        case BadStatusLine() | LineTooLong():
            return "what answers there does not speak HTTP"
    return ""


def _away(cause: BaseException) -> str:
    match cause:
        case ssl.SSLError():
            return f"no TLS connection: {cause.reason or cause}"
        case RemoteDisconnected():
            return "it closed the connection without an answer"
        case socket.gaierror() | urllib3.exceptions.LocationParseError() | requests.exceptions.InvalidURL():
            return "no such host name"
        case OSError() if cause.strerror:
            return cause.strerror.lower()
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all that it was made of, outermost first: the words are deep inside."""
    waiting, seen = [error], set[int]()
    while waiting:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        # What the caller was busy with, when the error reached it, explains nothing.
        context = cause.__context__ if cause is not error else None
        parts = (*cause.args, getattr(cause, "reason", None), cause.__cause__, context)
        waiting += [part for part in parts if isinstance(part, BaseException)]
