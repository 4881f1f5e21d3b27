"""Failures of an HTTP request as errors of ours, in a few words for a person.

Importing this costs 8 MiB and 50 ms, which is requests.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import BadStatusLine, LineTooLong, RemoteDisconnected

import requests
import urllib3
from urllib3.util.ssl_match_hostname import CertificateError

from scripts.errors import ClusterError, ServiceAway

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


@contextmanager
def http_failures(place: Callable[[], str], timeout_s: float) -> Iterator[None]:
    """Turn the exceptions of requests into ours; `place` tells where it was asking when one came.

    Raises:
        ServiceAway: no connection; there may be one later.
        AnswerLost: a connection, and no answer.
        WrongServer: an answer that stays wrong however often one asks.
    """
    try:
        yield
    except (TimeoutError, requests.Timeout) as error:
        kind = ServiceAway if isinstance(error, requests.ConnectTimeout) else AnswerLost
        raise kind(f"{place()}: no answer within {timeout_s:g} s") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        causes = list(_causes(error))
        wrong = next(filter(None, map(_wrong, causes)), "")
        if wrong:
            raise WrongServer(f"{place()}: {wrong}") from error
        away = next(filter(None, map(_away, causes)), f"the connection broke ({type(error).__name__})")
        kind = ServiceAway if any(isinstance(cause, _UNSENT) for cause in causes) else AnswerLost
        raise kind(f"{place()}: {away}") from error


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
