"""Connections to hosts that a process keeps, and ports that lead through them to what the hosts can reach."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.hosts.host import Host
from cluster.hosts.remote import Remote
from cluster.hosts.ssh import KeptHost, connected, kept
from cluster.settings import ROOT, Settings
from scripts.errors import ServiceAway
from scripts.hostport import HostPort
from tests.conftest import own_settings
from tests.hosts.cluster import Hosts
from tests.waiting import until

pytestmark = pytest.mark.engine

Conduct = Callable[[socket.socket], None]

MUCH = 24_000_000  # several of SSH's windows of 2 MiB

FORKS = """
import os, sys
from dataclasses import replace
from pathlib import Path
from cluster.hosts.host import Host
from cluster.hosts.ssh import kept
from cluster.settings import Settings
from tests.conftest import own_settings
settings = own_settings(Path(sys.argv[1]))
settings = replace(settings, agents=replace(settings.agents, ssh_config=sys.argv[2], timeout_s=20))
def said(word):
    return kept(settings, Host("inner-1")).run(f"echo {word}").out.decode().strip()
before = kept(settings, Host("inner-1"))
print(said("parent"), flush=True)
child = os.fork()
if not child:
    assert not before.is_connected
    print(said("child"))
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
print(said("again"), before is kept(settings, Host("inner-1")))
"""


@pytest.fixture(scope="module")
def settings(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    assert hosts.agent
    assert hosts.jump
    return hosts.settings(own_settings(tmp_path_factory.mktemp("kept")), timeout_s=20)


@pytest.fixture
def remote(settings: Settings) -> Iterator[Remote]:
    with connected(settings, Host("agent1")) as remote:
        yield remote


@contextmanager
def serving(hosts: Hosts, conduct: Conduct, port: int = 0) -> Iterator[HostPort]:
    """The address of a server that treats every connection so, as the hosts know it."""
    listener = socket.create_server((hosts.gateway, port))

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            conduct(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield HostPort(*listener.getsockname())
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        listener.close()


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def all_of(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def count_then_answer(connection: socket.socket) -> None:
    """Says something only when the other side has ended."""
    connection.sendall(b"%d" % len(all_of(connection)))


def client(address: HostPort) -> socket.socket:
    return socket.create_connection((address.host, address.port), timeout=60)


def listens(address: HostPort) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address.host, address.port)) == 0


def answer(address: HostPort, said: bytes) -> bytes:
    """Say something, end that way, and take what comes until the end."""
    with client(address) as connection:
        sending = threading.Thread(target=lambda: (connection.sendall(said), connection.shutdown(socket.SHUT_WR)))
        sending.start()
        heard = all_of(connection)
        sending.join()
    return heard


# Kept connections


def test_a_host_has_one_connection_whoever_asks(settings: Settings) -> None:
    found: list[Remote] = []
    threads = [threading.Thread(target=lambda: found.append(kept(settings, Host("agent1")))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1
    assert kept(settings, Host("agent1", "ops")).run("id -un").out == b"ops\n"
    assert kept(settings, Host("agent1")).run("id -un").out == b"root\n"


def test_one_that_broke_is_made_anew(hosts: Hosts, settings: Settings) -> None:
    before = kept(settings, Host("agent1"))
    hosts.agent.run("pkill -KILL sshd-session")
    until(lambda: not before.is_connected, "the connection has broken")
    assert kept(settings, Host("agent1")).run("true").code == 0


def test_a_process_that_is_forked_has_its_own(hosts: Hosts, settings: Settings, tmp_path: Path) -> None:
    """Through a jump host, whose connection a word of the child's would break."""
    command = [sys.executable, "-W", "ignore", "-c", FORKS, tmp_path, hosts.ssh_config]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("parent\nchild\nagain True\n", "")


def test_who_has_such_a_host_goes_on_after_its_connection_broke(hosts: Hosts, settings: Settings) -> None:
    host = KeptHost(settings, Host("agent1"))
    with serving(hosts, echo) as there:
        before = host.reach(there)
        hosts.agent.run("pkill -KILL sshd-session")
        until(lambda: not listens(before), "its port has ended with it")
        assert host.run("echo again").out == b"again\n"
        assert answer(host.reach(there), b"x") == b"x"


# Ports that lead through them


def test_both_ways_at_once_do_not_block(hosts: Hosts, remote: Remote) -> None:
    with serving(hosts, echo) as there:
        here = remote.reach(there)
        assert here.host == "127.0.0.1"
        said = bytes(range(256)) * (MUCH // 256)
        assert answer(here, said) == said


def test_an_end_of_one_way_is_passed_on(hosts: Hosts, remote: Remote) -> None:
    with serving(hosts, count_then_answer) as there:
        assert answer(remote.reach(there), bytes(MUCH)) == b"%d" % MUCH


def test_a_client_may_go_on_when_the_other_side_has_ended(hosts: Hosts, remote: Remote) -> None:
    came: list[bytes] = []

    def bye_then_listen(connection: socket.socket) -> None:
        connection.sendall(b"bye")
        connection.shutdown(socket.SHUT_WR)
        came.append(all_of(connection))

    with serving(hosts, bye_then_listen) as there, client(remote.reach(there)) as connection:
        came.clear()
        assert all_of(connection) == b"bye"
        connection.sendall(b"more")
        connection.shutdown(socket.SHUT_WR)
        until(lambda: b"more" in came, "the rest has come")


def test_a_client_that_does_not_read_is_in_nobodys_way(hosts: Hosts, remote: Remote) -> None:
    with serving(hosts, lambda connection: connection.sendall(bytes(MUCH))) as there:
        here = remote.reach(there)
        with client(here):
            assert answer(here, b"") == bytes(MUCH)
            assert remote.run("cat", input=bytes(MUCH)).out == bytes(MUCH)


def test_an_address_has_one_port(hosts: Hosts, remote: Remote) -> None:
    with serving(hosts, echo) as there, serving(hosts, count_then_answer) as other:
        here = remote.reach(there)
        assert remote.reach(there) == here
        assert remote.reach(other) != here
        assert answer(here, b"x") == b"x"


def test_nobody_listens_there(hosts: Hosts, remote: Remote) -> None:
    with serving(hosts, echo) as there:
        pass
    with pytest.raises(ServiceAway, match=str(there)):
        remote.reach(there)
    with serving(hosts, echo, there.port):
        here = remote.reach(there)
    with client(here) as connection:
        assert connection.recv(1) == b""
    with pytest.raises(ServiceAway, match=str(there)):
        remote.reach(there)
    with serving(hosts, echo, there.port):
        assert remote.reach(there) == here
        assert answer(here, b"x") == b"x"


def test_a_host_that_forwards_nothing_is_named(hosts: Hosts, settings: Settings) -> None:
    hosts.agent.run("/usr/sbin/sshd -p 2229 -o PidFile=none -o AllowTcpForwarding=no")
    until(lambda: listens(HostPort(hosts.agent.ip, 2229)), "sshd listens")
    with (
        serving(hosts, echo) as there,
        connected(settings, Host("agent1", port=2229)) as remote,
        pytest.raises(ServiceAway, match=r"^agent1:2229: .*AllowTcpForwarding"),
    ):
        remote.reach(there)


def test_an_address_that_swallows_everything_is_given_up(hosts: Hosts, settings: Settings) -> None:
    impatient = replace(settings, agents=replace(settings.agents, timeout_s=2))
    hosts.agent.run("iptables -A OUTPUT -d 198.51.100.1 -j DROP")
    with connected(impatient, Host("agent1")) as remote, pytest.raises(ServiceAway, match=r"198\.51\.100\.1:5672"):
        remote.reach(HostPort("198.51.100.1", 5672))


@pytest.mark.parametrize("end", ["ours", "theirs"])
def test_all_ends_with_the_connection(hosts: Hosts, settings: Settings, end: str) -> None:
    threads = threading.active_count()
    with serving(hosts, echo) as there, connected(settings, Host("agent1")) as remote:
        here = remote.reach(there)
        with client(here) as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            if end == "ours":
                remote.abandon()
            else:
                hosts.agent.run("pkill -KILL sshd-session")
            assert connection.recv(1) == b""
        until(lambda: not listens(here), "nobody listens any longer")
        with pytest.raises(ServiceAway, match=r"^agent1: "):
            remote.reach(there)
    until(lambda: threading.active_count() <= threads, "its threads have ended")
