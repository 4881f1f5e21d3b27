"""Pulls of images from a registry, by the engine of this machine or of a host."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from cluster.engine import TIMEOUT_S, sdk
from cluster.engine.errors import problem_of, words_of


class NotPulled(Exception):
    """The engine's words for why it could not pull an image."""


def pull(
    client: Any, image: str, login: Mapping[str, str] | None = None, *, silence_s: float = TIMEOUT_S,
    show: Callable[[str], None] = lambda now: None,
) -> int:  # fmt: skip
    """Pull an image and return how many bytes came. `show` gets its progress.

    The SDK's own pull waits for ever for a registry that says nothing.

    Raises:
        NotPulled: the engine could not.
        Exception: as `raised_by_sdk`; it does not answer, or has said nothing for `silence_s`.
    """
    api, progress = client.api, Progress()
    repository, tag = sdk.utils.parse_repository_tag(image)
    parameters = {"fromImage": repository, "tag": tag or "latest"}
    headers = {"X-Registry-Auth": sdk.auth.encode_header(login)} if login else {}
    url = api._url("/images/create")
    with api.post(url, params=parameters, headers=headers, stream=True, timeout=silence_s) as answer:
        try:
            api._raise_for_status(answer)
        except sdk.errors.APIError as error:
            raise NotPulled(words_of(error)) from error
        for event in events(answer.iter_lines()):
            if problem := problem_of(event):
                raise NotPulled(problem)
            progress.note(event)
            show(str(progress))
    return progress.received


def events(lines: Iterable[bytes | str]) -> Iterator[dict[str, Any]]:
    """Read the events of an engine's answer, one a line."""
    return (json.loads(line) for line in lines if line.strip())


class Progress:
    """Progress of a pull, by the bytes of its layers that have come, such as `12 of 120 MB`."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}

    def note(self, event: Mapping[str, Any]) -> None:
        """Count an event of the pull; unpacking would count the same bytes again."""
        detail, layer = event.get("progressDetail") or {}, event.get("id", "")
        if event.get("status") == "Downloading" and detail.get("total"):
            self._layers[layer] = (detail.get("current", 0), detail["total"])
        elif event.get("status") == "Download complete" and layer in self._layers:
            total = self._layers[layer][1]
            self._layers[layer] = (total, total)

    @property
    def received(self) -> int:
        """Bytes that came."""
        return sum(came for came, _ in self._layers.values())

    def __str__(self) -> str:
        total = sum(size for _, size in self._layers.values())
        if not total:
            return "asks the registry"
        if self.received >= total:
            return f"{total / 1e6:,.0f} MB came, unpacks"
        return f"{self.received / 1e6:,.0f} of {total / 1e6:,.0f} MB"
