"""What is said of a broker that cannot be used."""

import socket
import threading
from contextlib import closing

import pytest

from scripts.amqp.broker import open_blocking
from scripts.errors import ServiceAway


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_port_that_takes_connections_and_closes_them_may_be_a_broker_that_starts(answer: bytes) -> None:
    """So does the proxy of a container whose broker does not listen yet; pika tells no more of what is no broker."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with closing(listener.accept()[0]) as connection:
                connection.recv(8)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(ServiceAway, match=r"it is starting, or does not speak AMQP"):
            open_blocking(f"amqp://127.0.0.1:{listener.getsockname()[1]}")
