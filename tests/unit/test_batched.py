"""Frames that go to the socket together."""

from __future__ import annotations

from collections.abc import Iterator

import pika
import pytest
from pika.adapters.select_connection import IOLoop

from scripts.amqp.batched import SEGMENT_BYTES, BatchedConnection


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What reaches pika's own adapter."""
    writes: list[bytes] = []
    monkeypatch.setattr(pika.SelectConnection, "_adapter_emit_data", lambda self, data: writes.append(data))
    return writes


@pytest.fixture
def loop() -> Iterator[IOLoop]:
    one = IOLoop()
    yield one
    one.close()


@pytest.fixture
def connection(loop: IOLoop) -> BatchedConnection:
    """One that does not connect."""
    one = BatchedConnection(pika.ConnectionParameters(), custom_ioloop=loop, internal_connection_workflow=False)
    one._set_connection_state(one.CONNECTION_OPEN)
    return one


def emit(connection: BatchedConnection, *frames: bytes) -> None:
    connection._output_marshaled_frames(frames)


def a_turn(loop: IOLoop) -> None:
    loop.call_later(0, loop.stop)
    loop.start()


def test_frames_of_one_turn_go_out_together_and_in_order(
    loop: IOLoop, connection: BatchedConnection, sent: list[bytes]
) -> None:
    emit(connection, b"one", b"two")
    emit(connection, b"three")
    assert sent == []
    a_turn(loop)
    assert sent == [b"onetwothree"]
    emit(connection, b"four")
    a_turn(loop)
    assert sent == [b"onetwothree", b"four"]


def test_a_segment_does_not_wait(loop: IOLoop, connection: BatchedConnection, sent: list[bytes]) -> None:
    emit(connection, b"small", b"x" * SEGMENT_BYTES, b"next")
    assert sent == [b"small" + b"x" * SEGMENT_BYTES]
    a_turn(loop)
    assert sent[1:] == [b"next"]


def test_what_was_written_before_the_end_goes_out(
    connection: BatchedConnection, sent: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pika.SelectConnection, "_adapter_disconnect_stream", lambda self: sent.append(b"the end"))
    emit(connection, b"close")
    connection._adapter_disconnect_stream()
    assert sent == [b"close", b"the end"]


def test_what_a_connection_held_when_it_was_lost_is_dropped(
    loop: IOLoop, connection: BatchedConnection, sent: list[bytes]
) -> None:
    emit(connection, b"one")
    connection._set_connection_state(connection.CONNECTION_CLOSED)
    a_turn(loop)
    assert sent == []
