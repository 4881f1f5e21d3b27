"""The broker's URL, with credentials, and the failures of connections in one line.

All that takes a URL raises ClusterError where it is none, or where a file that it needs cannot be used.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectionWorkflowFailed, AMQPConnectorException
from pika.exceptions import AMQPChannelError, AMQPConnectionError, ChannelClosedByBroker, ConnectionClosedByBroker

from scripts.address_file import address_in
from scripts.errors import ClusterError, ServiceAway
from scripts.hostport import HostPort
from scripts.password_file import secret_of

# RabbitMQ proposes 60 s and drops a peer after two missed beats; the client's own value wins where it is smaller.
HEARTBEAT_S = 30
# A memory or disk alarm blocks publishing connections for as long as it lasts; pika would wait for ever.
BLOCKED_TIMEOUT_S = 300
CONNECT_TIMEOUT_S = 10

_PORTS = {"amqp": 5672, "amqps": 5671}

# https://www.rabbitmq.com/docs/uri-query-parameters
_TLS_PARAMETERS = ("cacertfile", "certfile", "keyfile", "verify", "server_name_indication")

# OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH.
_FOR_ANOTHER = (62, 64)

_VERIFY = {"verify_peer": ssl.CERT_REQUIRED, "verify_none": ssl.CERT_NONE}

# What may be shown though it is no URL of a broker, since there is no room for a password in it.
_HARMLESS = re.compile(r"(?:[a-z]+://)?[\w.-]*(?::\d{1,5})?/?", re.ASCII)

# Never in the environment of an action.
SECRET_VARIABLES = ("AMQP_USER", "AMQP_PASSWORD", "AMQP_PASSWORD_FILE")


def parameters(url: str, environ: Mapping[str, str] = os.environ) -> pika.URLParameters:
    """Read `amqp://[user[:password]@]host[:port][/vhost][?name=value&...]` (or amqps) with this project's timeouts.

    Without credentials (see `credentials`) the user is RabbitMQ's own default, guest. The names are pika's and
    those of RabbitMQ's own URLs for TLS.
    """
    parts = _parts(url)
    user, password = credentials(url, environ)
    query = parse_qsl(parts.query, keep_blank_values=True)
    virtual_host = parts.path[1:]
    if "/" in virtual_host:  # pika would cut it to another one without a word
        meant = "leave it out for the virtual host /" if virtual_host == "/" else "write a / in its name as %2F"
        raise ClusterError(f"{redacted(url)!r}: {virtual_host!r} is no virtual host in a URL: {meant}")
    for_tls = {name: value for name, value in query if name in _TLS_PARAMETERS}
    if for_tls and (parts.scheme != "amqps" or "ssl_options" in dict(query)):
        raise ClusterError(
            f"?{next(iter(for_tls))}= in the broker's URL needs amqps://, and no ?ssl_options= beside it"
        )
    rest = urlencode([(name, value) for name, value in query if name not in for_tls])
    try:
        found = pika.URLParameters(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=rest).geturl())
    except (ValueError, TypeError, SyntaxError, AttributeError, OSError) as error:  # of what it makes of the query
        raise ClusterError(f"{redacted(url)!r} is not a broker's URL: {error}") from error
    if for_tls:
        found.ssl_options = _tls_options(for_tls)
    found.credentials = pika.PlainCredentials(user or "guest", password or "guest", erase_on_connect=False)
    found.heartbeat = HEARTBEAT_S if found.heartbeat is None else found.heartbeat
    found.blocked_connection_timeout = BLOCKED_TIMEOUT_S
    found.socket_timeout = found.stack_timeout = CONNECT_TIMEOUT_S
    return found


def _tls_options(given: Mapping[str, str]) -> Any:
    """Return pika's TLS options for the parameters of a URL, in the words of RabbitMQ's own URLs."""
    verify = given.get("verify", "verify_peer")
    if verify not in _VERIFY:
        raise ClusterError(f"?verify={verify} in the broker's URL: it is one of {', '.join(_VERIFY)}")
    if "keyfile" in given and "certfile" not in given:
        raise ClusterError("?keyfile= in the broker's URL needs ?certfile=, the client's certificate")
    context = ssl.create_default_context()
    if verify == "verify_none":
        context.check_hostname = False
    context.verify_mode = _VERIFY[verify]
    loads: dict[str, Callable[[str], None]] = {
        "cacertfile": context.load_verify_locations,
        # Without a password OpenSSL would ask the terminal for that of an encrypted key.
        "certfile": lambda path: context.load_cert_chain(path, given.get("keyfile"), ""),
    }
    for parameter in [name for name in loads if name in given]:
        try:
            loads[parameter](given[parameter])
        except OSError as error:
            wanted = "certificates" if parameter == "cacertfile" else "a certificate and its key, not encrypted"
            no_pem = f"no PEM file with {wanted}" if isinstance(error, ssl.SSLError) else ""
            problem = no_pem or (error.strerror or str(error)).lower()
            raise ClusterError(f"?{parameter}={given[parameter]} in the broker's URL: {problem}") from error
    return pika.SSLOptions(context, given.get("server_name_indication"))


def credentials(url: str, environ: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """Return user and password, each of the URL, else of AMQP_USER and AMQP_PASSWORD(_FILE), else empty.

    An empty URL has neither.
    """
    parts = _parts(url) if url else urlsplit("")
    user = unquote(parts.username or "") or environ.get("AMQP_USER", "")
    given = unquote(parts.password) if parts.password is not None else secret_of("AMQP_PASSWORD", environ)
    return user, given or ""


def located(given: str) -> str:
    """Return a URL that was given itself, or as `@FILE`: read anew each time, which may block."""
    url = address_in(given)
    try:
        parameters(url)
    except ClusterError as error:
        raise ClusterError(f"{given[1:]}: {error}" if url != given else str(error)) from error
    return url


def without_login(url: str) -> str:
    """Return the URL without user and password, for programs."""
    parts = _parts(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def redacted(url: str) -> str:
    """Return the URL for people and logs: without user and password, nor a query that has a key's password."""
    shown = without_login(url)
    return shown.partition("?")[0] if "password" in unquote(shown).lower() else shown


def address(url: str) -> HostPort:
    """Return the broker's host and port."""
    parts = _parts(url)
    return HostPort(parts.hostname or "", parts.port or _PORTS[parts.scheme])


def _parts(url: str) -> SplitResult:
    """Split an AMQP URL; what cannot be parsed is not shown.

    A `/`, `?` or `#` in a password ends the host for a parser, and the rest of the password, with its `@`, becomes the
    path: so an `@` there is refused, too.
    """
    try:
        parts = urlsplit(url)
        readable = bool(parts.scheme in _PORTS and parts.hostname and parts.port != 0)
    except ValueError:
        readable = False
    if readable and url.isprintable() and not parts.fragment and "@" not in parts.path + parts.query:
        return parts
    if _HARMLESS.fullmatch(url):
        raise ClusterError(f"{url!r} is not a broker's URL: write it as amqp://HOST:PORT")
    raise ClusterError(
        "what was given is not a broker's URL, and is not shown, since a password may be in it: write it as "
        "amqp://USER:PASSWORD@HOST:PORT/VHOST, with / ? # [ ] @ % within a part as %2F %3F %23 %5B %5D %40 %25, "
        "or leave the password out and set AMQP_PASSWORD_FILE"
    )


def identity(url: str) -> str:
    """Return the URL of a broker and virtual host in one way of writing, without credentials."""
    found = parameters(url)
    secure = "s" if found.ssl_options else ""
    place = url_of(found.host, found.port).replace("amqp", f"amqp{secure}", 1)
    return place if found.virtual_host == "/" else f"{place}/{quote(found.virtual_host, safe='')}"


def url_of(host: str, port: int) -> str:
    """Return an amqp:// URL without credentials."""
    return f"amqp://{quote(str(HostPort(host, port)), safe='[]:.%')}"


def explain(error: BaseException | None) -> str:
    """Explain a pika failure in a few words for a person."""
    while cause := _cause(error):
        error = cause
    if isinstance(error, ConnectionClosedByBroker | ChannelClosedByBroker):
        return f"{error.reply_text} ({error.reply_code})"
    if problem := _tls_problem(error):
        return problem
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    name = type(error).__name__
    return _MEANINGS.get(name) or (f"{name}: {error}" if str(error) else name)


def _cause(error: BaseException | None) -> BaseException | None:
    if isinstance(error, AMQPConnectionWorkflowFailed) and error.exceptions:
        return error.exceptions[-1]  # type: ignore[no-any-return]
    cause = getattr(error, "exception", None)
    if cause is None and isinstance(error, AMQPConnectionError) and error.args:
        cause = error.args[0]
    return cause if isinstance(cause, BaseException) else None


def _tls_problem(error: BaseException | None) -> str:
    """Explain a failure of TLS in a few words for a person; empty for a failure that is not known."""
    if isinstance(error, ssl.SSLCertVerificationError):
        mend = "cacertfile=FILE in the URL names its CA"
        if error.verify_code in _FOR_ANOTHER:
            mend = "server_name_indication=NAME in the URL says for whom it is"
        return f"its certificate is not trusted ({error.verify_message.rstrip('.')}): ?{mend}"
    # A demand is met after the handshake, where pika keeps the text alone (TLS 1.3; a handshake failure before).
    if "ALERT_CERTIFICATE_REQUIRED" in str(error) or "ALERT_HANDSHAKE_FAILURE" in str(error):
        return "it demands a client certificate: ?certfile=FILE&keyfile=FILE in the URL"
    return "what answers there does not speak TLS" if "WRONG_VERSION_NUMBER" in str(error) else ""


_OF_THE_LOGIN = ("it refuses this user and password", "it refuses this user on this virtual host")

_MEANINGS = {
    "ProbableAuthenticationError": _OF_THE_LOGIN[0],
    "AuthenticationError": _OF_THE_LOGIN[0],
    "ProbableAccessDeniedError": _OF_THE_LOGIN[1],
    # All that pika tells of an end before the first answer: so does what forwards to a broker that is not up yet.
    "IncompatibleProtocolError": "it takes connections and closes them: it is starting, or does not speak AMQP 0-9-1",
    "AMQPConnectorStackTimeout": "what answers there does not speak AMQP in time",
    "ConnectionOpenAborted": "what answers there does not speak AMQP in time",
    "AMQPConnectorSocketConnectError": "no connection",
    "StreamLostError": "the connection was lost",
    "AMQPHeartbeatTimeout": "the broker sent no heartbeat",
    "ConnectionBlockedTimeout": f"the broker has been short of memory or disk for {BLOCKED_TIMEOUT_S} s",
}


@contextmanager
def broker_errors(url: str) -> Iterator[None]:
    """Turn pika's exceptions into ServiceAway (no connection) and ClusterError (a refusal)."""
    place = redacted(url)
    try:
        yield
    except (AMQPConnectionError, AMQPConnectorException, OSError) as error:
        why = explain(error)
        remedy = "start one with ./inv queue.run-local or name it with -u"
        if why in _OF_THE_LOGIN:
            remedy = "give its user and password in AMQP_USER and AMQP_PASSWORD_FILE"
        raise ServiceAway(f"no broker at {place}: {why}; {remedy}") from error
    except AMQPChannelError as error:
        raise ClusterError(f"the broker at {place} refused: {explain(error)}") from error


def error_of(url: str, reason: BaseException) -> ClusterError:
    """Return the error that `broker_errors` makes of why there is no connection; what it does not know is raised."""
    try:
        with broker_errors(url):
            raise reason
    except ClusterError as error:
        return error


def open_blocking(url: str) -> Any:
    """Open a pika BlockingConnection, for short questions only: it beats no heart while the caller is busy."""
    with broker_errors(url):
        return pika.BlockingConnection(parameters(url))
