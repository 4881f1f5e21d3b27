"""A TCP line between workers and broker that can be cut, in its own thread."""

from __future__ import annotations

import contextlib
import select
import socket
import threading


class Wire:
    """Forwards 127.0.0.1:`port` to another port of this machine until it is cut; mended, it takes new connections."""

    def __init__(self, target_port: int) -> None:
        self.target = ("127.0.0.1", target_port)
        self.entrance = socket.create_server(("127.0.0.1", 0))
        self.port = self.entrance.getsockname()[1]
        self.is_cut = False
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._wake, self._woken = socket.socketpair()
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Drop every connection, and each new one at once."""
        self.is_cut = True
        self._wake.send(b"x")

    def mend(self) -> None:
        """Carry connections again."""
        self.is_cut = False

    def close(self) -> None:
        """End the thread."""
        self._ended = True
        self._wake.send(b"x")
        self._thread.join()

    def _run(self) -> None:
        while not self._ended:
            ready, _, _ = select.select([self.entrance, self._woken, *self._pairs], [], [])
            for one in ready:
                if one is self._woken:
                    one.recv(64)
                elif one is self.entrance:
                    self._accept()
                elif one in self._pairs:
                    self._carry(one)
            if self.is_cut or self._ended:
                for one in list(self._pairs):
                    self._drop(one)
        self.entrance.close()

    def _accept(self) -> None:
        near, _ = self.entrance.accept()
        if self.is_cut:
            near.close()
            return
        try:
            far = socket.create_connection(self.target, timeout=5)
        except OSError:
            near.close()
            return
        self._pairs[near], self._pairs[far] = far, near

    def _carry(self, one: socket.socket) -> None:
        try:
            data = one.recv(65536)
            if data:
                self._pairs[one].sendall(data)
                return
        except OSError:
            pass
        self._drop(one)

    def _drop(self, one: socket.socket) -> None:
        for end in (one, self._pairs.pop(one, None)):
            if end is not None:
                self._pairs.pop(end, None)
                with contextlib.suppress(OSError):
                    end.close()
