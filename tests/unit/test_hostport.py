import pytest

from scripts.errors import ClusterError
from scripts.hostport import HostPort


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.10:8080", "10.0.0.10", 8080),
        ("localhost:1", "localhost", 1),
        ("my-host.example:65535", "my-host.example", 65535),
        ("[::1]:5672", "::1", 5672),
    ],
)
def test_reads_and_writes_the_same_text(text: str, host: str, port: int) -> None:
    address = HostPort.parse(text)
    assert (address.host, address.port) == (host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":80", "host:0", "host:65536", "host:x", "a b:1", "::1:80", "http://h:80", "h:80/x"]
)
def test_what_is_no_address_is_named_in_one_line(text: str) -> None:
    with pytest.raises(ClusterError) as caught:
        HostPort.parse(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)
