"""In which order messages go out, on a channel that only notes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cluster.queue.publishing.confirms import SURELY_TAKEN_BYTES, Target
from cluster.queue.publishing.items import Position
from cluster.queue.publishing.sender import Sender
from cluster.queue.publishing.sources import listed


class Channel:
    """A channel, and the connection it is on."""

    def __init__(self) -> None:
        self.connection = self
        self.sizes: list[int] = []

    @contextmanager
    def batching(self) -> Iterator[None]:
        yield

    def basic_publish(self, _exchange: str, _queue: str, body: bytes, *_: Any) -> None:
        self.sizes.append(len(body))


def test_what_may_be_too_large_goes_alone_until_the_broker_has_taken_as_much() -> None:
    large = SURELY_TAKEN_BYTES + 1
    bodies = [b"x" * size for size in (1, 2, SURELY_TAKEN_BYTES, large, 3, large, 4)]
    ends: list[bool] = []
    out = Sender(listed(bodies, "list"), Target("amqp://", "q"), Position(), None, lambda: ends.append(True))
    channel = Channel()
    out.use(channel)
    assert channel.sizes == [1, 2, SURELY_TAKEN_BYTES]
    assert out.position().line == 1
    out.window.settled(2, True, True)
    out.fill()
    assert channel.sizes == [1, 2, SURELY_TAKEN_BYTES]
    out.window.settled(3, False, True)
    assert out.position().line == 4
    out.fill()
    assert channel.sizes[3:] == [large, 3]
    out.window.settled(4, False, True)
    out.fill()
    assert channel.sizes[5:] == [large, 4]
    out.window.settled(7, True, True)
    out.fill()
    assert ends == [True]
