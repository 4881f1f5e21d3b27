"""In which order messages go out, on a channel that only notes them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from cluster.queue.publishing.confirms import SURELY_TAKEN_BYTES, Target
from cluster.queue.publishing.items import Position
from cluster.queue.publishing.sender import Sender
from cluster.queue.publishing.sources import listed
from scripts.errors import ClusterError


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


def sender(bodies: Iterable[bytes], done: Callable[[], None] = lambda: None) -> Sender:
    return Sender(listed(bodies, "list"), Target("amqp://", "q"), Position(), None, done)


def test_what_may_be_too_large_goes_alone_until_the_broker_has_taken_as_much() -> None:
    large = SURELY_TAKEN_BYTES + 1
    bodies = [b"x" * size for size in (1, 2, SURELY_TAKEN_BYTES, large, 3, large, 4)]
    ends: list[bool] = []
    out = sender(bodies, lambda: ends.append(True))
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


def test_a_source_that_fails_ends_there_and_what_was_not_confirmed_is_named() -> None:
    def failing() -> Iterator[bytes]:
        yield b"a"
        yield b"b"
        raise ClusterError("gone")

    out = sender(failing())
    assert out.progress() == ""
    out.use(Channel())
    assert (out.is_over, str(out.error), out.position()) == (True, "gone", Position())
    out.window.settled(1, False, True)
    assert out.progress() == "; confirmed: 1, first not confirmed: message 2"
    out.window.settled(2, False, True)
    assert out.position() == Position(2, 3, 3)


def test_what_comes_after_the_end_that_was_set_is_not_taken() -> None:
    out, channel = sender([b"a", b"b"]), Channel()
    out.end_before(None)
    out.use(channel)
    assert (channel.sizes, out.position()) == ([], Position())
