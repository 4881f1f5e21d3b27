"""Errors of the Docker Engine and its SDK, as one line with a next step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cluster.engine import sdk
from scripts.errors import ClusterError, ServiceAway

# The engine's words are all there is: it answers 500 to each of these.
_PORT_TAKEN = ("port is already allocated", "address already in use")
_ADDRESS = re.compile(r"(?:\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]*\]):(\d{1,5})")
_FULL = "no space left on device"


def raised_by_sdk() -> tuple[type[Exception], ...]:
    """Return what the SDK raises for an engine that refuses something or is away."""
    import requests
    import urllib3

    return (sdk.errors.DockerException, requests.RequestException, urllib3.exceptions.HTTPError)


def explained(
    doing: str, error: Exception, port_holder: Callable[[int], str], data_folder: Callable[[], str],
    machine: str = "this machine",
) -> ClusterError:  # fmt: skip
    """Return the one-line error for an exception of the SDK.

    Only some errors need to know who holds a port, and where the engine of `machine` keeps its data.
    """
    import requests

    words = words_of(error)
    lower = words.lower()
    if any(phrase in lower for phrase in _PORT_TAKEN):
        return ClusterError(f"{doing}: {_port_taken(words, port_holder, machine)}")
    if _FULL in lower:
        # The path in the engine's words is one of the image, so it tells nothing.
        return ClusterError(
            f"{doing}: the disk is full where the Docker Engine keeps its data, {data_folder() or 'its data folder'}: "
            "docker system df shows what takes the room"
        )
    if isinstance(error, sdk.errors.ImageNotFound):
        return ClusterError(f"{doing}: {words}: build it first (./inv queue.build or ./inv worker.build)")
    if is_silence(error):
        return ServiceAway(f"{doing}: the Docker Engine did not answer in time: is {machine} overloaded? try again")
    if isinstance(error, requests.ConnectionError):
        return ServiceAway(f"{doing}: the Docker Engine went away ({reason(error)}): see its log, then try again")
    return ClusterError(f"{doing}: {words}")


def reason(error: BaseException) -> str:
    """Return the system's words for what is behind an exception, else its own, in one line."""
    for cause in causes(error):
        if isinstance(cause, OSError) and isinstance(cause.strerror, str):
            return f"{cause.strerror}: {cause.filename}" if isinstance(cause.filename, str) else cause.strerror
    return words_of(error)


def problem_of(event: Mapping[str, Any]) -> str:
    """Return the error in an event of a build, push or pull, "" for none: the SDK raises none of them."""
    detail = event.get("errorDetail") or {}
    return " ".join(str(detail.get("message") or event.get("error") or "").split())


def is_silence(error: BaseException) -> bool:
    """Tell whether a time limit ended it; in the middle of an answer, requests calls that a ConnectionError."""
    import requests
    import urllib3

    return is_caused_by(error, requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)


def is_caused_by(error: BaseException, *kinds: type[BaseException]) -> bool:
    """Tell whether the exception, or one that it was made from, is of these kinds."""
    return any(isinstance(cause, kinds) for cause in causes(error))


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception and those it was made from; requests and urllib3 keep them in `args`, or in `reason`."""
    yield error
    for cause in (error.__cause__, error.__context__, getattr(error, "reason", None), *error.args):
        if isinstance(cause, BaseException):
            yield from causes(cause)


def words_of(error: BaseException) -> str:
    """Return the engine's words in an error, else the error's own, in one line."""
    explanation = error.explanation if isinstance(error, sdk.errors.APIError) else None
    return " ".join(str(explanation or error).split())


def _port_taken(words: str, port_holder: Callable[[int], str], machine: str) -> str:
    match = _ADDRESS.search(words)
    if not match:
        return words
    port = int(match[1])
    by = port_holder(port) or "another program (as root, ss -ltnp shows which)"
    return f"port {port} of {machine} is in use by {by}: stop it, or set another port in invoke.yaml"
