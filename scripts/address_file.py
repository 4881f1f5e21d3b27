"""Addresses that stand in a file, given as `@FILE`: who moves a service replaces its file, whole."""

from __future__ import annotations

from pathlib import Path

from scripts.errors import ServiceAway

_MOST_BYTES = 4096


def address_in(given: str) -> str:
    """Return an address as it was given; for `@FILE` the text of this file as it is now. Blocks: the file may be far.

    Raises:
        ServiceAway: there is none in the file now; the service may be about to start.
    """
    if not given.startswith("@"):
        return given
    path = given[1:]
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MOST_BYTES)
    except (OSError, ValueError) as error:
        raise _none(path, (getattr(error, "strerror", None) or str(error)).lower()) from error
    text = content.decode(errors="backslashreplace").strip()
    if not text or "\n" in text:
        raise _none(path, "it has more than one line" if text else "it is empty")
    return text


def _none(path: str, reason: str) -> ServiceAway:
    return ServiceAway(f"no address in {path}: {reason}; it is written there when the service is up")
