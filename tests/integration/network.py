"""A stretch of network between worker and broker, which a test can cut, let fall silent, and mend."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from tests.ports import free_port


class Network:
    """Forwards connections to the broker from a port of its own; with `bytes_per_s` slowly, until that is set to 0."""

    def __init__(self, url: str, bytes_per_s: int = 0) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 5672)
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._silent = False
        self.bytes_per_s = bytes_per_s
        self.port = free_port()
        self.url = f"amqp://127.0.0.1:{self.port}"
        self.connections = 0
        # Called with each piece of what the broker says, before it is passed on.
        self.answered: Callable[[], None] = lambda: None

    def up(self) -> None:
        """Accept connections."""
        self._silent = False
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def down(self) -> None:
        """Refuse connections, and break those that there are."""
        if self._listener is not None:
            # close() alone leaves a thread in accept(), which goes on accepting.
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.cut()

    def cut(self) -> None:
        """Break the connections that there are."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for one in pair:
                _break(one)

    def fall_silent(self) -> None:
        """Swallow all that comes on the present connections, as a cable does that was pulled out."""
        self._silent = True

    def close_channels(self, code: int, text: str) -> None:
        """Say to the worker what a broker says that closes its channels (1 to 4)."""
        words = text.encode()
        for channel in range(1, 5):
            arguments = struct.pack(">HHHB", 20, 40, code, len(words)) + words + struct.pack(">HH", 0, 0)
            frame = struct.pack(">BHI", 1, channel, len(arguments)) + arguments + b"\xce"
            with self._lock:
                for near, _ in self._pairs:
                    with suppress(OSError):
                        near.sendall(frame)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            self.connections += 1
            with self._lock:
                self._pairs.append((near, far))
            for source, sink, passing in ((near, far, lambda: None), (far, near, lambda: self.answered())):
                threading.Thread(target=self._forward, args=(source, sink, passing), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, passing: Callable[[], None]) -> None:
        with suppress(OSError):
            while data := source.recv(self.bytes_per_s // 10 or 65536):
                passing()
                if self.bytes_per_s:
                    time.sleep(len(data) / self.bytes_per_s)
                if not self._silent:
                    sink.sendall(data)
        with self._lock:
            self._pairs = [pair for pair in self._pairs if source not in pair]
        _break(source)
        _break(sink)


def _break(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
