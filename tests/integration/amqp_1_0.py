"""As much of AMQP 1.0 as it takes to publish what RabbitMQ cannot deliver over 0-9-1."""

from __future__ import annotations

import socket
import struct
import uuid
from urllib.parse import urlsplit

_NULL, _TRUE, _FALSE = b"\x40", b"\x41", b"\x42"


def publish_undeliverable(url: str, queue: str, body: bytes) -> None:
    """Publish a durable message with an application property of type uuid; returns when the broker has it."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as peer:
        _say(
            peer,
            b"AMQP\x03\x01\x00\x00",
            _frame(1, _described(0x41, _list(_symbol("PLAIN"), _binary(b"\0guest\0guest")))),
        )
        _wait(peer, 0x44)
        target = _described(0x29, _list(_text(f"/queues/{queue}")))
        attach = [
            _text("link"),
            _uint(0),
            _FALSE,
            _NULL,
            _NULL,
            _described(0x28, _list()),
            target,
            _NULL,
            _NULL,
            _uint(0),
        ]
        _say(
            peer,
            b"AMQP\x00\x01\x00\x00",
            _frame(0, _described(0x10, _list(_text("test")))),
            _frame(0, _described(0x11, _list(_NULL, _uint(0), _uint(100), _uint(100)))),
            _frame(0, _described(0x12, _list(*attach))),
        )
        _wait(peer, 0x13)
        properties = _sized(b"\xd1", [_text("id"), b"\x98" + uuid.uuid4().bytes])
        message = _described(0x70, _list(_TRUE)) + _described(0x74, properties) + _described(0x75, _binary(body))
        transfer = _described(0x14, _list(_uint(0), _uint(0), _binary(b"1"), _uint(0), _FALSE))
        _say(peer, _frame(0, transfer + message))
        _wait(peer, 0x15)


def _say(peer: socket.socket, *frames: bytes) -> None:
    peer.sendall(b"".join(frames))


def _wait(peer: socket.socket, wanted: int) -> None:
    """Read frames up to one of this kind."""
    while True:
        head = _read(peer, 8)
        if head.startswith(b"AMQP"):
            continue
        frame = _read(peer, struct.unpack(">I", head[:4])[0] - 8)
        if frame and frame[2] == wanted:
            return


def _read(peer: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = peer.recv(size - len(found))
        assert more, "the broker has closed the connection"
        found += more
    return found


def _frame(kind: int, content: bytes) -> bytes:
    return struct.pack(">IBBH", len(content) + 8, 2, kind, 0) + content


def _described(code: int, value: bytes) -> bytes:
    return b"\x00\x53" + bytes([code]) + value


def _list(*items: bytes) -> bytes:
    return _sized(b"\xd0", list(items))


def _sized(constructor: bytes, items: list[bytes]) -> bytes:
    content = b"".join(items)
    return constructor + struct.pack(">II", len(content) + 4, len(items)) + content


def _text(text: str) -> bytes:
    return b"\xa1" + bytes([len(text)]) + text.encode()


def _symbol(text: str) -> bytes:
    return b"\xa3" + bytes([len(text)]) + text.encode()


def _binary(data: bytes) -> bytes:
    return b"\xa0" + bytes([len(data)]) + data


def _uint(number: int) -> bytes:
    return b"\x70" + struct.pack(">I", number)
