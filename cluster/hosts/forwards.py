"""Ports of this machine that lead through an SSH connection to addresses that its host can reach."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

from paramiko.ssh_exception import ChannelException

from cluster.hosts.channels import BROKEN, PIECE, end
from scripts.errors import ServiceAway
from scripts.hostport import HostPort

_LOCALHOST = "127.0.0.1"
# RFC 4254 5.1: SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, SSH_OPEN_CONNECT_FAILED
_FORWARDING_IS_OFF, _NO_WAY = 1, 2


class Forwards:
    """The ports of one connection; they end with it. The host's own name is `name`."""

    def __init__(self, name: str, transport: Any, timeout_s: float) -> None:
        self._name, self._transport, self._timeout_s = name, transport, timeout_s
        self._lock = threading.Lock()
        self._ports: dict[HostPort, _Forward] = {}

    def to(self, address: HostPort) -> HostPort:
        """Return the port that leads to an address, the same each time; it listens.

        Raises:
            ServiceAway: the host forwards nothing, or could not get there the last time.
        """
        with self._lock:
            forward = self._ports.get(address) or _Forward(self._name, self._transport, address, self._timeout_s)
            forward.ensure_works()
            if address not in self._ports:
                forward.listen()
                self._ports[address] = forward
                if len(self._ports) == 1:
                    threading.Thread(target=self._follow, daemon=True).start()
            return forward.here

    def _follow(self) -> None:
        self._transport.join()
        self.close()

    def close(self) -> None:
        """End the ports and all that goes through them."""
        with self._lock:
            for forward in self._ports.values():
                forward.close()


class _Forward:
    """A port of this machine: each of its clients gets a channel to the address."""

    def __init__(self, name: str, transport: Any, address: HostPort, timeout_s: float) -> None:
        self._name, self._transport, self._address, self._timeout_s = name, transport, address, timeout_s
        self._works = False
        self._clients: set[socket.socket] = set()

    @property
    def here(self) -> HostPort:
        """The address on this machine."""
        return HostPort(*self._listener.getsockname())

    def ensure_works(self) -> None:
        """Try to get there, unless that has just worked; the error is the reason why not."""
        if not (self._works and self._transport.is_active()):
            end(self._channel((_LOCALHOST, 0)))

    def listen(self) -> None:
        """Take clients from now on."""
        self._listener = socket.create_server((_LOCALHOST, 0), backlog=128)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no more clients, and end the connections of those that are there."""
        for one in (self._listener, *self._clients):
            _shut(one)

    def _serve(self) -> None:
        with suppress(OSError), self._listener:
            while True:
                client, origin = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._clients.add(client)
                threading.Thread(target=self._pass_on, args=(client, origin), daemon=True).start()

    def _pass_on(self, client: socket.socket, origin: tuple[str, int]) -> None:
        with client:
            # A refusal is said to who asks for the address again.
            with suppress(ServiceAway):
                _exchange(client, self._channel(origin))
            _shut(client)
            self._clients.discard(client)

    def _channel(self, origin: tuple[str, int]) -> Any:
        there = self._address
        try:
            channel = self._transport.open_channel(
                "direct-tcpip", (there.host, there.port), origin, timeout=self._timeout_s
            )
        except BROKEN as error:
            self._works = False
            raise ServiceAway(f"{self._name}: {self._why_not(error)}") from error
        self._works = True
        return channel

    def _why_not(self, error: BaseException) -> str:
        code = error.code if isinstance(error, ChannelException) else 0
        if code == _FORWARDING_IS_OFF:
            return f"its sshd lets nobody through to {self._address}: AllowTcpForwarding yes in its sshd_config"
        if code == _NO_WAY:
            return f"nothing answers at {self._address} when asked from there: is what should listen there up?"
        if self._transport.is_active():
            return f"{self._address} did not answer within {self._timeout_s:g} s when asked from there: is it up?"
        return f"the connection broke on the way to {self._address}: is the host up? run this again"


def _exchange(client: socket.socket, channel: Any) -> None:
    """Carry both ways until both have ended."""
    sending = threading.Thread(target=_send, args=(client, channel), daemon=True)
    sending.start()
    _receive(channel, client)
    sending.join()
    end(channel)


def _send(client: socket.socket, channel: Any) -> None:
    """Carry what a client sends until its end, which the other side is told."""
    try:
        while data := client.recv(PIECE):
            channel.sendall(data)
        channel.shutdown_write()
    except BROKEN:
        end(channel)


def _receive(channel: Any, client: socket.socket) -> None:
    """Carry what comes for a client until its end; it may go on sending, unless the channel is closed as a whole."""
    try:
        while data := channel.recv(PIECE):
            client.sendall(data)
        client.shutdown(socket.SHUT_RDWR if channel.closed else socket.SHUT_WR)
    except BROKEN:
        end(channel)
        _shut(client)


def _shut(one: socket.socket) -> None:
    """End a connection for all its threads, and copies in other processes, which a close alone does not do."""
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
