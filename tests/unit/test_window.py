"""What is in flight: every message is confirmed, open, or given up, and none is two of these."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cluster.queue.publishing.items import Item, Position
from cluster.queue.publishing.link import SURELY_TAKEN_BYTES, Target
from cluster.queue.publishing.sender import Sender, Window
from cluster.queue.publishing.sources import Source
from scripts.errors import ClusterError


def item(number: int, size: int = 1) -> Item:
    return Item(b"x" * size, number, number + 1, number + 1, number + 2, number + 1)


def filled(count: int) -> Window:
    window = Window()
    for number in range(count):
        window.sent(item(number))
    return window


class Model(RuleBasedStateMachine):
    """Sends, and lets the broker do whatever it may; beside it a plain record of each message's fate."""

    def __init__(self) -> None:
        super().__init__()
        self.window = Window(messages=10)
        self.tags: dict[int, Item] = {}
        self.tag = 0
        self.sent: set[int] = set()
        self.returned: set[int] = set()
        self.given_up: set[int] = set()
        self.confirmed: set[int] = set()

    @precondition(lambda self: self.window.has_room())
    @rule()
    def send(self) -> None:
        one = self.window.again.popleft() if self.window.again else item(len(self.sent))
        self.tag += 1
        self.tags[self.tag] = one
        self.sent.add(one.offset)
        self.window.sent(one)

    @precondition(lambda self: self.tags)
    @rule(choose=st.data(), multiple=st.booleans(), accepted=st.booleans())
    def settle(self, choose: st.DataObject, multiple: bool, accepted: bool) -> None:
        tag = choose.draw(st.sampled_from(sorted(self.tags)))
        for known in [known for known in self.tags if known == tag or (multiple and known < tag)]:
            one = self.tags.pop(known)
            if one.offset in self.returned:
                self.given_up.add(one.offset)
            elif accepted:
                self.confirmed.add(one.offset)
        self.window.settled(tag, multiple, accepted)

    @precondition(lambda self: self.tags)
    @rule(choose=st.data())
    def give_back(self, choose: st.DataObject) -> None:
        one = self.tags[choose.draw(st.sampled_from(sorted(self.tags)))]
        self.returned.add(one.offset)
        self.window.returned([one.offset])

    @rule()
    def lose(self) -> None:
        self.tags.clear()
        self.returned.clear()
        self.tag = 0
        self.window.channel_lost()

    @invariant()
    def nothing_is_lost(self) -> None:
        first = self.window.first_open()
        assert (first.offset if first else None) == min(self.sent - self.confirmed, default=None)
        assert self.window.confirmed == self.window.confirmed_bytes == len(self.confirmed)
        assert {one.offset for one in self.window.given_up} == self.given_up
        assert len(self.window) == len(self.tags) <= 10


test_nothing_gets_lost_whatever_the_broker_does = Model.TestCase


def test_what_a_lost_channel_left_open_goes_first_and_in_order() -> None:
    window = filled(4)
    window.settled(2, multiple=False, accepted=False)
    window.settled(1, multiple=False, accepted=True)
    window.channel_lost()
    assert [one.offset for one in window.again] == [2, 3, 1]
    window.sent(window.again.popleft())
    window.settled(1, multiple=True, accepted=True)
    assert window.confirmed == 2


def test_large_bodies_fill_it_by_their_bytes() -> None:
    window = Window(messages=100, size_bytes=50)
    window.sent(item(0, 49))
    assert window.has_room()
    assert not window.is_low()
    window.sent(item(1, 1000))
    assert not window.has_room()
    window.settled(2, multiple=True, accepted=True)
    assert window.has_room()
    assert window.is_low()


def test_what_comes_after_a_refused_one_is_given_up() -> None:
    window = filled(4)
    window.channel_lost()
    window.give_up_from(item(2))
    assert [one.offset for one in window.again] == [0, 1]
    assert [one.offset for one in window.given_up] == [2, 3]
    window.again.clear()
    first = window.first_open()
    assert first is not None
    assert first.offset == 2


class NotingChannel:
    """A channel that notes the sizes of what is published."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def basic_publish(self, _exchange: str, _queue: str, body: bytes, *_: Any) -> None:
        self.sizes.append(len(body))


def sender(bodies: Iterable[bytes], done: Callable[[], None] = lambda: None) -> Sender:
    items = (item(number)._replace(body=body) for number, body in enumerate(bodies))
    source = Source("list", lambda at: items, lambda line: f"message {line:,}")
    return Sender(source, Target("amqp://", "q"), Position(), None, done)


def test_what_may_be_too_large_goes_alone_until_the_broker_has_taken_as_much() -> None:
    large = SURELY_TAKEN_BYTES + 1
    bodies = [b"x" * size for size in (1, 2, SURELY_TAKEN_BYTES, large, 3, large, 4)]
    ends: list[bool] = []
    out = sender(bodies, lambda: ends.append(True))
    channel = NotingChannel()
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
    out.use(NotingChannel())
    assert (out.is_over, str(out.error), out.position()) == (True, "gone", Position())
    out.window.settled(1, False, True)
    assert out.progress() == "; confirmed: 1, first not confirmed: message 2"
    out.window.settled(2, False, True)
    assert out.position() == Position(2, 3, 3)


def test_what_comes_after_the_end_that_was_set_is_not_taken() -> None:
    out, channel = sender([b"a", b"b"]), NotingChannel()
    out.end_before(None)
    out.use(channel)
    assert (channel.sizes, out.position()) == ([], Position())
