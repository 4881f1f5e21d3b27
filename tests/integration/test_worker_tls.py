"""A broker that speaks TLS alone, with a private CA, and demands a client certificate, as AMQP and in its API."""

from __future__ import annotations

import random
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from scripts.amqp.broker import open_blocking
from scripts.errors import ServiceAway
from tests.certificates import write_certificates
from tests.integration.worker_rig import Rig, patched
from tests.waiting import until

pytestmark = [pytest.mark.broker, pytest.mark.engine]

_CONF = """
loopback_users = none
listeners.tcp = none
listeners.ssl.default = 5671
management.ssl.port = 15671
""" + "".join(
    f"{prefix}ssl_options.{key} = {value}\n" if not prefix else f"{prefix}.{key} = {value}\n"
    for prefix in ("", "management.ssl")
    for key, value in {
        "cacertfile": "/tls/ca.pem", "certfile": "/tls/cert.pem", "keyfile": "/tls/key.pem",
        "verify": "verify_peer", "fail_if_no_peer_cert": "true",
    }.items()
)  # fmt: skip

# Two looks of --until-empty that need not be far apart, since the API is asked but for its way of being asked.
SOON = patched("from scripts.worker import until_empty; until_empty._READINGS_APART_S = 0.1")


# Of the broker's URL, and the files that they name.
PARAMETERS = {"cacertfile": "ca.pem", "certfile": "cert.pem", "keyfile": "key.pem"}


@dataclass
class TlsBroker:
    """It has an address of its own in 127.0.0.0/8, so that its ports are the usual ones."""

    host: str
    files: Path
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = self.without()

    def without(self, *names: str) -> str:
        """Return the URL without these parameters."""
        files = {name: self.files / file for name, file in PARAMETERS.items() if name not in names}
        return f"amqps://{self.host}?{urlencode(files)}"


@pytest.fixture(scope="module")
def tls(docker_client: Any, queue_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsBroker]:
    """The broker, when it answers."""
    host = "127." + ".".join(str(random.randrange(1, 255)) for _ in range(3))
    files = tmp_path_factory.mktemp("tls")
    files.chmod(0o755)
    write_certificates(files, host)
    (files / "tls.conf").write_text(_CONF)
    for file in files.iterdir():
        file.chmod(0o644)
    one = TlsBroker(host, files)
    container = docker_client.containers.run(
        queue_image, name=f"test-{secrets.token_hex(4)}-tls", detach=True, init=True,
        ports={f"{port}/tcp": (host, port) for port in (5671, 15671)},
        volumes={str(files): {"bind": "/tls"}, str(files / "tls.conf"): {"bind": "/etc/rabbitmq/conf.d/tls.conf"}},
    )  # fmt: skip
    try:
        until(lambda: _answers(one.url), "the broker answers")
        yield one
    finally:
        container.remove(force=True, v=True)


def _answers(url: str) -> bool:
    try:
        open_blocking(url).close()
    except ServiceAway:
        return False
    return True


@pytest.fixture
def rig(tls: TlsBroker, queue_name: str, tmp_path: Path) -> Iterator[Rig]:
    one = Rig(tls.url, "", queue_name, tmp_path)
    yield one
    one.close()


def test_until_empty_asks_the_api_as_it_asks_amqp_and_never_in_the_clear(tls: TlsBroker, rig: Rig) -> None:
    rig.declare()
    rig.publish(b"x\n")
    with socket.create_server((tls.host, 15672)) as in_the_clear:
        in_the_clear.settimeout(0)
        worker = rig.worker("--until-empty", "cat", entry=SOON)
        assert worker.exit_code(60) == 0
        with pytest.raises(BlockingIOError):
            in_the_clear.accept()
    assert "own work only" not in worker.log
    assert worker.out == b"x\n"


def test_what_the_url_lacks_is_named(tls: TlsBroker) -> None:
    with pytest.raises(ServiceAway, match=r"demands a client certificate: \?certfile="):
        open_blocking(tls.without("certfile", "keyfile"))
    with pytest.raises(ServiceAway, match=r"not trusted .*\?cacertfile="):
        open_blocking(tls.without("cacertfile"))
    with pytest.raises(ServiceAway, match=r"not trusted .*\?server_name_indication="):
        open_blocking(f"{tls.url}&server_name_indication=other")
