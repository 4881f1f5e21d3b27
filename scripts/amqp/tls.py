"""The TLS parameters of a broker's URL, in the words of RabbitMQ's own URLs."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any

import pika

from scripts.errors import ClusterError

# https://www.rabbitmq.com/docs/uri-query-parameters
PARAMETERS = ("cacertfile", "certfile", "keyfile", "verify", "server_name_indication")

# OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH.
_FOR_ANOTHER = (62, 64)

_VERIFY = {"verify_peer": ssl.CERT_REQUIRED, "verify_none": ssl.CERT_NONE}


def options(given: Mapping[str, str]) -> Any:
    """Return pika's TLS options for these parameters; without any the system's CAs and the URL's host count."""
    verify = given.get("verify", "verify_peer")
    if verify not in _VERIFY:
        raise ClusterError(f"?verify={verify} in the broker's URL: it is one of {', '.join(_VERIFY)}")
    if "keyfile" in given and "certfile" not in given:
        raise ClusterError("?keyfile= in the broker's URL needs ?certfile=, the client's certificate")
    context = ssl.create_default_context()
    if verify == "verify_none":
        context.check_hostname = False
    context.verify_mode = _VERIFY[verify]
    if "cacertfile" in given:
        _loaded("cacertfile", given["cacertfile"], lambda: context.load_verify_locations(given["cacertfile"]))
    if "certfile" in given:
        # Without a password OpenSSL would ask the terminal for that of an encrypted key.
        certificate = given["certfile"], given.get("keyfile"), ""
        _loaded("certfile", given["certfile"], lambda: context.load_cert_chain(*certificate))
    return pika.SSLOptions(context, given.get("server_name_indication"))


def _loaded(parameter: str, path: str, load: Callable[[], None]) -> None:
    try:
        load()
    except ssl.SSLError as error:
        wanted = "certificates" if parameter == "cacertfile" else "a certificate and its key, not encrypted"
        raise ClusterError(f"?{parameter}={path} in the broker's URL: no PEM file with {wanted}") from error
    except OSError as error:
        raise ClusterError(
            f"?{parameter}={path} in the broker's URL: {(error.strerror or str(error)).lower()}"
        ) from error


def problem(error: BaseException | None) -> str:
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
