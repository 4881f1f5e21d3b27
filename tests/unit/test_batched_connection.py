from collections.abc import Iterator

import pika
import pytest
from pika.adapters.select_connection import IOLoop

from cluster.queue.publishing.confirms import SEGMENT_BYTES, BatchedConnection


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What reaches pika's own adapter."""
    writes: list[bytes] = []
    monkeypatch.setattr(pika.SelectConnection, "_adapter_emit_data", lambda self, data: writes.append(data))
    return writes


@pytest.fixture
def connection() -> Iterator[BatchedConnection]:
    """One that does not connect."""
    loop = IOLoop()
    connection = BatchedConnection(pika.ConnectionParameters(), custom_ioloop=loop, internal_connection_workflow=False)
    connection._set_connection_state(connection.CONNECTION_OPEN)
    yield connection
    loop.close()


def emit(connection: BatchedConnection, *frames: bytes) -> None:
    connection._output_marshaled_frames(frames)


def test_a_frame_goes_out_at_once(connection: BatchedConnection, sent: list[bytes]) -> None:
    emit(connection, b"one", b"two")
    assert sent == [b"one", b"two"]


def test_batched_frames_go_out_together_and_in_order(connection: BatchedConnection, sent: list[bytes]) -> None:
    with connection.batching():
        emit(connection, b"one", b"two")
        emit(connection, b"three")
        assert sent == []
    assert sent == [b"onetwothree"]
    emit(connection, b"four")
    assert sent == [b"onetwothree", b"four"]


def test_a_segment_does_not_wait(connection: BatchedConnection, sent: list[bytes]) -> None:
    with connection.batching():
        emit(connection, b"small", b"x" * SEGMENT_BYTES)
        assert sent == [b"small" + b"x" * SEGMENT_BYTES]
    assert len(sent) == 1


def test_what_a_connection_held_when_it_closed_is_dropped(connection: BatchedConnection, sent: list[bytes]) -> None:
    with connection.batching():
        emit(connection, b"one")
        connection._set_connection_state(connection.CONNECTION_CLOSED)
    connection._set_connection_state(connection.CONNECTION_OPEN)
    emit(connection, b"two")
    assert sent == [b"two"]
