"""The way back from a failed queue: a copy of each message on the work queue, then the original is taken out."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from cluster.queue.failures import Selection, failure_of
from cluster.queue.held import Delivered, Held
from cluster.queue.publishing.items import Item, Position
from cluster.queue.publishing.link import Target
from cluster.queue.publishing.publisher import Watch, publish
from cluster.queue.publishing.sources import Source
from scripts.worker import headers

_WAIT_S = 0.005


class Copies:
    """The copies that are on their way, each known by its place among all that are sent."""

    def __init__(self, held: Held, selection: Selection) -> None:
        self._held, self._selection = held, selection
        self._open: deque[tuple[int, int]] = deque()
        self._properties: dict[int, Any] = {}

    def start(self, at: Position) -> Iterator[Item | None]:
        """Yield those that are meant, as they come."""
        place = at.offset
        for one in self._held.messages(_WAIT_S):
            if one is None:
                yield None
            elif self._selection.meets(failure_of(one.properties, len(one.body), self._held.name)):
                self._open.append((place, one.tag))
                self._properties[place] = self._copied(one)
                yield Item(one.body, place, place + 1, place + 1, place + 2, place + 1)
                place += 1

    def _copied(self, one: Delivered) -> Any:
        """Return the properties of a message that begins anew, as when a worker takes it from the failed queue."""
        again = {headers.ATTEMPT: None, headers.ALONE: None} | headers.first_published(one.properties)
        name = self._held.name
        properties = headers.copy_properties(one.properties, name, name, again)
        properties.message_id = properties.message_id or str(uuid.uuid4())
        return headers.fit(properties)

    def properties_of(self, item: Item) -> Any:
        """Return the properties of a copy."""
        return self._properties[item.offset]

    def places_of(self, message_id: Any) -> list[int]:
        """Return the places of the copies with this id that are on their way."""
        return [place for place, one in self._properties.items() if one.message_id == message_id]

    def confirmed(self, position: Position) -> None:
        """Take out what has a copy that is safe: all before this place."""
        tags = []
        while self._open and self._open[0][0] < position.offset:
            place, tag = self._open.popleft()
            del self._properties[place]
            tags.append(tag)
        self._held.take_out(tags)
        if not tags:
            self._held.beat()


def put_back(
    held: Held, target: Target, selection: Selection, say: Callable[[str], None], progress: Callable[[int], None]
) -> None:  # fmt: skip
    """Move the messages that are meant to the target's queue; `held.out` is how many.

    When it is interrupted, each is in one of the two queues, or in both, with the same id.
    """
    copies = Copies(held, selection)
    source = Source(
        f"the failed messages in {held.name!r}", copies.start, lambda place: f"message {place:,}",
        properties=copies.properties_of, places_of=copies.places_of,
    )  # fmt: skip
    publish(source, target, Watch(say, progress, copies.confirmed))
