"""Access to Marathon: addresses from the command line, secrets from the environment.

MARATHON_USER, MARATHON_PASSWORD or MARATHON_PASSWORD_FILE      basic authentication
DCOS_ACS_TOKEN or DCOS_ACS_TOKEN_FILE                           a DC/OS token
MARATHON_CA_FILE                                                the certificates that https is checked with
"""

from __future__ import annotations

import re
import ssl
from base64 import b64encode
from collections.abc import Mapping

from scripts.errors import ClusterError
from scripts.hostport import HostPort
from scripts.password_file import secret_of

# Never in the environment of an action.
SECRET_VARIABLES = (
    "MARATHON_USER", "MARATHON_PASSWORD", "MARATHON_PASSWORD_FILE", "DCOS_ACS_TOKEN", "DCOS_ACS_TOKEN_FILE",
)  # fmt: skip

_URL = re.compile(r"(?:(?P<scheme>https?)://)?(?P<place>[^/?#\s]+)(?P<path>(?:/[^/?#\s]+)*)/*")


def addresses(text: str) -> list[str]:
    """Read Marathon's addresses as URLs without a trailing slash.

    Each is `host:port` or a URL, which may have a path (`https://dcos/service/marathon`); commas stand between them.
    """
    return [_address(part.strip()) for part in text.split(",")]


def _address(text: str) -> str:
    if "@" in text:
        raise ClusterError(
            "a user and password in Marathon's address could be read by everyone on this machine: "
            "set MARATHON_USER and MARATHON_PASSWORD_FILE instead"
        )
    if not (match := _URL.fullmatch(text)):
        raise ClusterError(
            f"{text!r} is not Marathon's address: write it as host:port or as a URL, for example 10.0.0.10:8080 or "
            "https://dcos.example/service/marathon"
        )
    scheme, place = match["scheme"], match["place"]
    if scheme and not re.search(r":\d*$", place):
        place += ":443" if scheme == "https" else ":80"
    return f"{scheme or 'http'}://{HostPort.parse(place)}{match['path']}"


def authorization(environ: Mapping[str, str]) -> str:
    """Return the value of the Authorization header, empty when the environment has no credentials."""
    user, password = environ.get("MARATHON_USER", ""), secret_of("MARATHON_PASSWORD", environ)
    if user:
        if password is None or ":" in user:
            raise ClusterError(
                "MARATHON_USER: set MARATHON_PASSWORD or MARATHON_PASSWORD_FILE too; a user has no colon"
            )
        return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
    if password is not None:
        raise ClusterError("a password for Marathon without a user: set MARATHON_USER too")
    token = secret_of("DCOS_ACS_TOKEN", environ)
    if token and not re.fullmatch("[!-~]+", token):
        raise ClusterError("DCOS_ACS_TOKEN: this is no token: it has spaces, line ends or letters beyond ASCII")
    return f"token={token}" if token else ""


def ca_file(path: str, environ: Mapping[str, str]) -> str:
    """Return the file with the certificates to trust; empty means the system's."""
    found = path or environ.get("MARATHON_CA_FILE", "")
    if not found:
        return ""
    try:
        ssl.create_default_context(cafile=found)
    except OSError as error:
        problem = "no certificates (PEM) in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise ClusterError(f"{found}: {problem}; give the file of the CA that Marathon uses") from error
    return found
